"""The client of a store at an address, as the environment says."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from batten.errors import usage_error

_CONNECT = timedelta(seconds=5)
_ANSWER = timedelta(seconds=60)
_RETRYING = timedelta(seconds=60)
_RETRIES = 8
"""The client asks so often by itself, with longer and longer waits, before it says that no answer
came. A store that begins anew is back within that."""


def connect(address: str) -> Any:
    """Raises `UsageError` where that is not possible. Nothing is asked of the store yet."""
    try:
        from obstore.store import from_url
    except ImportError as error:
        raise usage_error(
            f"{address!r} is in an object store, and the package obstore is not installed.",
            'Install it: pip install "batten[objects]"',
        ) from error
    try:
        return from_url(
            address,
            # Who names an endpoint without TLS means it: the address of a store of one's own.
            client_options={
                "connect_timeout": _CONNECT,
                "timeout": _ANSWER,
                "allow_http": True,
            },
            retry_config={"max_retries": _RETRIES, "retry_timeout": _RETRYING},
        )
    except Exception as error:
        told = str(error).partition("\n")[0]
        raise usage_error(
            f"The store at {address!r} can't be used as the environment says: {told}",
            "Correct the address, or the variables of the environment that it names.",
        ) from error
