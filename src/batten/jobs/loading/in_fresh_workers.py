"""How a worker that began in a fresh interpreter gets the job: as the driver did, once more."""

from __future__ import annotations

import ast
import importlib
import os
import sys
from contextlib import contextmanager
from dataclasses import field, replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from batten.errors import FINISHED_KEPT, UsageError
from batten.model.value_class import value_class

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from batten.jobs.definition import Definition

MAIN = "__main__"
MAIN_OF_WORKER = "__mp_main__"
"""The name of the main module when it is loaded and not run; `multiprocessing` uses it, too."""

GUARD = 'if __name__ == "__main__":'

_loading = False


class CannotLoadError(Exception):
    """A fresh interpreter could not get the job: why, and what to do."""

    def __init__(self, why: str, advice: str) -> None:
        super().__init__(why)
        self.why = why
        self.advice = advice


@value_class
class Main:
    """The main module of the driver; `file` is its absolute path."""

    file: str
    package: str | None

    def load(self) -> None:
        if self.package:
            importlib.import_module(self.package)
        module = ModuleType(MAIN_OF_WORKER)
        module.__file__ = self.file
        module.__package__ = self.package
        sys.modules[MAIN] = sys.modules[MAIN_OF_WORKER] = module
        code = compile(Path(self.file).read_bytes(), self.file, "exec", dont_inherit=True)
        exec(code, vars(module))


@value_class
class JobFile:
    """The pipeline of a job file, as `load_job` finds it; `folder` was the current one then, and
    `paths_from` is the one to which relative paths of the file are relative, if not its own."""

    spec: str
    parameters: Mapping[str, str] = field(repr=False)
    folder: str
    paths_from: str | None = None

    def load(self) -> Definition:
        from batten.jobs.definition import Definition
        from batten.jobs.loading.job_file import load_job

        here = os.getcwd()
        os.chdir(self.folder)
        pipeline = load_job(
            self.spec, self.parameters, Definition, paths_from=self.paths_from
        ).pipeline
        os.chdir(here)
        return pipeline


@value_class
class Named:
    """The pipeline that a module names."""

    module: str
    name: str
    main: Main | None

    def load(self) -> Definition:
        if self.main is not None:
            self.main.load()
        with _told_what_is_missing():
            pipeline: Definition = getattr(importlib.import_module(self.module), self.name)
        return pipeline


@value_class
class Pickled:
    """A pipeline whose functions pickle: by the names that they have in their modules, or
    `with_code`, which then is that of the driver."""

    data: bytes
    main: Main | None
    with_code: bool = False

    def load(self) -> Definition:
        if self.main is not None:
            self.main.load()
        import pickle

        with _told_what_is_missing():
            pipeline: Definition = pickle.loads(self.data)
        return pipeline


Origin = JobFile | Named | Pickled


@contextmanager
def loading() -> Iterator[None]:
    """While a worker loads the job, which must not run it."""
    global _loading
    _loading = True
    try:
        yield
    finally:
        _loading = False


def refuse_while_loading() -> None:
    """Raise where a pipeline is run because its module is loaded by a worker."""
    if _loading:
        raise UsageError(
            "A pipeline is run whenever its module is loaded, and workers load it again.",
            safe=FINISHED_KEPT,
            next=f"Put the call under {GUARD} or let workers be forked: workers='fork'",
        )


@contextmanager
def _told_what_is_missing() -> Iterator[None]:
    try:
        yield
    except AttributeError as error:
        raise UsageError(
            f"A worker does not find what the driver has: {error}.",
            safe=FINISHED_KEPT,
            next=f"Define it at the top level, not under {GUARD} or let workers be forked: "
            "workers='fork'",
        ) from error


