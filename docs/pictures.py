"""The pictures of the documents, drawn from the code's own tables and from what commands print.

`docs/generate.py` writes them to `docs/pictures/`, and finds those that are not as the code is now.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from drawing import SOFT, Drawing

import batten
from batten.model.disk.names import FILE_NAMES, FOLDER_NAMES, Layout
from batten.model.disk.staged_names import StagedChunk, holds_throwaways
from batten.model.rules import states
from batten.model.words import Action

_ROOT = Path(__file__).resolve().parents[1]
_SHORT = "5be1…"
LAYOUT = Layout("features")
_CHUNK = LAYOUT.staged_chunk(StagedChunk(batch=2, start=0, stop=4, digest=_SHORT))

KEPT = {
    "dataset.json": "what the job is",
    "schema.json": "the columns",
    "plan": "every item, once",
    "staging": "what is being written: throwaway",
    "staged": "finished, and not published yet",
    "commits": "a proof for each part",
    "quarantine": "items that failed, with errors",
    "runs": "a log of each run: hints",
    "COMPLETE": "the accounts, once they are closed",
    "lock": "who is at work",
}
"""What is in the control folder of most datasets."""

SELDOM = (FOLDER_NAMES | FILE_NAMES) - set(KEPT)


class Step(NamedTuple):
    """A step of a row: what is done, who does it, where in the code, and what is on disk then."""

    does: str
    who: str
    code: str
    file: str


STEPS = (
    Step("plan: list every item once", "driver", "plan/extending.py", LAYOUT.segment(0)),
    Step("schedule: hand out items", "driver", "drive/handing_out/schedule.py", ""),
    Step("call your function", "worker", "work/item_runner.py", ""),
    Step("stage: put finished rows aside", "worker", "work/staged/chunk_files.py", _CHUNK),
    Step(
        "seal: make the bytes of the part",
        "worker",
        "work/sealing/seal.py",
        LAYOUT.staged_file(2, "sealed", _SHORT),
    ),
    Step("publish: one step, whole or not", "driver", "deliver/publisher.py", LAYOUT.part(2)),
    Step("commit: leave a proof", "driver", "deliver/publisher.py", LAYOUT.commit(2)),
    Step("account: each key, once", "driver", "model/rules/accounting.py", LAYOUT.complete),
)


class Left(NamedTuple):
    """What a kill leaves of items that were so far, and what the next run does about it."""

    how_far: str
    left: str
    next_run: str
    tint: str
    count: str


LEFT = (
    Left("committed", "a part, and its proof", "leaves them alone", "green", "committed"),
    Left("staged", f"a file in {Path(LAYOUT.staged).name}/", "takes them over", "blue", "staged"),
    Left("in hand", "a torn file, at most", "computes them", "yellow", ""),
    Left("not begun", "nothing", "computes them", "gray", "pending"),
)


def draw_layout() -> str:
    """What lies on disk of one dataset."""
    picture = Drawing(520, "The folder of parts, and the control folder beside it with its files.")
    parts = [LAYOUT.part(number).rpartition("/")[2] for number in range(2)]
    picture.box(16, 16, 488, 42 + 22 * len(parts), "green")
    picture.words(32, 42, f"{LAYOUT.data}/", kind="mono", size=15)
    picture.words(200, 42, "readers look here, and only here", size=14)
    for number, name in enumerate(parts):
        picture.words(52, 66 + 22 * number, name, kind="mono")
        picture.words(270, 66 + 22 * number, f"the rows of batch {number}", ink=SOFT)
    top = picture.bottom + 14
    seldom = sorted(f"{name}/" if name in FOLDER_NAMES else name for name in SELDOM)
    lines = list(_wrap(", ".join(seldom), 46))
    height = 50 + 22 * len(KEPT) + 26 + 18 * len(lines)
    picture.box(16, top, 488, height)
    picture.words(32, top + 26, f"{LAYOUT.control}/", kind="mono", size=15)
    picture.words(200, top + 26, "everything that batten knows")
    for number, (name, what) in enumerate(KEPT.items()):
        line = top + 52 + 22 * number
        shown = f"{name}/" if name in FOLDER_NAMES else name
        picture.words(52, line, shown, kind="mono")
        picture.words(210, line, what, ink=SOFT)
    line = top + 60 + 22 * len(KEPT)
    picture.words(52, line, "only when it is needed:", size=13, ink=SOFT)
    for number, text in enumerate(lines):
        picture.words(52, line + 18 + 18 * number, text, kind="mono", size=13, ink=SOFT)
    return picture.render()


def _wrap(text: str, letters: int) -> Iterator[str]:
    line = ""
    for word in text.split():
        if line and len(line) + 1 + len(word) > letters:
            yield line
            line = ""
        line = f"{line} {word}".strip()
    yield line


def draw_row() -> str:
    """How a row gets from its item into a part, by what lies on disk."""
    return _draw_steps("How a row travels, and which file it is in after each step.", in_code=False)


def draw_row_in_code() -> str:
    """The same, by what does it in the code."""
    return _draw_steps("How a row travels, and which module carries out each step.", in_code=True)


def _draw_steps(title: str, *, in_code: bool) -> str:
    picture = Drawing(520, title)
    y = 16
    for number, step in enumerate(STEPS):
        if not (Path(batten.__file__).parent / step.code).exists():
            raise FileNotFoundError(step.code)
        below = [step.code] if in_code else []
        below += [step.file] if step.file else []
        height = 34 + 20 * len(below)
        tint = _tint_of(step)
        picture.box(16, y, 488, height, tint)
        picture.words(32, y + 23, f"{number + 1}  {step.does}", kind="bold", room=360)
        picture.words(420, y + 23, step.who, ink=SOFT)
        for line, text in enumerate(below):
            picture.words(54, y + 43 + 20 * line, text, kind="mono", size=13, room=440)
        y += height
        if number + 1 < len(STEPS):
            picture.arrow(260, y, 260, y + 18)
            y += 18
    for column, (tint, told) in enumerate(
        (("green", "readers see it"), ("blue", "set aside"), ("plain", "no row on disk"))
    ):
        picture.box(32 + 160 * column, y + 16, 16, 16, tint)
        picture.words(54 + 160 * column, y + 29, told, size=13, ink=SOFT)
    return picture.render()


def _tint_of(step: Step) -> str:
    if step.file.startswith(f"{LAYOUT.data}/"):
        return "green"
    is_aside = step.file and holds_throwaways(step.file.rpartition("/")[0])
    return "blue" if is_aside else "plain"


def draw_kill() -> str:
    """What a kill leaves: the items of the run that concepts.md shows, by how far they were."""
    counts = _read_counts((_ROOT / "docs" / "concepts.md").read_text())
    hand = 1  # one processor, so one item in hand; to the accounts it is pending
    numbers = [counts["committed"], counts["staged"], hand, counts["pending"] - hand]
    picture = Drawing(520, "What a kill leaves of items, by how far they were.")
    total = sum(numbers)
    picture.words(32, 40, f"{total} items when the kill came:", kind="bold")
    tints = [left.tint for left, count in zip(LEFT, numbers, strict=True) for _ in range(count)]
    for number, tint in enumerate(tints):
        picture.box(32 + 38 * (number % 12), 56 + 36 * (number // 12), 32, 30, tint)
    y = picture.bottom + 40
    for x, told in ((60, "items"), (184, "what is left"), (382, "the next run")):
        picture.words(x, y, told, size=13, ink=SOFT)
    for left, count in zip(LEFT, numbers, strict=True):
        y += 34
        picture.box(32, y - 15, 18, 18, left.tint)
        picture.words(60, y, f"{count} {left.how_far}", kind="bold")
        picture.words(184, y, left.left, room=194)
        picture.words(382, y, left.next_run)
    return picture.render()


def _read_counts(text: str) -> dict[str, int]:
    shown = re.search(r"^  items +(\d+ = .*staged.*pending)$", text, re.MULTILINE)
    if shown is None:
        raise ValueError("concepts.md shows no accounts of a killed run")
    return {name: int(count) for count, name in re.findall(r"(\d+) (\w+)", shown[1])}


_TINT_OF_ACTION = {
    Action.NOTHING: "green",
    Action.LEAVE_ALONE: "green",
    Action.RUN: "blue",
    Action.CLEAN: "yellow",
    Action.RECOVER: "yellow",
    Action.STOP: "red",
    Action.LOOK: "red",
}


_ASKED = {
    ("is_locked", True): "a live run holds its lock",
    ("has_journal", True): "a change of it is half done",
    ("is_complete", True): "its accounts are closed",
    ("is_complete", False): "its accounts are not closed",
    ("is_stale", True): "what it is made of has changed",
    ("has_orphans", True): "a dead run has left files",
}


def _ask(row: states.Row) -> Iterator[str]:
    """What a row needs, without what follows from the rest of it."""
    for fact, value in row.needs.items():
        if isinstance(value, states.Damage):
            if value is not states.Damage.NONE:
                yield f"damage: something {value.value}"
        elif isinstance(value, states.Ground):
            if value is not states.Ground.OURS:
                yield f"there is {value.value}".replace("is of", "is an output of")
        elif row.needs["ground"] not in (states.Ground.NOTHING, states.Ground.FOREIGN):
            yield _ASKED[fact, value]


def draw_states() -> str:
    """The table of states as questions, in their order."""
    picture = Drawing(520, "The state of an output: questions from the top, the first yes decides.")
    y = 16
    for number, row in enumerate(states.TABLE):
        asked = [line for each in _ask(row) for line in _wrap(each, 32)]
        height = max(18 * len(asked) + 20, 50)
        verdict = states.VERDICTS[row.state]
        picture.box(16, y, 258, height)
        for line, text in enumerate(asked):
            picture.words(28, y + 22 + 18 * line, text, size=13, room=244)
        middle = y + height // 2
        picture.arrow(274, middle, 310, middle)
        picture.words(280, middle - 6, "yes", size=12, ink=SOFT)
        picture.box(310, y, 194, height, _TINT_OF_ACTION[verdict.action])
        picture.words(320, middle - 3, row.state.value, kind="mono", size=12, room=184)
        told = f"{verdict.action.value}, exit code {verdict.exit_code}"
        picture.words(320, middle + 15, told, size=13, ink=SOFT)
        y += height
        if number + 1 < len(states.TABLE):
            picture.arrow(60, y, 60, y + 20)
            picture.words(70, y + 14, "no", size=12, ink=SOFT)
            y += 20
    return picture.render()


_SCREEN = {"paper": "#14202b", "ink": "#d7e0e8", "soft": "#8fa1b1", "typed": "#ffffff"}
_COLOURS = {
    "Killed": "#ff8a80",
    "INTERRUPTED": "#ffd166",
    "complete": "#7ee2a8",
}


def draw_killed() -> str:
    """A terminal with the run that concepts.md shows: killed, diagnosed, run again."""
    text = (_ROOT / "docs" / "concepts.md").read_text()
    lines = list(_read_screen(text))
    picture = Drawing(
        660,
        "A run is killed; batten diagnose says INTERRUPTED and names the command; the same command "
        "finishes, and computes only what was not finished.",
        paper=_SCREEN["paper"],
    )
    for number, ink in enumerate(("#ff5f57", "#febc2e", "#28c840")):
        picture.dot(24 + 20 * number, 22, 6, ink)
    for number, line in enumerate(lines):
        ink = _SCREEN["typed"] if line.startswith("$ ") else _SCREEN["ink"]
        for word, colour in _COLOURS.items():
            if not line.startswith("$ ") and word in line.split(";")[0]:
                ink = colour
        picture.words(20, 58 + 20 * number, line, kind="mono", size=13, ink=ink, room=636)
    return picture.render()


_TOLD = ("why", "do", "next", "risky", "readers")
"""What of a diagnosis the picture has room for."""


def _read_screen(text: str) -> Iterator[str]:
    """The commands of the page's console, and what they print."""
    blocks = re.findall(r"^```console\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    is_first = True
    for line in "".join(blocks).splitlines():
        if line.startswith("$ ") and not is_first:
            yield ""
        is_first = False
        field = re.match(r"  (\w*)  +\S", line)
        if field is None or field[1] in _TOLD:
            yield line
