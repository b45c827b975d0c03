"""How much the next run will write, by what lies there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from batten.ledger.bytes_to_write import estimate_bytes_to_write
from batten.ledger.facts.observation import Observation
from batten.ledger.facts.observe import observe_output
from batten.ledger.judge import judge
from batten.model.disk.destinations.delivery import Delivery
from batten.model.disk.fingerprints import DIGEST_PREFIX, TABLE_PREFIX
from batten.model.disk.records import Fingerprint
from batten.model.rules.accounting import Accounts
from batten.storage.local.folder import LocalStorage

FILE = "features.csv"


def record(*, size: int = 600, batches: int = 3, target: str = FILE) -> Delivery:
    words = {"content": "", "digest": "d" * 64, "replaces": "", "run": "", "time": ""}
    return Delivery(kind="csv", target=target, batches=batches, rows=8, size=size, **words)


def look(build: Callable[..., Any], published: int, **changes: Any) -> tuple[Observation, Accounts]:
    """Ten items in batches of four, the parts of 100 bytes each, and what else was seen."""
    built = build(published=published)
    seen = observe_output(LocalStorage(built.root), built.layout)
    parts = dict.fromkeys(seen.parts, 100)
    return replace(seen, parts=parts, **changes), judge(seen).accounts


def test_pending_items_take_what_others_take(build: Callable[..., Any]) -> None:
    seen, accounts = look(build, 2)
    assert estimate_bytes_to_write(seen, accounts, []) == 2 * 200 // 8
    assert estimate_bytes_to_write(seen, accounts, [], is_anew=True) == 10 * 200 // 8


def test_a_file_is_written_whole_where_it_is_not_up_to_date(build: Callable[..., Any]) -> None:
    seen, accounts = look(build, 2)
    # Of a file that was never made it is only known that it holds the rows of the parts.
    assert estimate_bytes_to_write(seen, accounts, [FILE]) == 50 + 250
    seen, accounts = replace(seen, deliveries=(record(batches=2),), placed={FILE: 600}), accounts
    assert estimate_bytes_to_write(seen, accounts, [FILE]) == 50 + 600 * 10 // 8


def test_a_file_that_is_up_to_date_takes_nothing(build: Callable[..., Any]) -> None:
    seen, accounts = look(build, 3, deliveries=(record(),), placed={FILE: 600})
    assert estimate_bytes_to_write(seen, accounts, [FILE]) == 0
    assert estimate_bytes_to_write(seen, accounts, [FILE], is_anew=True) == 300 + 600
    for behind in (
        replace(seen, placed={}),
        replace(seen, placed={FILE: 599}),
        replace(seen, deliveries=(record(batches=0),)),
    ):
        assert estimate_bytes_to_write(behind, accounts, [FILE]) == 600


def test_before_the_first_batch_nothing_is_known(build: Callable[..., Any]) -> None:
    seen, accounts = look(build, 0)
    assert estimate_bytes_to_write(seen, accounts, []) is None
    assert estimate_bytes_to_write(seen, accounts, [FILE]) is None


def test_the_file_of_whole_tables_takes_what_it_took(build: Callable[..., Any]) -> None:
    parts = {f"{TABLE_PREFIX}refunds": f"{DIGEST_PREFIX}ab"}
    seen, accounts = look(build, 3)
    assert seen.config is not None
    config = replace(seen.config, fingerprint=Fingerprint(digest="", parts=parts))
    seen = replace(seen, config=config)
    assert estimate_bytes_to_write(seen, accounts, [FILE]) is None
    made = replace(seen, deliveries=(record(),), placed={FILE: 600})
    assert estimate_bytes_to_write(made, accounts, [FILE]) == 0
    assert estimate_bytes_to_write(made, accounts, [FILE], is_anew=True) == 600
