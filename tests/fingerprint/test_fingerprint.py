"""What changes the fingerprint of a job, what does not, and what people are told about it."""

from __future__ import annotations

import importlib
import linecache
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from batten.errors import UsageError
from batten.fingerprint.descriptions import FunctionDescription, combine, merge_descriptions
from batten.fingerprint.functions import describe_function
from batten.model.disk.fingerprints import difference

Describe = Callable[..., FunctionDescription]


@pytest.fixture
def describe(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Describe]:
    """Describes `measure` of a job given as text, each loaded anew from a folder of its own."""
    path_before, modules_before = list(sys.path), set(sys.modules)

    def forget() -> None:
        sys.path[:] = path_before
        for name in set(sys.modules) - modules_before:
            file = getattr(sys.modules[name], "__file__", None)
            if file is None or "job-" in file:
                del sys.modules[name]

    def describe(
        source: str, name: str = "measure", *, version: str | None = None, **helpers: str
    ) -> FunctionDescription:
        folder = tmp_path_factory.mktemp("job-")
        for module, text in {"features": source, **helpers}.items():
            (folder / f"{module}.py").write_text(text, encoding="utf-8")
        forget()
        sys.path.insert(0, str(folder))
        importlib.invalidate_caches()
        function = getattr(importlib.import_module("features"), name)
        return describe_function(function, version=version)

    yield describe
    forget()


def changes(old: FunctionDescription, new: FunctionDescription) -> list[str]:
    before, after = (combine(each.parts, each.places) for each in (old, new))
    lines = difference(before, after)
    assert (before.digest == after.digest) is (lines == [])
    return lines


def read_cases(kind: str) -> dict[str, list[str]]:
    """The cases of `fingerprint_cases.txt` of one kind, by title: their texts in order."""
    text = Path(__file__).with_name("fingerprint_cases.txt").read_text(encoding="utf-8")
    cases = (each.partition("\n") for each in text.split("## ") if each.strip())
    return {
        title.removeprefix(f"{kind}: "): [each.strip("\n") for each in body.split("----\n")]
        for title, _, body in cases
        if title.startswith(f"{kind}: ")
    }


SAME, DIFFERENT, REFUSED = (read_cases(kind) for kind in ("same", "different", "refused"))


@pytest.mark.parametrize("case", SAME)
def test_does_not_change_with(case: str, describe: Describe) -> None:
    old, new = SAME[case]
    assert changes(describe(old), describe(new)) == []


@pytest.mark.parametrize("case", DIFFERENT)
def test_changes_with(case: str, describe: Describe) -> None:
    old, new, lines = DIFFERENT[case]
    assert changes(describe(old), describe(new)) == lines.splitlines()


HELPERS = "FACTOR = 2\ndef scale(x): return x * FACTOR\ndef other(x): return x"

OTHER_FILE = {
    "a function of a module": "import helpers\ndef measure(x): return helpers.scale(x)",
    "an imported function": "from helpers import scale\ndef measure(x): return scale(x)",
    "a module under another name": "import helpers as h\ndef measure(x): return h.scale(x)",
    "an import within": "def measure(x):\n from helpers import scale\n return scale(x)",
    "a module imported within": "def measure(x):\n import helpers as h\n return h.scale(x)",
    "a module as a value": "import helpers\ndef measure(x): return getattr(helpers, 'scale')(x)",
}


@pytest.mark.parametrize("case", OTHER_FILE)
def test_sees_the_users_other_files(case: str, describe: Describe) -> None:
    source = OTHER_FILE[case]
    old = describe(source, helpers=HELPERS)
    scaled = describe(source, helpers=HELPERS.replace("x * FACTOR", "FACTOR * x"))
    assert "function helpers.scale changed (helpers.py:2)" in changes(old, scaled)
    factor = describe(source, helpers=HELPERS.replace("FACTOR = 2", "FACTOR = 3"))
    assert "constant helpers.FACTOR: 2 → 3" in changes(old, factor)
    assert changes(old, describe(source, helpers=f"# moved\n\n{HELPERS}")) == []


def test_of_another_file_only_what_is_reached_counts(describe: Describe) -> None:
    source = OTHER_FILE["a function of a module"]
    other = HELPERS.replace("return x\n", "return 1\n") + "\ndef more(): 1"
    assert changes(describe(source, helpers=HELPERS), describe(source, helpers=other)) == []


def test_a_helper_that_cannot_be_imported_here_is_left_to_the_function(describe: Describe) -> None:
    source = "def measure(x):\n try:\n  import absent\n except ImportError: pass"
    assert list(describe(source).parts) == ["function features.measure"]


def test_paths_beside_the_job_do_not_tie_it_to_its_folder(describe: Describe) -> None:
    source = (
        "import os\nfrom pathlib import Path\nA = Path(__file__).parent / 'model'\n"
        "B = os.path.dirname(os.path.abspath(__file__))\ndef measure(x): return A, B, __file__"
    )
    old, new = describe(source), describe(source)
    assert old == new
    assert old.parts["constant features.A"] == "Path(here/'model')"
    assert old.parts["constant features.B"] == "here/''"


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("case", REFUSED)
def test_refuses_what_it_cannot_compare(case: str, describe: Describe) -> None:
    source, beginning = REFUSED[case]
    with pytest.raises(UsageError) as caught:
        describe(source)
    assert caught.value.what == f"{beginning} has no content that batten can compare."
    assert 'version="1"' in caught.value.next


