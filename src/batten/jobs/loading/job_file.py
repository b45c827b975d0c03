"""Loads a job file: runs it as a module named after it, and finds the pipeline that it makes."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import linecache
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType, TracebackType
from typing import Any, Generic, TypeVar

from batten.errors import BattenError, UsageError
from batten.fingerprint.ownership import is_own_namespace
from batten.jobs.definition import Definition
from batten.jobs.loading.job_folder import job_folder
from batten.jobs.loading.packages import find_module_file, find_package, imports_siblings
from batten.jobs.parameters import BadParameters, bind_parameters
from batten.model.telling.commands import as_path, command
from batten.model.value_class import value_class
from batten.printable import without_modules
from batten.storage.addresses import is_of_one_process, local_path
from batten.storage.local.there import exists, is_file, is_folder

Loaded = TypeVar("Loaded", bound=Definition)

_USUAL_NAME = "pipeline"
_SAFE = "batten read and wrote nothing."
_loaded: dict[str, ModuleType] = {}
_OF_PYTHON = (os.path.dirname(os.__file__), f"{os.path.dirname(os.__file__)}/lib-dynload")


@value_class
class Job(Generic[Loaded]):
    """A pipeline and where it comes from. `parameters` holds all of them as canonical text, those
    that were left to their defaults too; `is_named`: the user said which pipeline of the file.
    `asked_module` is the module's name, if the user named that and not the file."""

    pipeline: Loaded
    path: Path
    name: str
    folder: Path
    parameters: dict[str, str] = field(repr=False)
    is_named: bool = False
    asked_module: str = ""


@dataclass(frozen=True)
class _Request:
    """What the user asked to run: `written` is the file, or its `module`, as the user wrote it."""

    written: str
    path: Path
    name: str | None
    module: str = ""

    def command(self, name: str | None = None, parameters: Mapping[str, str] | None = None) -> str:
        name = name or self.name
        written = as_path(self.written)
        words = ["run", f"{written}:{name}" if name else written]
        for key, value in (parameters or {}).items():
            words += ["--param", f"{key}={value}"]
        return command(*words)

    def refusal(self, what: str, next: str = "") -> UsageError:
        return UsageError(
            what, safe=_SAFE, next=next or f"Correct it, then run again: {self.command()}"
        )


def load_job(
    spec: str,
    parameters: Mapping[str, str],
    kind: type[Loaded],
    *,
    paths_from: str | None = None,
) -> Job[Loaded]:
    """Load `JOB` or `JOB:name` and, where its pipeline is made by a function, call that. A pipeline
    is what is of the `kind`. Relative paths are relative to the file's folder, or to `paths_from`.

    Raises `UsageError` that names the file and the line for whatever is wrong with it. The module
    stays in `sys.modules`, and its folder on `sys.path`, so that workers find its functions: first,
    but for Python's own modules, which others import by their names.
    """
    try:
        request = _parse(spec)
    except OSError as error:
        request = _Request(spec, Path(spec), None)
        raise request.refusal(f"{spec} cannot be read: {error.strerror}.") from error
    folder = request.path.parent
    token = job_folder.set(folder if paths_from is None else Path(paths_from).absolute())
    try:
        module = _load_module(request)
        name, found = _choose(request, module, kind)
        if isinstance(found, kind):
            if parameters:
                raise request.refusal(
                    f"{request.written} takes no parameters: its {name} is not a function.",
                    f"Run it without --param: {request.command()}",
                )
            pipeline, texts = found, dict[str, str]()
        else:
            pipeline, texts = _call(request, name, found, parameters, kind)
        return Job(
            pipeline=pipeline,
            path=request.path,
            name=name,
            folder=folder,
            parameters=texts,
            is_named=request.name is not None,
            asked_module=request.module,
        )
    finally:
        job_folder.reset(token)


