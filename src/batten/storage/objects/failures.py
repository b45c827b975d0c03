"""What an object store's refusals mean for the data, told in three sentences."""

from __future__ import annotations

import errno
import re

from batten.errors import StorageError
from batten.storage.failures import OtherVersionError

_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(r"<Code>(\w+)</Code>")
_CREDENTIALS = (
    "Give the credentials as that store's own tools take them (AWS_ACCESS_KEY_ID, AWS_PROFILE, "
    "a role), with the right to read, list and write there; then run the same command again."
)
_SAFE_READING = "Nothing was changed."
_SAFE_WRITING = (
    "What was committed before is safe; whether this step happened is looked up by the next run."
)
_ANOTHER_VERSION = 412
_REFUSALS = frozenset({"PermissionDeniedError", "UnauthenticatedError"})
_MAY_PASS = frozenset({408, 409, 412, 425, 429})


def has_no_answer(error: Exception) -> bool:
    """Whether the deed may have been done, or may be yet: no answer came, or one that is not
    final. What a store refuses for good was not done."""
    if type(error).__name__ in _REFUSALS:
        return False
    status = _find_status(error)
    return not 400 <= status < 500 or status in _MAY_PASS


def is_absent(error: Exception) -> bool:
    """Whether the store says that there is no such object. A bucket that is not there is none."""
    return isinstance(error, FileNotFoundError) and "NoSuchBucket" not in str(error)


def reading_failure(error: Exception, action: str, address: str) -> StorageError:
    if _find_status(error) == _ANOTHER_VERSION:
        return other_version(action, address)
    return _describe(error, action, address, _SAFE_READING)


def other_version(action: str, address: str) -> OtherVersionError:
    return OtherVersionError(
        f"{action} {address!r} failed: it was changed since it was opened.",
        safe=_SAFE_READING,
        next="When it is not changed any more, run the same command again.",
        errno=errno.EIO,
    )


def odd_name_below(address: str) -> StorageError:
    """The client goes no further than to such a name, and what it told before is not known."""
    return StorageError(
        f"Listing {address!r} failed: an object below it has an empty piece in its name, as in "
        "a//b, and there are too many objects to list them otherwise.",
        safe=_SAFE_READING,
        next="Delete or rename that object by that store's own tools, then run the same command "
        "again.",
        errno=errno.EIO,
    )


def writing_failure(error: Exception, action: str, address: str) -> StorageError:
    return _describe(error, action, address, _SAFE_WRITING)


def _find_status(error: Exception) -> int:
    found = _STATUS.search(str(error))
    return int(found[1]) if found is not None else 0


def _describe(error: Exception, action: str, address: str, safe: str) -> StorageError:
    status, code = _find_status(error), _CODE.search(str(error))
    told = code[1] if code is not None else ""
    if told in ("NoSuchBucket", "InvalidBucketName"):
        reason, number = "there is no such bucket", errno.EIO
        advice = "Make the bucket, or correct the address; then run again."
    elif type(error).__name__ in _REFUSALS or status in (401, 403):
        reason, number = "the store does not permit it", errno.EACCES
        advice = _CREDENTIALS
    elif status:
        reason, number = f"the store answered {status}{told and f' ({told})'}", errno.EIO
        advice = "When the store is well again, run the same command again."
    else:
        reason, number = f"the store gave no answer ({_first_words(error)})", errno.EIO
        advice = "Check the address and the network, then run the same command again."
    return StorageError(
        f"{action} {address!r} failed: {reason}.", safe=safe, next=advice, errno=number
    )


def _first_words(error: Exception) -> str:
    """The cause, without what the client says of itself, and without its addresses' queries."""
    first = str(error).strip().partition("\n")[0].rpartition(" - ")[2]
    return re.sub(r"\?\S*", "", first)[:200] or type(error).__name__
