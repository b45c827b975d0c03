"""What the kernel tells of memory, read from copies of its files."""

from __future__ import annotations

from pathlib import Path

import pytest

from batten.storage.machine import Machine, find_free_bytes

GIBIBYTE = 1 << 30


def write(root: Path, **files: str) -> None:
    for name, text in files.items():
        path = root / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    write(
        tmp_path / "proc",
        meminfo="MemTotal:       8388608 kB\nMemFree: 1 kB\nMemAvailable:    4194304 kB\n",
        vmstat="nr_free_pages 1\noom_kill 7\n",
        sys__kernel__random__boot_id="one-boot\n",
    )
    return Machine(str(tmp_path / "proc"), str(tmp_path / "groups"))


def test_without_control_groups_the_machine_is_the_limit(machine: Machine) -> None:
    room = machine.observe_memory()
    assert room is not None
    assert (room.limit_bytes, room.available_bytes) == (8 * GIBIBYTE, 4 * GIBIBYTE)
    assert not room.is_container
    kills = machine.count_memory_kills()
    assert (kills.group, kills.in_group, kills.on_machine) == ("", None, 7)
    assert machine.observe_boot() == "one-boot"


def test_the_narrowest_group_up_the_tree_is_the_limit(machine: Machine, tmp_path: Path) -> None:
    write(tmp_path / "proc", self__cgroup="0::/pod/job\n")
    groups = tmp_path / "groups"
    write(groups / "pod", memory_dot_max=f"{2 * GIBIBYTE}\n", memory_dot_current=f"{GIBIBYTE}\n")
    write(
        groups / "pod/job",
        memory_dot_max="max\n",
        memory_dot_current="5\n",
        memory_dot_events="low 0\noom 3\noom_kill 2\n",
    )
    write(groups / "pod", memory_dot_stat=f"anon 5\ninactive_file {GIBIBYTE // 2}\n")
    room = machine.observe_memory()
    assert room is not None
    # The cache of files can be given up, so it is not in use.
    assert (room.limit_bytes, room.available_bytes) == (2 * GIBIBYTE, 3 * GIBIBYTE // 2)
    assert room.is_container
    kills = machine.count_memory_kills()
    assert (kills.group, kills.in_group) == (str(groups / "pod/job"), 2)


def test_the_first_version_of_control_groups_is_read(machine: Machine, tmp_path: Path) -> None:
    write(tmp_path / "proc", self__cgroup="9:name=systemd:/\n4:memory:/docker/abc\n0::/\n")
    write(
        tmp_path / "groups/memory",  # in a container its own group is at the top
        memory_dot_limit_in_bytes=f"{GIBIBYTE}\n",
        memory_dot_usage_in_bytes=f"{GIBIBYTE // 4}\n",
        memory_dot_oom_control="oom_kill_disable 0\nunder_oom 0\noom_kill 4\n",
    )
    room = machine.observe_memory()
    assert room is not None
    assert (room.limit_bytes, room.available_bytes) == (GIBIBYTE, 3 * GIBIBYTE // 4)
    assert machine.count_memory_kills().in_group == 4


def test_no_limit_is_no_limit(machine: Machine, tmp_path: Path) -> None:
    write(tmp_path / "proc", self__cgroup="4:memory:/\n")
    write(
        tmp_path / "groups/memory",
        memory_dot_limit_in_bytes="9223372036854771712\n",
        memory_dot_usage_in_bytes="5\n",
        memory_dot_oom_control="oom_kill_disable 0\n",
    )
    room = machine.observe_memory()
    assert room is not None
    assert not room.is_container
    assert machine.count_memory_kills().in_group is None


def test_where_nothing_can_be_read_nothing_is_known(tmp_path: Path) -> None:
    machine = Machine(str(tmp_path / "proc"), str(tmp_path / "groups"))
    assert machine.observe_memory() is None
    assert machine.observe_boot() == ""
    assert machine.count_memory_kills().on_machine is None
    assert find_free_bytes(str(tmp_path / "nowhere")) is None


def test_here_it_says_something() -> None:
    room = Machine().observe_memory()
    assert room is not None
    assert 0 < room.available_bytes <= room.limit_bytes