def _parse(spec: str) -> _Request:
    written, name = local_path(spec), None
    if not exists(Path(spec)):
        before, colon, after = spec.rpartition(":")
        if colon and (after.isidentifier() or exists(Path(before))):
            written, name = before, after
    path, asked = Path(written), ""
    if not exists(path) and (module := find_module_file(written)) is not None:
        path, asked = module, written
    request = _Request(written, path.absolute(), name, asked)
    if is_folder(request.path):
        example = Path(written) / "features.py"
        raise request.refusal(
            f"{written} is a folder, not a job file.",
            f"Name the file: {command('run', str(example))}",
        )
    if not exists(request.path):
        nearby = request.path.with_name(request.path.name + ".py")
        hint = command("run", written + ".py") if is_file(nearby) else ""
        raise request.refusal(
            f"There is no job file {written}.", hint or "Check the name, and the folder you are in."
        )
    # The output lies beside the job, and the next run reads the job again.
    if not is_file(request.path) or is_of_one_process(request.path):
        raise request.refusal(
            f"{written} is no file that stays, so no later run could read the job again.",
            "Save the job as a file, and name that.",
        )
    return request


def _load_module(request: _Request) -> ModuleType:
    path = request.path
    code, has_siblings = _compile(request)
    place = find_package(path)
    if has_siblings and place is None:
        raise request.refusal(
            f"{request.written} imports from its package, and its folder is none.",
            f"Put a file __init__.py there, or import by the name: {path.stem!r} is on the path.",
        )
    name = place.name if has_siblings and place is not None else path.stem
    _check_name(request, name)
    spec = importlib.util.spec_from_file_location(
        name, path, loader=SourceFileLoader(name, str(path))
    )
    if spec is None:
        raise request.refusal(f"{request.written} cannot be loaded as a module.")
    module = importlib.util.module_from_spec(spec)
    path_before = list(sys.path)
    others = [each for each in path_before if each != str(path.parent)]
    own = [each for each in others if each in _OF_PYTHON]
    last = [place.root] if place is not None and place.root not in others else []
    rest = [each for each in others if each not in own]
    sys.path[:] = [*own, str(path.parent), *rest, *last]
    try:
        with _user_code(request, f"{request.written} cannot be loaded"):
            if has_siblings:
                importlib.import_module(name.rpartition(".")[0])
            sys.modules[name] = _loaded[name] = module
            exec(code, vars(module))
    except BaseException:
        sys.path[:] = path_before
        if _loaded.pop(name, None) is not None:
            sys.modules.pop(name, None)
        raise
    return module


def _check_name(request: _Request, name: str) -> None:
    """A job must not take the place of a module that others import by that name."""
    other = sys.modules.get(name)
    is_same = getattr(other, "__file__", None) == str(request.path)
    is_taken = other is not None and other is not _loaded.get(name) and not is_same
    if name in sys.stdlib_module_names or is_taken:
        origin = "of Python itself" if name in sys.stdlib_module_names else "that is in use"
        raise request.refusal(
            f"{request.written} has the name of a module {origin}, whose place it would take.",
            f"Rename it, for instance to {name}_job.py.",
        )


def _compile(request: _Request) -> tuple[CodeType, bool]:
    """Compiled from the text itself, not from a cached file that may be older within a second. The
    fingerprint then reads the same text, even if the file is edited meanwhile. And whether it
    imports from its own package."""
    path = str(request.path)
    try:
        data = request.path.read_bytes()
        code = compile(data, path, "exec", dont_inherit=True)
    except SyntaxError as error:
        what = _describe_syntax_error(error)
        what = what if error.filename else f"{request.written}: {what}"
        raise request.refusal(what) from error
    except ValueError as error:
        raise request.refusal(f"{request.written}: {error}") from error
    except OSError as error:
        raise request.refusal(f"{request.written} cannot be read: {error}") from error
    lines = importlib.util.decode_source(data).splitlines(keepends=True)
    linecache.cache[path] = (len(data), None, lines, path)
    return code, imports_siblings(data)


