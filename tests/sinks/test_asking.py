"""A server is asked only when that is wished, and then says what it lacks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import batten
from batten.errors import StorageError
from batten.inspect.verifying.verify import verify

if TYPE_CHECKING:
    from conftest import Lab

pytestmark = pytest.mark.parametrize("make_lab", ["postgres"], indirect=True)


@pytest.fixture
def done(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Lab:
    made = batten.from_range(9).map(lambda n: {"name": f"n{n}"}, version="1")
    lab.write(made.options(batch_size=3)).run(executor="serial")
    (user,) = lab.ask("SELECT current_user AS name")
    monkeypatch.setenv("PGUSER", user["name"])
    return lab


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        ("DROP TABLE rows", "the table is gone"),
        ("DELETE FROM batten_tokens WHERE batch = 1", "no token of 1 batch that it was given: 1"),
        ("DROP TABLE batten_tokens", "no token of 3 batches that it was given: 0, 1, 2"),
        (
            "DELETE FROM rows WHERE key < 2",
            "it has 7 rows, and was given 9 rows; missing: 0 (batch 0), 1 (batch 0)",
        ),
    ],
)
def test_what_it_lacks_is_named(harm: str, told: str, done: Lab) -> None:
    path = done.folder / "rows"
    assert verify(path, should_ask=True).is_sound
    done.insert(99, "theirs")
    assert verify(path, should_ask=True).is_sound
    done.ask("DELETE FROM rows WHERE key = 99")
    done.ask(harm)
    assert verify(path).is_sound
    assert batten.diagnose(path).state == "COMPLETE"
    asked = verify(path, should_ask=True)
    (finding,) = asked.damage
    assert told in finding.evidence
    assert list(asked.diagnosis.unseen.values()) == ["asked, it does not have all of it"]


def test_one_that_has_all_of_it_is_told_so(done: Lab) -> None:
    path = done.folder / "rows"
    assert list(verify(path).diagnosis.unseen.values()) == ["not asked"]
    assert not verify(path, should_ask=True).diagnosis.unseen


def test_of_one_that_was_not_asked_nobody_says_what_it_has(done: Lab) -> None:
    """Neither on the screen nor on the page, also where the table is gone."""
    done.ask("DROP TABLE rows")
    given = ": was given 9 rows of 3 batches; not asked"
    for command in ("diagnose", "verify"):
        told = done.command(command, "rows")
        assert told.returncode == 0, told.stderr
        (line,) = [line for line in told.stdout.splitlines() if given in line]
        assert line.startswith("  given    table rows of ")
        assert "  has " not in told.stdout
    assert done.command("report", "rows", "-o", "page.html").returncode == 0
    page = (done.folder / "page.html").read_text()
    assert given.removeprefix(": ") in page
    assert ">has<" not in page


def test_one_that_does_not_answer_is_told(done: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGUSER", "nobody_of_that_name")
    with pytest.raises(StorageError, match="can't be asked"):
        verify(done.folder / "rows", should_ask=True)
