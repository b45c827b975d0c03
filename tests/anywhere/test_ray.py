"""`batten work --ray` on two nodes: actors, a raylet and drivers are killed."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from batten.drive.together.on_ray import workers as on_ray
from batten.drive.together.on_ray.printed import LAST_BYTES, read_last
from batten.errors import UsageError
from batten.run.progress import Silent

CLUSTER = Path(__file__).with_name("ray_cluster.py")
ON_LOOPBACK = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
"""Ray puts another address of the machine in the place of 127.0.0.1, but not on other systems."""
PATIENT = {"RAY_raylet_start_wait_time_s": "600", "RAY_worker_register_timeout_seconds": "600"}
"""For a busy machine."""

ITEMS = 60
WORKERS = 2
SECONDS_MAX = 600.0
NEVER, SOON = 600.0, 2.0
EXIT_USAGE, EXIT_REFUSED = 2, 5


@dataclass
class Cluster:
    address: str
    raylets: list[int]
    head: int


@contextmanager
def started_cluster() -> Iterator[Cluster]:
    with subprocess.Popen(
        [sys.executable, str(CLUSTER)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, **ON_LOOPBACK, **PATIENT, "WHO": "ray"},
        text=True,
    ) as process:
        try:
            yield Cluster(**json.loads(process.stdout.readline()))
        finally:
            process.stdin.close()
            process.wait()


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with started_cluster() as started:
        yield started


def begin(
    machines: Any, cluster: Cluster, who: str = "run", *, gone_after: float = NEVER, **how: Any
) -> None:
    """The run has begun, and workers on Ray have work in hand."""
    machines.seconds_max = SECONDS_MAX
    machines.write(ITEMS, gate_at=20, **how)
    start(machines, cluster, who, gone_after=gone_after)
    machines.wait_until(lambda: len(find_workers(machines)) == WORKERS)


def start(machines: Any, cluster: Cluster, who: str, **how: Any) -> None:
    words = ("--ray", cluster.address, "--ray-workers", str(WORKERS))
    machines.start(who, *words, environment=ON_LOOPBACK, **how)


def find_workers(machines: Any) -> list[int]:
    """The processes of those that have claimed something."""
    found = []
    for path in (machines.folder / "out/rows.batten/workers").glob("*.json"):
        register = json.loads(path.read_text())
        if path.name != "board.json" and register["begins"]:
            found.append(register["pid"])
    return found


def check_rows(machines: Any) -> None:
    assert machines.numbers() == list(range(ITEMS))
    assert machines.batten("verify", "out/rows").returncode == 0


def find_keeper(run: int) -> int:
    """The child of the run that is connected to Ray."""
    pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    return next(pid for pid in pids if is_keeper(pid) and parent_of(pid) == run)


def is_keeper(pid: int) -> bool:
    try:
        return b"on_ray.keeper" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


@pytest.mark.crash
def test_an_actor_is_killed_and_what_it_had_is_done_again(machines: Any, cluster: Cluster) -> None:
    begin(machines, cluster, gone_after=SOON)
    worker = find_workers(machines)[0]
    actor = parent_of(worker)
    os.kill(actor, signal.SIGKILL)
    machines.wait_until(lambda: "A worker is gone" in machines.told("run"))
    machines.open_gate()
    assert machines.end("run") == 0, machines.told("run")
    check_rows(machines)
    assert "ray" in machines.who_did().values()
    assert not Path(f"/proc/{worker}").exists()


@pytest.mark.crash
def test_a_raylet_is_killed_and_what_its_workers_had_is_done_again(machines: Any) -> None:
    with started_cluster() as cluster:
        begin(machines, cluster, gone_after=SOON)
        os.kill(cluster.raylets[1], signal.SIGKILL)
        machines.wait_until(lambda: "A worker is gone" in machines.told("run"))
        machines.open_gate()
        assert machines.end("run") == 0, machines.told("run")
        check_rows(machines)


@pytest.mark.crash
def test_the_head_is_killed_and_the_run_goes_on(machines: Any) -> None:
    with started_cluster() as cluster:
        begin(machines, cluster, gone_after=SOON)
        os.kill(cluster.head, signal.SIGKILL)
        machines.open_gate()
        assert machines.end("run") == 0, machines.told("run")
        check_rows(machines)


@pytest.mark.crash
def test_workers_on_ray_join_the_run_of_another(machines: Any, cluster: Cluster) -> None:
    machines.seconds_max = SECONDS_MAX
    machines.write(ITEMS, gate_at=20)
    machines.start("first", gone_after=NEVER)
    machines.wait_until(lambda: machines.has_begun("first"))
    start(machines, cluster, "second", gone_after=NEVER)
    # Who is there may have nothing to do: the board, the second machine, and those on Ray.
    registers = machines.folder / "out/rows.batten/workers"
    machines.wait_until(lambda: len(list(registers.glob("*.json"))) == 2 + WORKERS)
    machines.open_gate()
    assert (machines.end("first"), machines.end("second")) == (0, 0), machines.told("second")
    check_rows(machines)


@pytest.mark.crash
def test_the_run_is_killed_and_its_workers_end_and_the_next_goes_on(
    machines: Any, cluster: Cluster
) -> None:
    begin(machines, cluster)
    workers = find_workers(machines)
    machines._running["run"].kill()
    machines.wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))
    machines.open_gate()
    start(machines, cluster, "next")
    assert machines.end("next") == 0, machines.told("next")
    check_rows(machines)


@pytest.mark.crash
def test_who_keeps_the_actors_is_killed_and_the_run_goes_on(
    machines: Any, cluster: Cluster
) -> None:
    begin(machines, cluster, gone_after=SOON)
    workers = find_workers(machines)
    os.kill(find_keeper(machines._running["run"].pid), signal.SIGKILL)
    machines.wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))
    machines.open_gate()
    assert machines.end("run") == 0, machines.told("run")
    check_rows(machines)


@pytest.mark.crash
def test_workers_take_the_code_that_ray_brings(
    machines: Any, cluster: Cluster, tmp_path: Path
) -> None:
    """What lies at the path of the job by then is another job, and is not used."""
    machines.write(ITEMS, gate_at=20)
    start(machines, cluster, "run")
    machines.wait_until(lambda: "Asking Ray" in machines.told("run"))
    (tmp_path / "job.py").write_text("raise SystemExit(1)")
    machines.wait_until(lambda: len(find_workers(machines)) == WORKERS)
    machines.open_gate()
    assert machines.end("run") == 0, machines.told("run")
    check_rows(machines)
    assert set(machines.count_done().values()) == {1}


def test_a_cluster_that_is_not_there_is_told_before_anything_is_written(machines: Any) -> None:
    machines.write(ITEMS)
    machines.start("run", "--ray", "127.0.0.1:1")
    assert machines.end("run") == EXIT_USAGE, machines.told("run")
    assert "Ray at 127.0.0.1:1 can't be used" in machines.told("run")
    assert not (machines.folder / "out").exists()


def test_a_cluster_that_does_not_answer_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(on_ray, "ANSWER_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as server:
        plan = on_ray.RayPlan(
            address=f"127.0.0.1:{server.getsockname()[1]}",
            workers=1,
            num_cpus=1,
            num_gpus=0,
            working_dir=str(tmp_path),
            excludes=[],
            job="job.py",
            words=[],
            folder=str(tmp_path),
        )
        with (
            pytest.raises(UsageError, match="has not answered"),
            on_ray.RayWorkers(plan, Silent()),
        ):
            pass


def test_only_the_last_of_what_a_worker_prints_is_kept() -> None:
    """Also where something that it began holds the pipe open."""
    command = "seq 1000000 >&2; sleep 600 & echo $! >&2"
    with subprocess.Popen(["sh", "-c", command], stderr=subprocess.PIPE) as process:
        last = read_last(process, lambda: True)
        os.kill(int(last[-1]), signal.SIGKILL)
    assert last[-2] == "1000000"
    assert sum(map(len, last)) <= LAST_BYTES


def test_a_worker_is_not_waited_for_where_its_node_is_lost() -> None:
    with subprocess.Popen(["sleep", "600"], stderr=subprocess.PIPE) as process:
        answers = iter([True, False])
        assert read_last(process, lambda: next(answers)) == []
        assert process.poll() is None
        process.kill()


NODES_OF_RAY = """
import os, select

