"""What batten 0.1 kept in clear is told of and not shown, and the next run leaves none of it; what
is only kept in another way is no change.

The folder was made by 0.1: a run of eight items that was stopped after six of them, with a
constant, a header and a parameter that are secrets, and a step whose `version=` stood for all of
its code.
"""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

import batten
from batten.inspect.verifying.verify import verify

SECRETS = ("golden-one", "golden-two", "golden-three")
GIVEN = ("--param", "api_token=golden-three")
Folder = Any
"""A `JobFolder` of tests/conftest.py."""


@pytest.fixture
def old(job: Folder) -> Folder:
    with tarfile.open(Path(__file__).with_name("secrets_of_0_1.tar.gz")) as archive:
        archive.extractall(job.path, filter="data")
    return job


def found_below(folder: Path) -> set[str]:
    """Which of the secrets lie in a file of the control folder."""
    texts = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    return {each for each in SECRETS if any(each.encode() in text for text in texts)}


def test_it_is_told_of_and_not_shown(old: Folder) -> None:
    assert found_below(old.path / "out.batten") == set(SECRETS)
    for words in (["diagnose", "out"], ["diagnose", "out", "--json"], ["show", "out", "--json"]):
        ended = old.batten(*words)
        assert not [each for each in SECRETS if each in ended.out + ended.err]
    told = old.batten("diagnose", "out").out
    assert "clear-secret" in told
    assert "constant job.API_KEY, constant job.HEADERS, parameter api_token" in told
    assert "api_token" in told


def test_the_next_run_goes_on_and_leaves_none(old: Folder) -> None:
    ended = old.run("--json", *GIVEN)
    assert (ended.code, ended.json["executed_items"], ended.json["adopted_items"]) == (0, 2, 2)
    assert sorted(old.calls()) == ["6", "7"]
    assert found_below(old.path / "out.batten") == set()
    assert batten.diagnose(old.path / "out").findings == ()
    assert verify(old.path / "out").is_sound
    assert old.run("--json", *GIVEN).json["status"] == "nothing-to-do"


def test_a_killed_one_adopts_what_0_1_staged_in_the_run_after(old: Folder) -> None:
    ended = old.run("--json", "--limit", "4", *GIVEN)
    assert ended.json["status"] == "limited"
    assert found_below(old.path / "out.batten") == set()
    ended = old.run("--json", *GIVEN)
    assert (ended.code, ended.json["executed_items"], ended.json["adopted_items"]) == (0, 2, 2)


@pytest.mark.parametrize(
    ("old_text", "new_text", "told"),
    [
        ("golden-one", "other-one", "constant job.API_KEY changed."),
        ("golden-two", "other-two", "constant job.HEADERS changed."),
        ('version="a"', 'version="b"', "function job.check: version 'a' → version 'b'."),
        ("FIRST = 5", "FIRST = 6", "constant job.FIRST: 5 → 6."),
    ],
)
def test_what_is_another_is_refused_as_ever(
    old: Folder, old_text: str, new_text: str, told: str
) -> None:
    text = (old.path / "job.py").read_text()
    assert old_text in text
    (old.path / "job.py").write_text(text.replace(old_text, new_text))
    ended = old.run(*GIVEN)
    assert ended.code == 5
    assert ended.told[0] == f"out was made by other code or settings: {told}"
    assert "golden" not in ended.err
    assert "other-" not in ended.err


def test_another_parameter_is_refused_without_telling_it(old: Folder) -> None:
    ended = old.run("--param", "api_token=other-three")
    assert ended.told[0] == "out was made by other code or settings: parameter api_token changed."
    assert "three" not in ended.err
    # The refusal is logged, and what the log of a run holds is shown to anyone.
    for log in (old.path / "out.batten/runs").iterdir():
        assert "other-three" not in log.read_text()


def test_after_the_change_of_form_a_version_does_not_stand_for_code(old: Folder) -> None:
    assert old.run(*GIVEN).code == 0
    text = (old.path / "job.py").read_text()
    (old.path / "job.py").write_text(text.replace("CLIENT is not None", "CLIENT is not row"))
    ended = old.run(*GIVEN)
    assert (ended.code, "function job.check changed" in ended.told[0]) == (5, True)


def test_logs_keep_all_but_secrets(old: Folder) -> None:
    (log,) = (old.path / "out.batten/runs").glob("*.jsonl")
    before = [json.loads(line) for line in log.read_text().splitlines()]
    old.run(*GIVEN)
    after = [json.loads(line) for line in log.read_text().splitlines()]
    assert after[1:] == before[1:]
    assert after[0]["argv"] == [*before[0]["argv"][:-1], "api_token=(hidden)"]
    assert after[0]["command"] == "batten run job.py --param 'api_token=(hidden)'"
    same = before[0].keys() - {"argv", "command"}
    assert {name: after[0][name] for name in same} == {name: before[0][name] for name in same}
