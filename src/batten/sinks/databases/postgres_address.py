"""The address of a PostgreSQL server: what may be shown of it, and what in it may be a password."""

from __future__ import annotations

import os
import re
from urllib.parse import parse_qs, unquote, urlsplit

from batten.errors import UsageError
from batten.model.disk.destinations.targets import show_base


def name_place(address: str) -> str:
    """The database and where it is, without user and password."""
    hosts = ""
    if "://" in address:
        scheme, _, rest = address.partition("://")
        try:
            # A password may hold a character that elsewhere ends the host.
            parts = urlsplit(f"{scheme}://{rest.rpartition('@')[2]}")
        except ValueError:
            raise UsageError(
                "The address of a PostgreSQL server can't be read.",
                safe="Nothing was read or written.",
                next="Give it like this: postgresql://user@host:5432/base",
            ) from None
        asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
        found = {"dbname": parts.path.strip("/"), **asked}
        # There may be several, each with a port.
        hosts = parts.netloc
    else:
        pairs = re.findall(r"(\w+)\s*=\s*('(?:[^'\\]|\\.)*'|\S+)", address)
        found = {name: value.strip("'") for name, value in pairs}
    hosts = hosts or found.get("host") or os.environ.get("PGHOST", "localhost")
    if not re.search(r":\d+$", hosts):
        hosts += ":" + (found.get("port") or os.environ.get("PGPORT", "5432"))
    base = found.get("dbname") or os.environ.get("PGDATABASE", "the default database")
    return show_base(base, hosts)


def list_passwords(address: str) -> list[str]:
    """What in the address may be a password, however it is written, longest first."""
    login = address.rpartition("@")[0].partition("://")[2] or address.rpartition("@")[0]
    found = [login.partition(":")[2], *re.findall(r"(?i)password\s*=\s*'([^']+)'", address)]
    found += re.findall(r"(?i)password\s*=\s*([^'\s&]\S*)", address)
    pieces = [piece for each in found for piece in (each, unquote(each), *re.split("[/?#]", each))]
    return sorted({address, *pieces} - {""}, key=len, reverse=True)