def _choose(request: _Request, module: ModuleType, kind: type[Loaded]) -> tuple[str, Any]:
    names = vars(module)
    pipelines = {name: value for name, value in names.items() if isinstance(value, kind)}
    makers = {
        name: value
        for name, value in names.items()
        if inspect.isfunction(value) and name == (request.name or _USUAL_NAME)
    }
    if request.name is not None:
        found = pipelines.get(request.name, makers.get(request.name))
        if found is None:
            what = "is not a pipeline" if request.name in names else "does not exist"
            raise request.refusal(
                f"{request.name} {what} in {request.written}.", _advise(request, list(pipelines))
            )
        return request.name, found
    if _USUAL_NAME in pipelines or _USUAL_NAME in makers:
        return _USUAL_NAME, names[_USUAL_NAME]
    distinct = {id(value): name for name, value in reversed(pipelines.items())}
    if len(distinct) == 1:
        name = next(iter(distinct.values()))
        return name, names[name]
    several = sorted(distinct.values(), key=list(names).index)
    if several:
        raise request.refusal(
            f"{request.written} makes {len(several)} pipelines: {', '.join(several)}.",
            _advise(request, several),
        )
    raise request.refusal(f"{request.written} makes no pipeline.", _advise(request, []))


def _advise(request: _Request, names: list[str]) -> str:
    if names:
        return f"Name one of them: {' or '.join(request.command(each) for each in names)}"
    return "End it with one: pipeline = batten.from_files(…).map(…).write_parquet(…)"


def _call(
    request: _Request,
    name: str,
    function: Callable[..., Any],
    given: Mapping[str, str],
    kind: type[Loaded],
) -> tuple[Loaded, dict[str, str]]:
    try:
        bound, texts = bind_parameters(function, given)
    except BadParameters as error:
        raise request.refusal(
            f"{name} in {request.written}: {error}",
            f"For instance: {request.command(parameters=error.example)}",
        ) from error
    with _user_code(request, f"{name} in {request.written} failed"):
        result = function(*bound.args, **bound.kwargs)
    if not isinstance(result, kind):
        if inspect.iscoroutine(result):
            result.close()
        raise request.refusal(
            f"{name} in {request.written} gave {_a(result)}, not a pipeline.",
            "End it with return batten.from_files(…).map(…).write_parquet(…)",
        )
    return result, texts


def _a(value: object) -> str:
    return "None" if value is None else f"a {type(value).__name__}"


@contextmanager
def _user_code(request: _Request, what: str) -> Iterator[None]:
    """Tells whatever the user's code raises as one `UsageError` with its places."""
    try:
        yield
    except UsageError as error:
        places = _places(error.__traceback__)
        raise UsageError(
            f"{places}: {error.what}" if places else error.what, safe=error.safe, next=error.next
        ) from error
    except BattenError:
        raise
    except SystemExit as error:
        places = _places(error.__traceback__)
        raise request.refusal(
            f"{what}: it ends the process with status {error.code!r} ({places}).",
            'Put what is only for a script under if __name__ == "__main__":',
        ) from error
    except SyntaxError as error:
        raise request.refusal(f"{what}: {_describe_syntax_error(error)}") from error
    except Exception as error:
        places = _places(error.__traceback__)
        last = _last_line(error)
        raise request.refusal(
            f"{what}: {last} ({places})" if places else f"{what}: {last}"
        ) from error


def _last_line(error: Exception) -> str:
    return without_modules(" ".join(traceback.format_exception_only(error)[-1].split()))


def _describe_syntax_error(error: SyntaxError) -> str:
    place = f"{Path(error.filename).name}:{error.lineno}: " if error.filename else ""
    return f"{place}{_last_line(error)}"


def _places(trace: TracebackType | None) -> str:
    """Where in the user's own code an error came from, outermost first."""
    return ", ".join(
        f"{Path(frame.f_code.co_filename).name}:{line} in {frame.f_code.co_name}"
        for frame, line in traceback.walk_tb(trace)
        if is_own_namespace(frame.f_globals)
    )
