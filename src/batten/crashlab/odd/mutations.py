"""Folders that are odd in one way or a few: every kind of record and file, changed where it hurts.

A folder is a dict from relative names to what lies there: bytes, or a `Special`. After a change,
whatever describes the file is made to fit again: checksums, digests, sizes. So the change gets past
the first check, to what looks at the content.
"""

from __future__ import annotations

import random
import re
from contextlib import suppress

from batten.crashlab.odd.files import mutate_list, mutate_listed, mutate_made, mutate_sealed
from batten.crashlab.odd.records import (
    Folder,
    Mutation,
    Node,
    Special,
    bytes_of,
    mutate_landed,
    mutate_log,
    mutate_manifest,
    mutate_marks,
    mutate_record,
)
from batten.crashlab.odd.tables import mutate_part, mutate_plan, mutate_staged
from batten.crashlab.odd.values import change_bytes

ODD_NAMES = [
    *("part-999999999999.parquet", "part-000000 (copy).parquet", "part-0.parquet", ".hidden"),
    *(
        "000001.json",
        "999999999.json",
        "x" * 250,
        "a\nb",
        "\x1b[31m",
        "caf\udce9",
        "part-\u0660\u0660.parquet",
    ),
    *("000000.arrow", "x.jsonl", "x.inflight", "COMPLETE", "REPLACING", "JOURNAL", "tree", "fresh"),
    *("000000-sealed-" + "0" * 32 + ".parquet", "000000-000000-000002-" + "0" * 32 + ".arrow"),
    *(
        "000000-000000-999999999999-" + "0" * 32 + ".arrow",
        "what.host-1-0",
        "what.host-" + "9" * 40 + "-0",
    ),
    *("000000-000000-000001-" + "f" * 64 + "-" + "0" * 32 + ".arrow", "dataset.json", "lock"),
]


def mutate(folder: Folder, dice: random.Random, canary: bytes) -> list[str]:
    """Change the folder in place; gives what was done. `canary` is a pickle that shows when it is
    run."""
    done = []
    for _ in range(dice.choice([1, 1, 1, 2, 3])):
        names = sorted(name for name, node in folder.items() if isinstance(node, bytes))
        if not names:
            break
        name = dice.choice(names)
        kinds = [*_find_kinds(name), *_COMMON]
        kind = kinds[0] if dice.random() < 0.65 else dice.choice(kinds)
        # What an earlier change made unreadable, huge or deeply nested, can't be changed again.
        with suppress(RecursionError, ValueError, MemoryError):
            kind(folder, name, dice, canary)
        told = kind.__name__.removeprefix("mutate").removeprefix("_")
        done.append(f"{told} {name}")
    return done


def _find_kinds(name: str) -> list[Mutation]:
    return [kind for pattern, kind in _KINDS if re.search(pattern, name)]


def _bytes(folder: Folder, name: str, dice: random.Random, canary: bytes) -> None:
    folder[name] = change_bytes(bytes_of(folder, name), dice)


def _kind(folder: Folder, name: str, dice: random.Random, canary: bytes) -> None:
    _put(folder, name, _odd_node(dice, name))


def _odd_node(dice: random.Random, name: str) -> Special:
    up = "../" * name.count("/")
    return dice.choice(
        [
            Special("folder"),
            Special("pipe"),
            Special("link", f"{up}victim/precious"),
            Special("link", f"{up}victim"),
            Special("link", "nothing-there"),
            Special("link", "/dev/zero"),
            Special("link", name.rpartition("/")[2]),
            Special("sparse", size=dice.choice([10**9, 20 * 2**30, 2**40])),
        ]
    )


def _above(folder: Folder, name: str, dice: random.Random, canary: bytes) -> None:
    """Something else lies in the place of a folder above the file."""
    pieces = name.split("/")
    if len(pieces) > 1:
        above = "/".join(pieces[: dice.randrange(1, len(pieces))])
        if dice.random() < 0.7:
            _put(folder, above, _odd_node(dice, above))
        else:
            _put(folder, above, dice.choice([b"", b"x"]))


def _put(folder: Folder, name: str, node: Node) -> None:
    if name == "out" and isinstance(node, Special) and node.kind == "link":
        node = Special("pipe")  # the place that the user names may be a link, and is then followed
    for other in [each for each in folder if each.startswith(f"{name}/")]:
        del folder[other]
    pieces = name.split("/")
    for count in range(1, len(pieces)):
        # Or it would be laid out where a link leads.
        folder.pop("/".join(pieces[:count]), None)
    folder[name] = node


def _gone(folder: Folder, name: str, dice: random.Random, canary: bytes) -> None:
    del folder[name]


def _renamed(folder: Folder, name: str, dice: random.Random, canary: bytes) -> None:
    node = folder.pop(name)
    _put(folder, _odd_place(folder, name, dice), node)


def _copied(folder: Folder, name: str, dice: random.Random, canary: bytes) -> None:
    node = folder[name] if dice.random() < 0.6 else _odd_node(dice, name)
    _put(folder, _odd_place(folder, name, dice), node)


def _odd_place(folder: Folder, name: str, dice: random.Random) -> str:
    parents = sorted({each.rpartition("/")[0] for each in folder if "/" in each})
    parent = name.rpartition("/")[0] if dice.random() < 0.5 else dice.choice(parents or [""])
    last = dice.choice([*ODD_NAMES, name.rpartition("/")[2]])
    return f"{parent}/{last}" if parent else f"out.batten/{last}"


_COMMON: list[Mutation] = [_kind, _above, _bytes, _gone, _renamed, _copied]

_KINDS: list[tuple[str, Mutation]] = [
    (r"(^|/)(files/\d+\.json|deliveries/hive-[^/]+\.json)$", mutate_list),
    (r"^out/[^/]+/[^/]+\.(txt|parquet)$", mutate_listed),
    (r"(^|/)made/", mutate_made),
    (r"plan/\d+\.(digests|versions|values)$", mutate_sealed),
    (r"(^|/)(plan|commits|recompute|deliveries|submissions|tokens)/[^/]+\.json$", mutate_record),
    (r"(^|/)(dataset|schema)\.json$", mutate_record),
    (r"(^|/)(COMPLETE|REPLACING|UNSYNCED|JOURNAL|lock|budget|total)$", mutate_record),
    (r"plan/\d+\.arrow$", mutate_plan),
    (r"part-\d+\.parquet$|quarantine/\d+\.parquet$", mutate_part),
    (r"staged/.*-[0-9a-f]{32}\.(arrow|parquet)$", mutate_staged),
    (r"runs/.*\.jsonl$|submissions/[^/]+\.answers$", mutate_log),
    (r"\.inflight$", mutate_marks),
    (r"/manifest$", mutate_manifest),
    (r"\d{18}-\d{18}\.jsonl$", mutate_landed),
]
