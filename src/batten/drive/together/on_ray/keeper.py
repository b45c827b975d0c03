"""A process that keeps the actors of one run: connected to Ray so that the run itself is not.

Ray's client has threads, and a process with threads can't fork workers safely (decision 0132). It
reads what to do from its standard input, and tells in lines of JSON what became of it. When its
input ends, or the run that started it, the actors end.
"""

from __future__ import annotations

import json
import os
import select
import socket
import sys
from typing import Any

from batten.executors.processes.parents import end_with_parent
from batten.model.json_text import parse_json

CONNECT_SECONDS = 10.0
LOOK_SECONDS = 0.5
END_SECONDS = 10.0
"""Workers that saw the end of their run have so long to leave."""

RESTARTS_MAX = 20
"""An actor is made anew where its node or its process is lost, but not for ever."""


def main() -> None:
    end_with_parent(os.getppid())
    # What Ray prints must not mix with what is told.
    told = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    config = parse_json(sys.stdin.readline())
    try:
        places = _connect(config)
    except Exception as error:  # noqa: BLE001 - whatever Ray raises, the run is told
        _tell(told, error=_first_line(error))
        return
    _tell(told, workers=places)
    if sys.stdin.readline().strip() == "start":
        try:
            _keep(config, places, told)
        except Exception as error:  # noqa: BLE001 - of Ray, whose head may be gone
            _tell(told, note=f"Ray has failed: {_first_line(error)}")


def _tell(told: Any, **what: object) -> None:
    told.write(json.dumps(what) + "\n")
    told.flush()


def _first_line(error: Exception) -> str:
    return f"{error}".strip().split("\n")[0] or type(error).__name__


def _connect(config: dict[str, Any]) -> int:
    """How many workers there will be. Raises what Ray raises."""
    _refuse_unreachable(config["address"])
    import ray

    ray.init(
        address=config["address"],
        log_to_driver=False,
        logging_level="error",
        runtime_env={"working_dir": config["working_dir"], "excludes": config["excludes"]},
    )
    if config["workers"]:
        return int(config["workers"])
    places = sum(_count_places(node, config) for node in ray.nodes())
    if not places:
        raise ValueError("no node has so many processors and GPUs")
    return places


def _refuse_unreachable(address: str) -> None:
    """Ray tries for many minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()


def _count_places(node: dict[str, Any], config: dict[str, Any]) -> int:
    has = node["Resources"]
    wanted = {"CPU": config["num_cpus"], "GPU": config["num_gpus"]}
    return min(int(has.get(name, 0) // much) for name, much in wanted.items() if much)


def _keep(config: dict[str, Any], places: int, told: Any) -> None:
    import ray

    made = ray.remote(RayActor).options(
        num_cpus=config["num_cpus"],
        num_gpus=config["num_gpus"],
        max_restarts=RESTARTS_MAX,
        max_task_retries=RESTARTS_MAX,
        scheduling_strategy="SPREAD",
    )
    actors = [made.remote() for _ in range(places)]
    working = [
        actor.work.remote(config["job"], config["words"], config["folder"]) for actor in actors
    ]
    while not select.select([sys.stdin], [], [], LOOK_SECONDS)[0]:
        ended, working = ray.wait(working, timeout=0) if working else ([], [])
        for each in ended:
            if why := _ask(each):
                _tell(told, note=f"A worker on Ray has ended: {why}")
    if working:
        ray.wait(working, num_returns=len(working), timeout=END_SECONDS)
    ray.shutdown()


def _ask(ended: Any) -> str:
    """Why it ended, if that was no end of the run."""
    import ray

    try:
        return str(ray.get(ended))
    except Exception as error:  # noqa: BLE001 - of Ray, or of the actor
        return f"{error}".strip().split("\n")[-1] or type(error).__name__


class RayActor:
    """An actor: a worker of `batten work` within the resources that Ray gave."""

    def work(self, job: str, words: list[str], folder: str) -> str:
        """`job` lies in the code that Ray brought; `folder` is the run's, used where it is seen.
        Raises nothing: what ended the worker is returned, or nothing if it was the run's end."""
        import os
        import signal
        import subprocess
        import sys

        from batten.drive.together.on_ray.printed import read_last
        from batten.executors.processes.parents import end_with_parent

        spec, parent, raylet = os.path.join(os.getcwd(), job), os.getpid(), os.getppid()
        child = subprocess.Popen(
            [sys.executable, "-P", "-m", "batten", "work", spec, *words],
            cwd=folder if os.path.isdir(folder) else None,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            preexec_fn=lambda: end_with_parent(parent),
        )
        lines = read_last(child, lambda: os.getppid() == raylet)
        if os.getppid() != raylet:
            # Ray thinks that this actor is lost, and has begun another one in its place.
            os._exit(1)
        code = child.wait()
        if code == -signal.SIGKILL:
            # Killed for memory, or by hand: Ray makes the actor anew.
            os._exit(1)
        return "" if code in (0, 3, 75) else " ".join(lines[-4:]) or f"exit {code}"


if __name__ == "__main__":
    main()
