"""`batten adopt`: take over what a hand-made job had finished."""

from __future__ import annotations

import argparse

from batten.cli.jobs.job_options import (
    add_end_options,
    add_parameters,
    load_job_file,
    own_output,
    read_parameters,
)

NAME = "adopt"
HELP = "take over the finished rows of a hand-made job; the next run computes the rest"

EPILOG = (
    "exit codes: 0 adopted, 2 usage, 5 refused: the output holds what a run computed, "
    "6 another run is at work, 7 the disk or a destination, 75 interrupted: run it again"
)

EXIT_DONE = 0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "rows",
        nargs="+",
        metavar="ROWS",
        help="a file of Parquet, JSON Lines or CSV, or a folder of them; read only",
    )
    parser.add_argument("--key", required=True, metavar="FIELD", help="the rows' field of keys")
    parser.add_argument("--into", required=True, metavar="OUT", help="the output of the job")
    parser.add_argument(
        "--job",
        required=True,
        metavar="JOB[:NAME]",
        help="the Python file with the pipeline that goes on from there",
    )
    parser.add_argument(
        "--done", metavar="FILE", help="finished keys, one a line: only their rows are taken"
    )
    add_parameters(parser)
    add_end_options(parser)


def execute(arguments: argparse.Namespace) -> int:
    from batten.adopting.adopt import adopt_rows
    from batten.cli.output import emit_object, tell
    from batten.cli.text.adoption_text import list_lines
    from batten.display.choosing import choose_display
    from batten.jobs.loading.how_started import describe_call
    from batten.run.run_options import RunOptions
    from batten.storage.machine import count_processors

    parameters = read_parameters(arguments.param)
    with own_output():
        job, _ = load_job_file(arguments.job, parameters)
        adoption = adopt_rows(
            job.pipeline.fill(job.parameters),
            RunOptions(
                jobs=count_processors(),
                parameters=job.parameters,
                call=describe_call(job, parameters, {}),
            ),
            arguments.rows,
            key=arguments.key,
            into=arguments.into,
            done=arguments.done,
            progress=choose_display(False if arguments.quiet else None),
        )
    if arguments.json:
        emit_object(adoption.to_json())
    else:
        tell(*list_lines(adoption))
    return EXIT_DONE