def find_origin(pipeline: Definition) -> Origin:
    """How a fresh interpreter gets a pipeline that this process has made. Raises
    `CannotLoadError`."""
    # A worker needs none of this, so it need not pickle.
    bare = replace(pipeline, output=None, sinks=(), finalizers=())
    try:
        try:
            data, of_main = _pickle_by_name(bare)
        except Exception as error:
            if (named := _find_name(pipeline)) is not None:
                return named
            raise CannotLoadError(
                f"the pipeline can't be had ({error})",
                "Define its functions at the top level of a file.",
            ) from error
        return Pickled(data=data, main=_find_main(of_main) if MAIN.encode() in data else None)
    except CannotLoadError as obstacle:
        return _pickle_by_value(bare, obstacle)


def _pickle_by_name(pipeline: Definition) -> tuple[bytes, set[str]]:
    """The pipeline, pickled, and the names of the main module that it stands on. Raises what
    pickling raises."""
    import io
    import pickle

    names: set[str] = set()

    class Pickler(pickle.Pickler):
        def reducer_override(self, value: Any) -> Any:
            if getattr(value, "__module__", None) == MAIN and hasattr(value, "__qualname__"):
                names.add(value.__qualname__.partition(".")[0])
            return NotImplemented

    buffer = io.BytesIO()
    Pickler(buffer, pickle.HIGHEST_PROTOCOL).dump(pipeline)
    return buffer.getvalue(), names


def _find_name(pipeline: Definition) -> Named | None:
    """Where a module that can be loaded again names the pipeline."""
    for name, module in list(sys.modules.items()):
        if not issubclass(type(module), ModuleType):
            continue
        # Some modules load themselves when they are asked for anything.
        names = object.__getattribute__(module, "__dict__")
        for given, value in list(names.items()):
            # A pipeline that was given its parameters is a copy, with the same steps.
            if type(value) is type(pipeline) and value.steps and value.steps is pipeline.steps:
                main = _find_main({given}) if name == MAIN else None
                return Named(module=name, name=given, main=main)
    return None


def _pickle_by_value(pipeline: Definition, obstacle: CannotLoadError) -> Pickled:
    """Functions of the main module or without a name go with their code, where that can be had."""
    try:
        import cloudpickle  # type: ignore[import-not-found, import-untyped, unused-ignore]
    except ImportError:
        advice = f"{obstacle.advice} Or install cloudpickle: pip install cloudpickle"
        raise CannotLoadError(obstacle.why, advice) from obstacle
    try:
        return Pickled(data=cloudpickle.dumps(pipeline), main=None, with_code=True)
    except Exception as error:
        raise CannotLoadError(
            f"the pipeline can't be pickled ({error})", obstacle.advice
        ) from error


def _find_main(names: set[str]) -> Main:
    """The main module, of which `names` are needed."""
    main = sys.modules[MAIN]
    file = getattr(main, "__file__", None)
    if file is None or not os.path.isfile(file):
        raise CannotLoadError(
            "its functions are in no file",
            "Write them into a file, and import that.",
        )
    text = Path(file).read_bytes()
    if b"__name__" not in text:
        raise CannotLoadError(
            f"{os.path.basename(file)} runs the pipeline whenever it is loaded",
            f"Put the call of run() under {GUARD} there.",
        )
    if missing := names.difference(_names_when_loaded(text)):
        raise CannotLoadError(
            f"{os.path.basename(file)} defines {min(missing)!r} only when it is run",
            f"Define it at the top level there, not under {GUARD}",
        )
    return Main(file=os.path.abspath(file), package=getattr(main, "__package__", None) or None)


def _names_when_loaded(text: bytes) -> Iterator[str]:
    """The names that the top level of a module gives where it is not the main one."""
    for node in ast.parse(text).body:
        if isinstance(node, ast.If) and "__name__" in ast.dump(node.test):
            yield from _bound(node.orelse)
        else:
            yield from _bound([node])


def _bound(nodes: Iterable[ast.AST]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.alias):
            yield (node.asname or node.name).partition(".")[0]
        else:
            yield from _bound(ast.iter_child_nodes(node))
