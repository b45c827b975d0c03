"""Loading job files: which pipeline it is, its parameters, and everything that can be wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from batten.errors import UsageError
from batten.fingerprint.functions import describe_function
from batten.jobs.loading.job_file import Job, load_job
from batten.jobs.loading.job_folder import current_folder, job_folder
from batten.pipeline.pipeline import Pipeline

Load = Callable[..., Job]
START = "from batten.pipeline.from_sources import from_range\n"
ONE = START + "pipeline = from_range(3)\n"


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Load]:
    """Loads a job file given as text, from the folder that it lies in."""
    monkeypatch.chdir(tmp_path)
    path_before, modules_before = list(sys.path), set(sys.modules)

    def load(text: str, name: str = "", file: str = "features.py", **parameters: str) -> Job:
        (tmp_path / file).write_text(text, encoding="utf-8")
        return load_job(file + name, parameters, Pipeline)

    yield load
    sys.path[:] = path_before
    for module in set(sys.modules) - modules_before:
        if str(tmp_path) in (getattr(sys.modules[module], "__file__", None) or ""):
            del sys.modules[module]


def refusal(load: Callable[[], object]) -> UsageError:
    with pytest.raises(UsageError) as caught:
        load()
    error = caught.value
    assert error.safe
    assert error.next
    assert "\n" not in error.what + error.next
    return error


def test_a_job_is_a_module_named_after_its_file(load: Load, tmp_path: Path) -> None:
    job = load(
        ONE + "NAME, FILE = __name__, __file__\n"
        "def measure(x): return x\n"
        "pipeline = pipeline.map(measure)\n"
        "if __name__ == '__main__': raise RuntimeError\n"
    )
    module = sys.modules["features"]
    assert vars(module)["NAME"] == "features"
    assert vars(module)["FILE"] == str(tmp_path / "features.py")
    before = sys.path[: sys.path.index(str(tmp_path))]
    assert all(each.startswith(os.path.dirname(os.__file__)) for each in before)
    assert not any("site-packages" in each for each in before)
    assert job == Job(
        pipeline=vars(module)["pipeline"],
        path=tmp_path / "features.py",
        name="pipeline",
        folder=tmp_path,
        parameters={},
    )
    assert not (tmp_path / "__pycache__").exists()


def test_a_job_imports_what_lies_beside_it_and_knows_its_folder(
    tmp_path: Path, load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "jobs"
    folder.mkdir()
    (folder / "helpers.py").write_text("COUNT = 7\n")
    (folder / "report.py").write_text(
        START + "import helpers\nfrom batten.jobs.loading.job_folder import current_folder\n"
        "SEEN = [current_folder()]\n"
        "def pipeline():\n"
        "    SEEN.append(current_folder())\n"
        "    return from_range(helpers.COUNT)\n"
    )
    monkeypatch.chdir(tmp_path)
    job = load_job("jobs/report.py", {}, Pipeline)
    assert vars(sys.modules["report"])["SEEN"] == [folder, folder]
    assert job.pipeline.folder == folder
    assert job_folder.get() is None
    assert current_folder() == tmp_path


def test_a_job_can_be_loaded_again_after_an_edit(load: Load) -> None:
    first = load(ONE + "def measure(x): return x + 1\n")
    before = describe_function(vars(sys.modules["features"])["measure"])
    second = load(ONE + "def measure(x): return x + 2\n")
    after = describe_function(vars(sys.modules["features"])["measure"])
    assert first.path == second.path
    assert before.parts != after.parts


def test_an_edit_after_loading_is_not_what_was_loaded(load: Load, tmp_path: Path) -> None:
    load(ONE + "def measure(x): return x + 1\n")
    measure = vars(sys.modules["features"])["measure"]
    before = describe_function(measure)
    (tmp_path / "features.py").write_text(ONE + "def measure(x): return x + 200\n")
    assert describe_function(measure) == before


PIPELINES = {
    "the usual name": (ONE + "other = from_range(1)\n", "", "pipeline"),
    "the only one": (START + "clips = from_range(1)\n", "", "clips"),
    "the only one, twice": (START + "clips = again = from_range(1)\n", "", "clips"),
    "by name": (ONE + "other = from_range(1)\n", ":other", "other"),
    "a function": (START + "def pipeline(): return from_range(1)\n", "", "pipeline"),
    "a function by name": (ONE + "def make(): return from_range(1)\n", ":make", "make"),
    "the name is something else": (
        START + "pipeline = 'x'\nclips = from_range(1)\n",
        "",
        "clips",
    ),
}


@pytest.mark.parametrize("case", PIPELINES)
def test_which_pipeline(case: str, load: Load) -> None:
    text, name, expected = PIPELINES[case]
    assert load(text, name).name == expected


WRONG = {
    "no pipeline": ("x = 1\n", "", "features.py makes no pipeline.", "End it with one: pipeline ="),
    "several": (
        START + "b = from_range(1)\na = from_range(2)\n",
        "",
        "features.py makes 2 pipelines: b, a.",
        "Name one of them: batten run features.py:b or batten run features.py:a",
    ),
    "another name": (
        ONE,
        ":clips",
        "clips does not exist in features.py.",
        "Name one of them: batten run features.py:pipeline",
    ),
    "not a pipeline": (
        ONE + "clips = 3\n",
        ":clips",
        "clips is not a pipeline in features.py.",
        "Name one of them: batten run features.py:pipeline",
    ),
    "gives nothing": (
        "def pipeline(): pass\n",
        "",
        "pipeline in features.py gave None, not a pipeline.",
        "End it with return batten.",
    ),
    "asynchronous": (
        "async def pipeline(): pass\n",
        "",
        "pipeline in features.py gave a coroutine, not a pipeline.",
        "End it with return batten.",
    ),
    "a syntax error": (
        "x = 1\ny = = 2\n",
        "",
        "features.py:2: SyntaxError: invalid syntax",
        "Correct it, then run again: batten run features.py",
    ),
    "not text": ("x = '\0'\n", "", "features.py:", "Correct it"),
    "an error": (
        "def half(x): return 1 / x\n\nhalf(0)\n",
        "",
        (
            "features.py cannot be loaded: ZeroDivisionError: division by zero "
            "(features.py:3 in <module>, features.py:1 in half)"
        ),
        "Correct it, then run again: batten run features.py",
    ),
    "an error in the function": (
        "def pipeline():\n    return {}['x']\n",
        "",
        "pipeline in features.py failed: KeyError: 'x' (features.py:2 in pipeline)",
        "Correct it",
    ),
    "an error with lines": (
        "raise RuntimeError('one\\ntwo')\n",
        "",
        "features.py cannot be loaded: RuntimeError: one two (features.py:1 in <module>)",
        "Correct it",
    ),
    "a missing module": (
        "import absent_module\n",
        "",
        (
            "features.py cannot be loaded: ModuleNotFoundError: No module named 'absent_module' "
            "(features.py:1 in <module>)"
        ),
        "Correct it",
    ),
    "an exit": (
        "import sys\nsys.exit(3)\n",
        "",
        (
            "features.py cannot be loaded: it ends the process with status 3 "
            "(features.py:2 in <module>)."
        ),
        "Put what is only for a script under if __name__",
    ),
    "a pipeline that is built wrong": (
        START + "pipeline = from_range(3).map(3)\n",
        "",
        "features.py:2 in <module>: .map() takes a function, not int.",
        "Give the function itself",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_job_that_is_wrong(case: str, load: Load) -> None:
    text, name, what, advice = WRONG[case]
    path_before = list(sys.path)
    error = refusal(lambda: load(text, name))
    assert error.what.startswith(what)
    assert error.next.startswith(advice)
    if "cannot be loaded" in what:
        assert sys.path == path_before
        assert "features" not in sys.modules


def test_an_error_in_a_helper_names_both_files(load: Load, tmp_path: Path) -> None:
    (tmp_path / "broken_helper.py").write_text("x = (\n")
    error = refusal(lambda: load("import broken_helper\n"))
    assert error.what == (
        "features.py cannot be loaded: broken_helper.py:1: SyntaxError: '(' was never closed"
    )


def test_a_file_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "job.py").touch()
    assert refusal(lambda: load_job("a.py", {}, Pipeline)).what == "There is no job file a.py."
    assert refusal(lambda: load_job("a.py:x", {}, Pipeline)).what == "There is no job file a.py."
    assert refusal(lambda: load_job("job", {}, Pipeline)).next == "batten run job.py"
    error = refusal(lambda: load_job("folder", {}, Pipeline))
    assert error.what == "folder is a folder, not a job file."


@pytest.mark.parametrize("kind", ["pipe", "standard input"])
def test_what_can_be_read_only_once_is_no_job(kind: str, tmp_path: Path) -> None:
    job = tmp_path / "job.py"
    job.write_text(ONE)
    read, write = os.pipe()
    os.write(write, ONE.encode())
    os.close(write)
    with job.open() as file:
        handle = read if kind == "pipe" else file.fileno()
        error = refusal(lambda: load_job(f"/dev/fd/{handle}", {}, Pipeline))
    os.close(read)
    assert "no file that stays" in error.what
    pipe = tmp_path / "pipe.py"
    os.mkfifo(pipe)
    assert "no file that stays" in refusal(lambda: load_job(str(pipe), {}, Pipeline)).what


def test_odd_file_names(load: Load) -> None:
    for file in ("my-job.py", "2026 04.py", "a:b.py", "größe.py", "noext"):
        assert load(ONE, file=file).name == "pipeline"
        assert load(ONE, ":pipeline", file=file).name == "pipeline"


@pytest.mark.parametrize("file", ["json.py", "calendar.py", "pytest.py"])
def test_a_job_does_not_take_the_place_of_another_module(file: str, load: Load) -> None:
    before = sys.modules.get(Path(file).stem)
    error = refusal(lambda: load(ONE, file=file))
    assert "has the name of a module" in error.what
    assert error.next == f"Rename it, for instance to {Path(file).stem}_job.py."
    assert sys.modules.get(Path(file).stem) is before


TAKES = (
    START
    + """
