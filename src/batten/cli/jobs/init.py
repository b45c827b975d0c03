"""`batten init`: a job file that runs, to begin with."""

from __future__ import annotations

import argparse

NAME = "init"
HELP = "write a job file that runs, to begin with"
_USUAL = "job.py"

_JOB = '''"""A job to begin with. Run it: {command}"""

import time

import batten


def measure(number: int) -> dict:  # one item in, one row out
    time.sleep(0.05)  # stands for real work
    return {{"square": number * number}}


pipeline = (
    # Also: from_files("clips/**/*.mp4"), from_csv("in.csv", key="id"), from_jsonl, from_parquet
    batten.from_range(100)
    .map(measure, retries=2)
    .options(batch_size=20)
    .write_parquet({output!r})
)
'''


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "file",
        metavar="FILE",
        nargs="?",
        default=_USUAL,
        help=f"where to write it; {_USUAL} by default, - is standard output",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def execute(arguments: argparse.Namespace) -> int:
    from batten.cli.output import emit_lines, emit_object
    from batten.cli.standard_output import StandardOutput, is_standard_output

    file = arguments.file
    if is_standard_output(file, is_json=arguments.json):
        StandardOutput().write(_make(_USUAL).encode())
        return 0
    run = _run_it(file)
    _write(file)
    if arguments.json:
        emit_object({"path": file, "next": run})
    else:
        emit_lines([f"{file}: written. Run it: {run}"])
    return 0


def _run_it(file: str) -> str:
    from batten.model.telling.commands import as_path, command

    return command("run", as_path(file))


def _make(file: str) -> str:
    from pathlib import Path

    return _JOB.format(command=_run_it(file), output=f"{Path(file).stem}_rows/")


def _write(file: str) -> None:
    import sys
    from pathlib import Path

    from batten.errors import RefusedError, UsageError
    from batten.storage.failures import writing_failure

    path = Path(file)
    if path.suffix != ".py" or not path.stem.isidentifier() or path.stem in sys.stdlib_module_names:
        raise UsageError(
            f"{file!r} can't name a job file.",
            safe="Nothing was written.",
            next="Give a name that is no module of Python and ends with .py, as features.py",
        )
    try:
        with open(path, "x", encoding="utf-8") as made:
            made.write(_make(file))
    except FileExistsError as error:
        raise RefusedError(
            f"{file} is there already.",
            safe="It was not changed.",
            next="Give another name: batten init features.py",
        ) from error
    except OSError as error:
        raise writing_failure(error, "Writing", file) from error