def init(**_): pass
def shutdown(): pass
def nodes(): return [{"Resources": {"CPU": 1}}]
def remote(kind): return Maker(kind)
def get(pipe): return os.read(pipe, 1 << 16).decode()

def wait(pipes, timeout=None, **_):
    ended = select.select(pipes, [], [], timeout)[0]
    return ended, [pipe for pipe in pipes if pipe not in ended]

class Maker:
    def __init__(self, kind): self.kind = kind
    def options(self, **_): return self
    def remote(self): return Actor(self.kind)

class Actor:
    def __init__(self, kind): self.work = Method(kind)

class Method:
    def __init__(self, kind): self.kind = kind
    def remote(self, *words):
        told, tell = os.pipe()
        if not os.fork():
            try:
                said = self.kind().work(*words)
            except BaseException as error:
                said = repr(error)
            os.write(tell, said.encode())
            os._exit(0)
        os.close(tell)
        return told
"""
"""What the keeper asks of Ray. An actor has of the main module what was there when it began."""


def test_what_a_worker_on_ray_says_at_its_end_is_told(tmp_path: Path) -> None:
    (tmp_path / "ray.py").write_text(NODES_OF_RAY)
    (tmp_path / "job.py").write_text("raise ValueError('no such thing here')")
    config = {"address": "", "workers": 1, "num_cpus": 1, "num_gpus": 0, "folder": str(tmp_path)}
    config |= {"working_dir": str(tmp_path), "excludes": [], "job": "job.py", "words": ["--join"]}
    with subprocess.Popen(
        [sys.executable, "-P", "-m", on_ray.__package__ + ".keeper"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    ) as keeper:
        keeper.stdin.write(json.dumps(config) + "\n")
        assert json.loads(keeper.stdout.readline()) == {"workers": 1}
        keeper.stdin.write("start\n")
        told = json.loads(keeper.stdout.readline())["note"]
        assert "A worker on Ray has ended: " in told
        assert "no such thing here" in told
        keeper.stdin.close()
        assert keeper.wait() == 0


@pytest.mark.crash
def test_a_worker_on_ray_with_other_code_says_so(machines: Any, cluster: Cluster) -> None:
    machines.seconds_max = SECONDS_MAX
    machines.write(ITEMS, gate_at=20, body="str(MINE)")
    job = machines.folder / "job.py"
    job.write_text('import os\nMINE = os.environ.get("WHO") == "ray"\n' + job.read_text())
    start(machines, cluster, "run", gone_after=NEVER)
    machines.wait_until(lambda: machines.told("run").count("A worker on Ray has ended") == WORKERS)
    machines.open_gate()
    assert machines.end("run") == 0, machines.told("run")
    assert "code" in machines.told("run").partition("A worker on Ray has ended")[2]
    check_rows(machines)
    assert set(machines.who_did().values()) == {"run"}


def test_one_that_only_joins_does_no_run(machines: Any) -> None:
    machines.write(ITEMS)
    machines.start("first", "--join")
    assert machines.end("first") == EXIT_REFUSED, machines.told("first")
    assert "No run of out/rows is under way" in machines.told("first")
    machines.start("run")
    assert machines.end("run") == 0, machines.told("run")
    machines.start("late", "--join")
    assert machines.end("late") == 0, machines.told("late")
    assert "has ended: complete" in machines.told("late")


def test_one_that_only_joins_works_for_the_run_with_paths_of_its_folder(
    machines: Any, tmp_path: Path
) -> None:
    machines.write(ITEMS, gate_at=20)
    machines.start("run", gone_after=NEVER)
    machines.wait_until(lambda: machines.has_begun("run"))
    copied = tmp_path / "copied" / "job.py"
    copied.parent.mkdir()
    copied.write_bytes((tmp_path / "job.py").read_bytes())
    words = ("--join", "--paths-from", str(tmp_path))
    machines.start("other", *words, job=str(copied), gone_after=NEVER)
    machines.wait_until(lambda: find_workers(machines))
    machines.open_gate()
    assert (machines.end("run"), machines.end("other")) == (0, 0), machines.told("other")
    check_rows(machines)
    assert set(machines.who_did().values()) == {"run", "other"}
