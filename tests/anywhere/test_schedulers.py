"""What the guide gives schedulers is tried: as scripts, with what they set, and by the words of the
commands. The schedulers themselves are not here."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from batten.cli.jobs import work

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "workers-anywhere.md"
ITEMS, HOSTS = 60, 3
EXIT_INTERRUPTED = 75
SECONDS_MAX = 120.0

SSH = """#!/bin/sh
echo "$1" >> hosts
exec sh -c "$2"
"""


def find_block(heading: str, language: str) -> str:
    section = GUIDE.read_text().split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)[0]


def put_script(machines: Any, block: str) -> None:
    """In the shared folder of the guide, which has an environment of its own there."""
    machines.write(ITEMS)
    (machines.folder / "job.py").rename(machines.folder / "features.py")
    programs = machines.folder / ".venv" / "bin"
    programs.mkdir(parents=True)
    batten = programs / "batten"
    batten.write_text(f'#!/bin/sh\nexec {sys.executable} -m batten "$@"\n')
    batten.chmod(0o755)
    (machines.folder / "script").write_text(block.replace("/shared/features", str(machines.folder)))


def start_script(machines: Any, **variables: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        ["sh", "script"], cwd=machines.folder, env={**os.environ, **variables, "WHO": "one"}
    )


def test_plain_ssh(machines: Any) -> None:
    put_script(machines, find_block("Plain ssh", "sh"))
    programs = machines.folder / ".venv" / "bin"
    (programs / "ssh").write_text(SSH)
    (programs / "ssh").chmod(0o755)
    with start_script(machines, PATH=f"{programs}:{os.environ['PATH']}") as script:
        assert script.wait(SECONDS_MAX) == 0
    hosts = (machines.folder / "hosts").read_text().split()
    assert len(set(hosts)) == len(hosts) == HOSTS
    machines.wait_until(lambda: (machines.folder / "out/rows.batten/COMPLETE").exists())
    assert machines.numbers() == list(range(ITEMS))


def test_an_element_of_a_slurm_array_gets_the_signal_and_ends_with_75(machines: Any) -> None:
    """`B:` sends it to the script alone, which has become batten by then."""
    put_script(machines, find_block("Slurm arrays", "sh"))
    text = (machines.folder / "features.py").read_text()
    (machines.folder / "features.py").write_text(
        text.replace("number >= 1000000000", "number >= 9")
    )
    with start_script(machines, SLURM_CPUS_PER_TASK="2") as script:
        machines.wait_until(lambda: machines.has_begun("one"))
        script.send_signal(signal.SIGTERM)
        machines.open_gate()
        assert script.wait(SECONDS_MAX) == EXIT_INTERRUPTED
    with start_script(machines, SLURM_CPUS_PER_TASK="2") as script:
        assert script.wait(SECONDS_MAX) == 0
    assert machines.numbers() == list(range(ITEMS))


def test_the_job_of_kubernetes_has_what_an_indexed_job_needs() -> None:
    job = yaml.safe_load(find_block("Kubernetes", "yaml"))
    assert (job["apiVersion"], job["kind"]) == ("batch/v1", "Job")
    spec = job["spec"]
    # `backoffLimitPerIndex` is for indexed Jobs, and a policy of failures for pods that stay ended.
    assert spec["completionMode"] == "Indexed"
    assert spec["template"]["spec"]["restartPolicy"] == "Never"
    fails, ignores = spec["podFailurePolicy"]["rules"]
    assert (fails["action"], ignores["action"]) == ("FailJob", "Ignore")
    # Others may be mended by another try: 6 busy, 7 the machine, 75 stopped.
    assert fails["onExitCodes"] == {"operator": "In", "values": [1, 2, 3, 4, 5]}
    (container,) = spec["template"]["spec"]["containers"]
    assert container["command"][:2] == ["batten", "work"]
    check_options([word for word in container["command"] if word.startswith("--")])


@pytest.mark.parametrize("heading", ["Ray", "Plain ssh", "Slurm arrays"])
def test_each_option_is_one(heading: str) -> None:
    check_options(re.findall(r"batten work[^\n]*", find_block(heading, "sh")))


def check_options(texts: list[str]) -> None:
    parser = work.argparse.ArgumentParser()
    work.add_arguments(parser)
    known = {option for action in parser._actions for option in action.option_strings}
    assert set(re.findall(r"--[a-z-]+", " ".join(texts))) <= known
