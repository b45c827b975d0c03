"""Changes five files of a tree again and again, in one way and then in another, in turn.

    python transactions.py COUNT ROOT WAY [ROOT WAY]

Prints the seconds of each change, as JSON: a list for each way. WAY is `transaction` or `undo`,
the way without batten: copies of the touched files for a backup, a journal that names
them, then writing in place; all of it as durable.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from pathlib import Path

import batten

FILES = [f"folder-{number}/file-0" for number in range(5)]
SIZE = 20_000


def sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def change_by_transaction(root: Path, data: bytes) -> None:
    with batten.transaction(root) as change:
        for name in FILES:
            change.write(name, data)


def change_by_undo(root: Path, data: bytes) -> None:
    backups = root.with_name(root.name + ".backups")
    backups.mkdir(exist_ok=True)
    for number, name in enumerate(FILES):
        shutil.copyfile(root / name, backups / str(number))
        sync(backups / str(number))
    sync(backups)
    journal = backups / "journal"
    journal.write_text(json.dumps(FILES))
    sync(journal)
    sync(backups)
    for name in FILES:
        (root / name).write_bytes(data)
        sync(root / name)
    journal.unlink()
    sync(backups)
    for number in range(len(FILES)):
        (backups / str(number)).unlink()


def main() -> None:
    changes = {"transaction": change_by_transaction, "undo": change_by_undo}
    sides = [
        (Path(root), changes[way], list[float]())
        for root, way in zip(sys.argv[2::2], sys.argv[3::2], strict=True)
    ]
    for number in range(int(sys.argv[1])):
        for root, change, seconds in sides:
            began = time.perf_counter()
            change(root, bytes([65 + number % 26]) * SIZE)
            seconds.append(time.perf_counter() - began)
    print(json.dumps([seconds for _, _, seconds in sides]))


if __name__ == "__main__":
    main()