import datetime, enum
from decimal import Decimal
from pathlib import Path
from typing import Literal, Optional
class Color(enum.Enum):
    RED = 1
    BLUE = "b"
CALLS = []
def pipeline({parameters}):
    CALLS.append(tuple(locals().values()))
    return from_range(1)
"""
)


def takes(parameters: str, future: bool = False) -> str:
    text = TAKES.replace("{parameters}", parameters)
    return ("from __future__ import annotations\n" if future else "") + text


CONVERTED = [
    ("a", "x", "'x'", "x"),
    ("a: str", "", "''", ""),
    ("a: int", "5", "5", "5"),
    ("a: int", "-5", "-5", "-5"),
    ("a: float", "5", "5.0", "5.0"),
    ("a: bool", "yes", "True", "true"),
    ("a: bool", "False", "False", "false"),
    ("a: bool", "0", "False", "false"),
    ("a: datetime.date", "2026-04-24", "datetime.date(2026, 4, 24)", "2026-04-24"),
    (
        "a: datetime.datetime",
        "2026-04-24T06:00",
        "datetime.datetime(2026, 4, 24, 6, 0)",
        "2026-04-24T06:00:00",
    ),
    ("a: Path", "x/y", "Path('x/y')", "x/y"),
    ("a: Decimal", "1.50", "Decimal('1.50')", "1.50"),
    ("a: Color", "RED", "Color.RED", "RED"),
    ("a: Color", "1", "Color.RED", "RED"),
    ("a: Color", "b", "Color.BLUE", "BLUE"),
    ("a: Optional[int]", "3", "3", "3"),
    ("a: Optional[int]", "none", "None", "none"),
    ("a: int | None = 3", "None", "None", "none"),
    ("a: int | str", "x", "'x'", "x"),
    ("a: Literal['low', 3]", "3", "3", "3"),
    ("a: Literal['low', 3]", "low", "'low'", "low"),
    ("a: list[int]", "1,2", "[1, 2]", "1,2"),
    ("a: list[str]", "", "[]", ""),
    ("a=5", "7", "7", "7"),
    ("a=1.5", "7", "7.0", "7.0"),
    ("a=True", "no", "False", "false"),
    ("a=None", "x", "'x'", "x"),
    ("a: int, /", "7", "7", "7"),
    ("*, a: int", "7", "7", "7"),
]


@pytest.mark.parametrize("future", [False, True])
@pytest.mark.parametrize(("parameter", "text", "value", "canonical"), CONVERTED)
def test_parameters_are_converted(
    parameter: str, text: str, value: str, canonical: str, future: bool, load: Load
) -> None:
    job = load(takes(parameter, future), a=text)
    names = vars(sys.modules["features"])
    (called,) = names["CALLS"]
    assert called == (eval(value, names),)
    assert type(called[0]) is type(eval(value, names))
    assert job.parameters == {"a": canonical}
    assert load(takes(parameter, future), a=canonical).parameters == job.parameters


def test_defaults_count_as_parameters(load: Load) -> None:
    job = load(takes("a: int, b: float = 0.5, c: object = object()"), a="1")
    assert job.parameters == {"a": "1", "b": "0.5"}


BAD = [
    (
        "run_date: datetime.date, window: int = 5",
        {},
        "run_date is not given. It takes run_date: datetime.date, window: int = 5.",
        "run_date=2026-04-24",
    ),
    ("a: int, b: str", {}, "a and b are not given. It takes a: int, b: str.", "a=5 --param b=text"),
    (
        "a: int, b: int = 1",
        {"a": "1", "c": "2"},
        "There is no parameter c. It takes a: int, b: int = 1.",
        "a=1",
    ),
    ("a: int", {"a": "x"}, "a is 'x', which is not int. It takes a: int.", "a=5"),
    ("a: int = 3", {"a": "x"}, "a is 'x', which is not int. It takes a: int = 3.", "a=5"),
    ("a: bool", {"a": "2"}, "a is '2', which is not bool. It takes a: bool.", "a=true"),
    ("a: Decimal", {"a": "x"}, "a is 'x', which is not decimal.Decimal.", "a=1.50"),
    ("a: Color", {"a": "x"}, "a is 'x', which is not Color (RED or BLUE).", "a=RED"),
    ("a: Literal['p', 'q']", {"a": "x"}, "a is 'x', which is not Literal['p', 'q'].", "a=p"),
    ("a: list[int]", {"a": "1,x"}, "a is '1,x', which is not list[int].", "a=5"),
    ("a: Optional[int]", {"a": "x"}, "a is 'x', which is not Optional[int].", "a=5"),
    ("a: dict", {"a": "x"}, "a cannot be given as text: its type is dict.", "a=…"),
    ("a: 'Unknown'", {"a": "x"}, "Its annotations cannot be understood: name 'Unknown'", ""),
]


@pytest.mark.parametrize(("parameters", "given", "what", "example"), BAD)
def test_parameters_that_do_not_fit(
    parameters: str, given: dict[str, str], what: str, example: str, load: Load
) -> None:
    error = refusal(lambda: load(takes(parameters), **given))
    assert error.what.startswith(f"pipeline in features.py: {what}")
    assert error.next.startswith("For instance: batten run features.py")
    assert error.next.replace("'", "").endswith(example)
    assert vars(sys.modules["features"])["CALLS"] == []


def test_parameters_for_a_job_without(load: Load) -> None:
    error = refusal(lambda: load(ONE, window="5"))
    assert error.what == "features.py takes no parameters: its pipeline is not a function."
    error = refusal(lambda: load(START + "def pipeline(): return from_range(1)\n", window="5"))
    assert error.what.endswith("There is no parameter window. It takes no parameters.")


def test_loading_imports_nothing_heavy(tmp_path: Path) -> None:
    (tmp_path / "features.py").write_text(ONE)
    code = (
        "import sys; from batten.jobs.definition import Definition; "
        "from batten.jobs.loading.job_file import load_job; "
        "load_job('features.py', {}, Definition)\n"
        "assert 'pyarrow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
