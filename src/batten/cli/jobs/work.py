"""`batten work`: do a job together with other machines."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

from batten.cli.jobs.job_options import (
    add_end_options,
    add_job_options,
    add_worker_options,
    drain_seconds,
    list_options,
    load_job_file,
    own_output,
    read_parameters,
)
from batten.cli.jobs.run import EXIT_DONE, EXIT_QUARANTINED
from batten.cli.output import emit_object, tell

if TYPE_CHECKING:
    from batten.drive.together.on_ray.workers import RayPlan
    from batten.drive.together.run_end import RunEnd
    from batten.jobs.loading.in_fresh_workers import JobFile
    from batten.jobs.loading.job_file import Job
    from batten.pipeline.pipeline import Pipeline
    from batten.run.report import Report

NAME = "work"
HELP = "do a job together with other machines that see the same folder or bucket"

EPILOG = (
    "Start it on each machine, in any order: the first does the run, the others work for it, and "
    "one of them goes on if it is gone. "
    "exit codes: those of run; 5 also where the job is another one here"
)

GONE_SECONDS = 30.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_job_options(parser, whose_jobs=" on this machine")
    add_worker_options(parser)
    parser.add_argument(
        "--gone-after",
        type=float,
        metavar="SECONDS",
        help="what a worker has in hand is given to others after so long without a sign of it "
        f"(default: {GONE_SECONDS:g}); the machine that does the run decides",
    )
    parser.add_argument(
        "--join",
        action="store_true",
        help="work for the run that is under way, and never do it",
    )
    parser.add_argument(
        "--paths-from",
        metavar="FOLDER",
        help="where relative paths of the job file begin (default: the file's own folder)",
    )
    _add_ray_options(parser)
    add_end_options(parser)


def _add_ray_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--ray",
        metavar="ADDRESS",
        help="start workers on the nodes of this Ray cluster, as HOST:PORT or auto",
    )
    parser.add_argument(
        "--ray-workers",
        type=int,
        metavar="N",
        help="how many (default: as many as the nodes have room for)",
    )
    parser.add_argument(
        "--ray-num-cpus",
        type=int,
        default=1,
        metavar="N",
        help="processors of each, and its items at a time (default: 1)",
    )
    parser.add_argument(
        "--ray-num-gpus",
        type=float,
        default=0,
        metavar="N",
        help="GPUs of each, which may be a fraction (default: 0)",
    )


def execute(arguments: argparse.Namespace) -> int:
    parameters = read_parameters(arguments.param)
    paths_from = arguments.paths_from and os.path.abspath(arguments.paths_from)
    with own_output():
        job, job_file = load_job_file(arguments.job, parameters, paths_from)
        end = _work(job, parameters, job_file, arguments)
    return _tell_end(end, is_json=arguments.json)


def _work(
    job: Job[Pipeline],
    parameters: dict[str, str],
    job_file: JobFile,
    arguments: argparse.Namespace,
) -> Report | RunEnd:
    from batten.jobs.bounds import check_seconds, read_memory_max
    from batten.jobs.loading.how_started import describe_call
    from batten.model.rules.usage_budget import read_budget
    from batten.pipeline.working import work_shown
    from batten.run.run_options import RunOptions
    from batten.storage.machine import count_processors

    given = arguments.gone_after
    options = RunOptions(
        jobs=arguments.jobs if arguments.jobs is not None else count_processors(),
        memory_bytes_max=read_memory_max(arguments.memory_max),
        drain_seconds=drain_seconds(arguments),
        budget=None if arguments.budget is None else read_budget(arguments.budget),
        gone_seconds=GONE_SECONDS if given is None else check_seconds("gone_after", given),
        only_joins=arguments.join,
        parameters=dict(job.parameters),
        call=describe_call(job, parameters, list_options(arguments)),
        workers=arguments.workers,
        job_file=job_file,
    )
    ray = None if arguments.ray is None else _plan_ray(job, parameters, arguments)
    return work_shown(job.pipeline, options, False if arguments.quiet else None, ray)


def _plan_ray(
    job: Job[Pipeline], parameters: dict[str, str], arguments: argparse.Namespace
) -> RayPlan:
    from batten.drive.together.on_ray.workers import RayPlan
    from batten.jobs.bounds import check_seconds
    from batten.jobs.loading.packages import find_package
    from batten.jobs.step import check_count

    cpus, gpus, workers = arguments.ray_num_cpus, arguments.ray_num_gpus, arguments.ray_workers
    check_count("ray_num_cpus", cpus, at_least=1)
    check_seconds("ray_num_gpus", gpus)
    if workers is not None:
        check_count("ray_workers", workers, at_least=1)
    package = find_package(job.path)
    working_dir = package.root if package is not None else str(job.folder)
    words = ["--join", "--quiet", "--jobs", str(cpus)]
    words += ["--paths-from", os.path.abspath(arguments.paths_from or job.folder)]
    for name, value in parameters.items():
        words += ["--param", f"{name}={value}"]
    for name in ("memory_max", "workers", "drain_seconds", "gone_after"):
        if (value := getattr(arguments, name)) is not None:
            words += [f"--{name.replace('_', '-')}", str(value)]
    file = os.path.relpath(job.path, working_dir)
    return RayPlan(
        address=arguments.ray,
        workers=workers or 0,
        num_cpus=cpus,
        num_gpus=gpus,
        working_dir=working_dir,
        excludes=_list_excluded(job.pipeline.output, working_dir),
        job=f"{file}:{job.name}" if job.is_named else file,
        words=words,
        folder=os.getcwd(),
    )


def _list_excluded(output: object, working_dir: str) -> list[str]:
    """Of the folder that Ray brings: what no job needs, and the output."""
    excluded = [".git", ".venv", "__pycache__"]
    relative = os.path.relpath(str(output), working_dir)
    if output is not None and not relative.startswith(".."):
        excluded += [f"/{relative}", f"/{relative}.batten"]
    return excluded


def _tell_end(end: Report | RunEnd, *, is_json: bool) -> int:
    from batten.drive.together.run_end import RunEnd

    if not isinstance(end, RunEnd):
        from batten.display.report_text import list_lines

        if is_json:
            emit_object(end.to_json())
        else:
            tell(*list_lines(end))
        return EXIT_QUARANTINED if end.quarantined else EXIT_DONE
    if is_json:
        emit_object({"status": end.status, "quarantined": end.quarantined})
    else:
        tell(f"The run that this worked for has ended: {end.status}.")
    return EXIT_QUARANTINED if end.quarantined else EXIT_DONE
