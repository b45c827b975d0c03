"""Finds the files of a hand-made job, and has its finished rows adopted into a dataset."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from batten.adopting.finished import NAMED, FinishedFiles, Passed
from batten.adopting.row_files import RowFile, open_rows
from batten.drive.adopt_finished import refuse_unadoptable
from batten.drive.run import run_pipeline
from batten.errors import RefusedError, StorageError, UsageError
from batten.jobs.definition import Definition
from batten.jobs.loading.job_folder import show_path
from batten.ledger.files.schema_file import decode_schema
from batten.model.disk.names import Layout
from batten.model.disk.records import Unreadable
from batten.model.value_class import value_class
from batten.run.found.place_of_ledger import choose_ledger
from batten.run.progress import Progress
from batten.run.report import Report
from batten.run.run_options import RunOptions
from batten.sources.identity.keys import escape_key
from batten.storage.addresses import refuse_address
from batten.storage.local.folder import LocalStorage
from batten.storage.local.there import is_file, is_folder
from batten.strangers.files import UNCHANGED, is_hidden, read_lines, translate
from batten.strangers.lines import is_rows

_MARK = ".done"


@value_class
class Adopted:
    """What was adopted, as the report of a run, and what was `passed` over."""

    report: Report
    passed: tuple[Passed, ...]

    def to_json(self) -> dict[str, Any]:
        """The object that `--json` prints."""
        return {
            **self.report.to_json(),
            "not_taken": {
                each.kind: {"count": each.count, "first": list(each.names), "why": each.why}
                for each in self.passed
            },
        }


def adopt_rows(
    job: Definition,
    options: RunOptions,
    rows: Sequence[str],
    *,
    key: str,
    into: str,
    done: str | None,
    progress: Progress | None,
) -> Adopted:
    """Adopt finished rows into the output of the job, and plan the rest. Reads the files only.
    Raises what a run raises; `RefusedError` where the output holds what a run computed."""
    for path in (*rows, into, *([done] if done else [])):
        refuse_address(path)
    refuse_unadoptable(job)
    output = choose_ledger(job).output
    if output is None or os.path.realpath(into) != os.path.realpath(output):
        raise UsageError(
            f"The job does not write to {into}, but to {show_path(output or Path())}.",
            safe=UNCHANGED,
            next="Name its output by --into, or write there in the job.",
        )
    found = _Found()
    for path in rows:
        found.add(path)
    files = tuple(found.files)
    finished = FinishedFiles(files, key, job, _load_done(done) if done else None)
    if not finished.is_single and done is None and not found.is_marked:
        raise UsageError(
            "An item of this job may have many rows, and nothing says which items are done.",
            safe=UNCHANGED,
            next="Name the file of finished keys: --done FILE.",
        )
    finished.look_through(_find_pinned(job))
    passed = (*found.list_passed(), *finished.list_passed())
    if not finished.has_any:
        why = f": {passed[0].names[0]}: {passed[0].why}" if passed else ", for there are none"
        raise RefusedError(
            f"None of the rows can be adopted{why}.",
            safe=UNCHANGED,
            next="Name the field with the keys by --key, or mend the rows.",
        )
    call = replace(
        options.call,
        output=f"{os.path.realpath(output.parent)}/{output.name}",
        rows=[os.path.abspath(path) for path in rows],
        rows_key=key,
        done=os.path.abspath(done) if done else "",
    )
    report = run_pipeline(job, replace(options, call=call), progress, finished)
    return Adopted(report=report, passed=(*found.list_passed(), *finished.list_passed()))


class _Found:
    """The files of rows, and what was passed over of folders."""

    def __init__(self) -> None:
        self.files: list[RowFile] = []
        self.is_marked = False
        self._passed: dict[str, list[str]] = {}

    def add(self, path: str) -> None:
        root = Path(path)
        try:
            if not is_folder(root):
                self.files.append(open_rows(path))
                return
            names = sorted(each for each in root.rglob("*") if is_file(each))
        except OSError as error:
            raise translate(error, path) from error
        names = [each for each in names if not is_hidden(each, root)]
        marks = [each for each in names if each.suffix == _MARK]
        if marks:
            self._add_marked(root, marks, names)
            return
        taken = [each for each in names if _is_output(each)]
        if not taken:
            raise UsageError(
                f"There are no rows in the folder {path}.",
                safe=UNCHANGED,
                next="Check the path; files end with .jsonl, .json, .csv or .parquet.",
            )
        self.files += [open_rows(str(each)) for each in taken]

    def _add_marked(self, root: Path, marks: Sequence[Path], names: Sequence[Path]) -> None:
        """Outputs are finished whose mark lies beside them."""
        self.is_marked = True
        outputs = {each for each in names if _is_output(each)}
        for mark in marks:
            own = sorted(_find_outputs(mark, outputs))
            outputs.difference_update(own)
            name = str(mark.relative_to(root)).removesuffix(_MARK)
            if not own:
                self._passed.setdefault("done_without_rows", []).append(name)
            self.files += [open_rows(str(each), name) for each in own]
        self._passed.setdefault("unfinished_files", []).extend(map(str, sorted(outputs)))

    def list_passed(self) -> list[Passed]:
        why = {
            "done_without_rows": "it is marked as done, and there are no rows beside",
            "unfinished_files": "it has no mark beside it",
        }
        return [
            Passed(kind=kind, count=len(names), names=tuple(names[:NAMED]), why=why[kind])
            for kind, names in self._passed.items()
            if names
        ]


def _is_output(path: Path) -> bool:
    return is_rows(path) or path.suffix == ".json"


def _find_outputs(mark: Path, outputs: set[Path]) -> set[Path]:
    """Of `clip.mp4.done`: `clip.mp4.json` and the like, else `clip.json`."""
    marked = mark.with_suffix("")
    if marked in outputs:
        return {marked}
    for base in (marked, marked.with_suffix("")):
        own = {each for each in outputs if each.parent == base.parent and each.stem == base.name}
        if own:
            return own
    return set()


def _load_done(name: str) -> dict[str, None]:
    """The keys that are done, in their order. A last one without a line end may be cut short."""
    keys: dict[str, None] = {}
    for line in read_lines(name):
        text = line.removesuffix(b"\n").removesuffix(b"\r")
        if text.strip() and line.endswith(b"\n"):
            keys[escape_key(text.decode(errors="surrogateescape"))] = None
    return keys


def _find_pinned(job: Definition) -> Any:
    """The columns of the dataset, where it has been begun; what is wrong with it, a run tells."""
    output = choose_ledger(job).output
    if output is None:
        return None
    layout = Layout(output.name, is_inside=job.is_ledger_inside)
    try:
        return decode_schema(LocalStorage(output.parent).read(layout.schema))
    except (FileNotFoundError, Unreadable, StorageError):
        return None
