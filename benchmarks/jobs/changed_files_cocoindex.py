"""The same by CocoIndex."""

# mypy: disable-error-code="untyped-decorator"

import hashlib
import os
import pathlib
from collections.abc import Iterator
from typing import Any

os.environ["COCOINDEX_DISABLE_USAGE_TRACKING"] = "1"

import cocoindex as coco
from cocoindex.connectors import localfs


@coco.lifespan
def settings(builder: Any) -> Iterator[None]:
    builder.settings.db_path = pathlib.Path("cocoindex.db")
    yield


@coco.fn(memo=True)
async def digest(file: Any, target: Any) -> None:
    content = hashlib.sha256(await file.read()).hexdigest()
    target.declare_file(file.file_path.name, content)


@coco.fn
async def main(source: pathlib.Path) -> None:
    target = await localfs.mount_dir_target(pathlib.Path("by_cocoindex"))
    await coco.mount_each(digest, localfs.walk_dir(source).items(), target)


coco.App(coco.AppConfig(name="digests"), main, source=pathlib.Path("in")).update_blocking()