def test_a_version_stands_for_what_cannot_be_compared_and_for_nothing_else(
    describe: Describe,
) -> None:
    source = (
        "CLIENT = iter([1])\nSETTINGS = {'client': CLIENT, 'prompt': 'Be brief.'}\n"
        "def measure(x): return SETTINGS, CLIENT, 'Say it.'"
    )
    old = describe(source, version="1")
    assert old.parts["constant features.CLIENT"] == "list_iterator, by its version"
    assert changes(old, describe(source.replace("iter([1])", "iter([2])"), version="1")) == []
    assert changes(old, describe(source, version="2")) == ["version of features.measure: 1 → 2"]
    assert changes(old, describe(source.replace("Say", "Tell"), version="1")) == [
        "function features.measure changed (features.py:3)"
    ]
    assert changes(old, describe(source.replace("brief", "kind"), version="1")) == [
        "constant features.SETTINGS changed"
    ]
    assert old.parts_before == {"function features.measure": "version '1'"}


def test_a_class_says_itself_what_its_state_is(describe: Describe) -> None:
    source = (
        "class Model:\n def __init__(self): self.k, self.client = 1, iter([])\n"
        " def __getstate__(self): return {'k': self.k}\n"
        " def __call__(self, x): 1\nmeasure = Model()"
    )
    changed = source.replace("= 1, iter", "= 2, iter")
    assert changes(describe(source), describe(changed)) == [
        "value of features.Model changed",
        "function features.Model.__init__ changed (features.py:2)",
    ]


def test_installed_code_counts_by_name_only() -> None:
    for function, text in ((len, "function len"), (str.upper, "function str.upper")):
        assert list(describe_function(function).parts.values()) == [text]
    assert describe_function(importlib.import_module).parts == {
        "function importlib.import_module": "function importlib.import_module"
    }


def test_functions_without_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    import linecache

    def define(source: str, filename: str) -> FunctionDescription:
        names: dict[str, object] = {"__name__": "notebook"}
        exec(compile(source, filename, "exec"), names)
        return describe_function(names["measure"])  # type: ignore[arg-type]

    source = "def measure(x):\n    'Says.'\n    return x + {}\n"
    without = [define(source.format(number), "<string>") for number in (1, 1, 2)]
    assert without[0] == without[1] != without[2]
    described = []
    for number, text in enumerate([source.format(1), "# cell\n" + source.format(1)]):
        cell = f"<cell {number}>"
        linecache.cache[cell] = (len(text), None, text.splitlines(keepends=True), cell)
        described.append(define(text, cell).parts)
    assert described[0] == described[1]
    assert described[0] != without[0].parts


def test_merging_keeps_the_steps_apart(describe: Describe) -> None:
    source = "def make(i):\n return lambda x: x + i\nf, g, h = make(1), make(1), make(2)"
    f, g, h = (describe(source, name) for name in "fgh")
    captured = "captured value of features.make.<locals>.<lambda>: i"
    merged = merge_descriptions([f, g, h])
    assert merged.parts[captured] == "1"
    assert merged.parts[f"{captured} (step 3)"] == "2"
    orders = [merge_descriptions(order).parts for order in ([f, g, h], [f, h, h], [f, h, f])]
    assert len({str(sorted(each.items())) for each in orders}) == 3


SCRIPT = """
import enum, sys
from pathlib import Path
import helpers
NAMES = {"b", "a", "c", Path("x"), None, 3.5}
class Kind(enum.Enum):
    A = frozenset("xyz")
def measure(x, kinds=(Kind.A,)):
    return helpers.scale(x in NAMES and x in {"p", "q"})
if __name__ == "__main__" or True:
    from batten.fingerprint.descriptions import combine
    from batten.fingerprint.functions import describe_function
    described = describe_function(measure)
    print(combine(described.parts, described.places))
"""


def test_is_the_same_in_any_process_and_folder(tmp_path: Path) -> None:
    printed = set()
    for number, arguments in enumerate(
        (["features.py"], ["-c", "import features"], ["-O", "features.py"], ["-m", "features"])
    ):
        folder = tmp_path / f"copy {number}"
        folder.mkdir()
        (folder / "features.py").write_text(SCRIPT)
        (folder / "helpers.py").write_text(HELPERS)
        finished = subprocess.run(
            [sys.executable, "-B", *arguments],
            cwd=folder,
            env={**os.environ, "PYTHONHASHSEED": str(number)},
            capture_output=True,
            text=True,
            check=True,
        )
        printed.add(finished.stdout)
    assert len(printed) == 1
    assert "function features.measure" in printed.pop()


def test_nothing_heavy_is_imported() -> None:
    code = (
        "import sys; from batten.fingerprint.functions import describe_function\n"
        "assert not {'pyarrow', 'numpy', 'asyncio'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_no_two_parts_are_one(describe: Describe) -> None:
    """Every position of a part's value is told by name: swapping two captured values is seen."""
    source = "def make(a, b):\n return lambda x: (a, b)\nmeasure = make(1, 2)"
    swapped = source.replace("make(1, 2)", "make(2, 1)")
    assert len(changes(describe(source), describe(swapped))) == 2


def test_code_that_dataclasses_make_is_told_from_that_of_a_command_line(
    describe: Describe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python 3.13 keeps the lines of `python -c` under the name that such code has, too."""
    lines = ["import sys\n", "exec(sys.stdin.readline())\n"]
    monkeypatch.setitem(linecache.cache, "<string>", (40, None, lines, "<string>"))
    for title in ("a field of a named tuple", "a function that makes a field's default"):
        old, new = DIFFERENT[title][:2]
        assert changes(describe(old), describe(new)), title
