"""What fuzzing calls that is no command, on the folder `out`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

STREAM = tuple({"offset": offset, "item": f"i{offset}"} for offset in range(5))


def read_output(root: Path) -> None:
    import batten

    dataset = batten.open(root / "out")
    for _ in dataset.to_arrow().to_batches():
        pass


def serve_output(root: Path) -> None:
    from batten.page.serving import LivePages

    sys.stdout.write(LivePages(["out"]).get(is_still=False).decode())


def land_more(root: Path) -> None:
    import batten

    batten.land([None, *STREAM], into=root / "out", offset=_offset_of, items_max=2)


def _offset_of(item: dict[str, int]) -> int:
    return item["offset"]


def read_landed(root: Path) -> None:
    import batten

    landed = batten.from_landed(root / "out")
    landed.map(_keep).write_parquet(root / "out-read").run(executor="serial", progress=False)


def _keep(item: dict[str, object]) -> dict[str, object]:
    return {"item": str(item)}


def use_cache(root: Path) -> None:
    from batten.cache.cache import Cache

    cache = Cache(root / "out", disk_free_min=0)
    with cache.get_or_create("files", _fill) as entry:
        os.listdir(entry.path)
    cache.get_or_compute("value", lambda: [1, "a"])
    cache.get_or_compute("odd", lambda: _Odd())
    cache.statistics()


class _Odd:
    """A value that is pickled."""


def _fill(folder: Path) -> None:
    (folder / "deep").mkdir()
    (folder / "deep" / "data").write_bytes(b"data")
    (folder / "more").write_bytes(b"more")


def change_tree(root: Path) -> None:
    import batten

    with batten.transaction(root / "out") as change:
        change.write("fuzzed.md", "fuzzed")


def lock_tree(root: Path) -> None:
    import batten

    with batten.read_lock(root / "out"):
        pass
