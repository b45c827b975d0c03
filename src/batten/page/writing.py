"""Writes a page to a file that appears whole or not at all, and replaces nothing but a page."""

from __future__ import annotations

import os
import stat

from batten.errors import RefusedError
from batten.inspect.paths.free_place import refuse_within_datasets
from batten.page.document import DOCTYPE
from batten.storage.addresses import local_path
from batten.storage.failures import publishing_failure
from batten.storage.local.stand_alone import publish_file


def check_target(path: str) -> str:
    """Where the page goes. Raises `UsageError` within a dataset, and `RefusedError` where something
    else than a page is."""
    target = local_path(path)
    refuse_within_datasets(target, "a page")
    try:
        found = os.stat(target)
        is_file = stat.S_ISREG(found.st_mode)
        is_page = is_file and (not found.st_size or _read_beginning(target) == DOCTYPE.encode())
    except FileNotFoundError:
        return target
    except OSError as error:
        raise publishing_failure(error, target) from error
    if not is_page:
        raise RefusedError(
            f"{target!r} is there already, and is no page of batten's.",
            safe="Nothing was written.",
            next="Give -o a name that is free.",
        )
    return target


def encode_page(html: str) -> bytes:
    """The bytes of a page. Names that are not UTF-8 are escaped in it."""
    return html.encode(errors="backslashreplace")


def write_page(target: str, data: bytes) -> None:
    """Give the file its content."""
    with publish_file(target) as file:
        try:
            file.write(data)
        except OSError as error:
            raise publishing_failure(error, target) from error


def _read_beginning(target: str) -> bytes:
    descriptor = os.open(target, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return os.read(descriptor, len(DOCTYPE.encode()))
    finally:
        os.close(descriptor)
