"""The protocol of OpenAI's files and batches, which other vendors and local servers speak too.

    POST   /files                   the requests, one a line; `purpose` is batch
    POST   /batches                 begin: of a file, for an endpoint, with `metadata`
    GET    /batches/{id}            its `status`; then `output_file_id` and `error_file_id`
    GET    /batches?limit=&after=   all there are, the newest first
    POST   /batches/{id}/cancel
    GET    /files/{id}/content      the answers, one a line, in any order
    DELETE /files/{id}

An answer that does not come, or makes no sense, tells nothing of what was done.
"""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlencode

from batten.errors import UsageError
from batten.fingerprint.secret import Secret
from batten.model.json_text import parse_json
from batten.printable import blot
from batten.redirects import NoRedirect

TOKEN = "batten_token"
"""What the token is called in a batch's metadata."""

TIMEOUT_SECONDS = 60.0
PAGE = 100
JSON_BYTES_MAX = 1 << 24
"""What makes sense is not larger, nor is the answer to one request."""
FILE_BYTES_MAX = 1 << 32
_PIECE = 1 << 20
_PASSING = frozenset({408, 409, 423, 425, 429})
_TOLD_MAX = 500
_PAGES_MAX = 10_000


class SilentVendorError(Exception):
    """No answer came, or one that makes no sense: nobody knows what was done."""


class VendorRefusedError(Exception):
    """The vendor said no, and why."""

    def __init__(self, status: int, told: str) -> None:
        super().__init__(f"HTTP {status}: {told}" if told else f"HTTP {status}")
        self.status = status


class BatchVendor:
    """Each method asks once. It may be used by several threads."""

    def __init__(self, base_url: str, key: Secret | None) -> None:
        self._base_url = base_url
        self._key = key
        self._opener = urllib.request.build_opener(NoRedirect())

    def upload(self, name: str, data: bytes) -> str:
        """Give it the requests; what it calls the file."""
        boundary = f"batten-{name}"
        while boundary.encode() in data:
            boundary += "-"
        head = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
            f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
            "Content-Type: application/jsonl\r\n\r\n"
        )
        body = b"".join([head.encode(), data, f"\r\n--{boundary}--\r\n".encode()])
        told = self._ask_json(
            "POST", "/files", body, {"Content-Type": f"multipart/form-data; boundary={boundary}"}
        )
        return _read_id(told)

    def begin(self, file: str, endpoint: str, window: str, token: str) -> dict[str, Any]:
        """Have it begin. Never to be repeated without a look."""
        body = {
            "input_file_id": file,
            "endpoint": endpoint,
            "completion_window": window,
            "metadata": {TOKEN: token},
        }
        headers = {"Content-Type": "application/json", "Idempotency-Key": f"batten-{token}"}
        told = _check_batch(self._ask_json("POST", "/batches", json.dumps(body).encode(), headers))
        if told.get("input_file_id") not in (None, file):
            raise SilentVendorError("it answered with a batch of another file")
        return told

    def look(self, batch: str) -> dict[str, Any] | None:
        """What it says of a batch; None if it knows of none of that name."""
        try:
            told = _check_batch(self._ask_json("GET", f"/batches/{quote(batch, safe='')}"))
        except VendorRefusedError as error:
            if error.status == 404:
                return None
            raise
        if told["id"] != batch:
            raise SilentVendorError("it answered with another batch")
        return told

    def search(self, token: str, file: str) -> list[dict[str, Any]]:
        """The batches that bear the token, or are of that file; none if all others say that they
        are not it. Where something between asked twice, there are two. No clock is trusted to say
        where the list may be left."""
        found: list[dict[str, Any]] = []
        try:
            found.extend(each for each in self._list() if self._is_it(each, token, file))
        except SilentVendorError:
            if not found:
                raise
        return found

    def _list(self) -> Iterator[dict[str, Any]]:
        after, seen = "", set()
        for _ in range(_PAGES_MAX):
            query = {"limit": PAGE, **({"after": after} if after else {})}
            page = self._ask_json("GET", f"/batches?{urlencode(query)}")
            batches = page.get("data")
            if not isinstance(batches, list):
                raise SilentVendorError("its list of batches is none")
            yield from map(_check_batch, batches)
            if not batches or page.get("has_more") is False:
                return
            after = _read_id(batches[-1])
            if after in seen:
                raise SilentVendorError("its list of batches goes in a circle")
            seen.add(after)
        raise SilentVendorError("its list of batches has no end")

    def _is_it(self, batch: dict[str, Any], token: str, file: str) -> bool:
        """A list may say less of a batch than the batch itself."""
        found = _compare(batch, token, file)
        if found is None:
            found = _compare(self.look(batch["id"]) or {}, token, file)
        if found is None:
            raise SilentVendorError("it does not say of which file a batch is")
        return found

    def cancel(self, batch: str) -> None:
        """Ask it to stop; what it says of the batch later tells whether it did."""
        try:
            self._ask("POST", f"/batches/{quote(batch, safe='')}/cancel", b"")
        except VendorRefusedError:
            return  # It has ended already.

    def read_file(self, file: str, answers: int) -> bytes | None:
        """What a file of so many answers holds; None if it knows of none of that name."""
        bytes_max = min(FILE_BYTES_MAX, JSON_BYTES_MAX * answers)
        try:
            return self._ask("GET", f"/files/{quote(file, safe='')}/content", bytes_max=bytes_max)
        except VendorRefusedError as error:
            if error.status in (404, 410):
                return None
            raise

    def delete_file(self, file: str) -> None:
        """A batch of this file can't begin from here on. Raises `VendorRefusedError` where the file
        stays."""
        try:
            told = self._ask_json("DELETE", f"/files/{quote(file, safe='')}")
        except VendorRefusedError as error:
            if error.status in (404, 410):
                return
            raise
        if told.get("deleted") is False:
            raise SilentVendorError("it did not delete a file")

    def _ask_json(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        data = self._ask(method, path, body, headers)
        try:
            told = parse_json(data)
        except ValueError as error:
            raise SilentVendorError("it answered with something that is no JSON") from error
        if not isinstance(told, dict):
            raise SilentVendorError("it answered with something that is no object")
        return told

    def _ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        bytes_max: int = JSON_BYTES_MAX,
    ) -> bytes:
        request = urllib.request.Request(self._base_url + path, data=body, method=method)
        for name, value in (headers or {}).items():
            request.add_header(name, value)
        if self._key is not None:
            # Not by `add_header`, which a redirect would carry to another server.
            request.add_unredirected_header("Authorization", f"Bearer {_read_key(self._key)}")
        try:
            with self._opener.open(request, timeout=TIMEOUT_SECONDS) as answer:
                return _read(answer, bytes_max)
        except urllib.error.HTTPError as error:
            with error:
                told = _read_refusal(error)
            is_refusal = 400 <= error.code < 500 and error.code not in _PASSING
            if is_refusal and told is not None:
                raise VendorRefusedError(error.code, told) from None
            raise SilentVendorError(f"it answered with HTTP {error.code}") from None
        except (OSError, http.client.HTTPException) as error:
            raise SilentVendorError(blot(f"{type(error).__name__}: {error}")) from error


def _read(answer: http.client.HTTPResponse, bytes_max: int) -> bytes:
    """All of it; one that has no end fills no memory."""
    pieces: list[bytes] = []
    left = bytes_max + 1
    while left > 0 and (piece := answer.read(min(_PIECE, left))):
        pieces.append(piece)
        left -= len(piece)
    if left <= 0:
        raise SilentVendorError("its answer is too large")
    if answer.length:
        raise SilentVendorError("its answer was cut off")
    return b"".join(pieces)


def _read_key(key: Secret) -> str:
    """The value, if it can be sent: what can't would be shown by the error."""
    value = key()
    if value.isascii() and value.isprintable():
        return value
    raise UsageError(
        f"The value of {key.name} has a character that no key can have, a line end perhaps.",
        safe="Nothing was sent to the vendor.",
        next=f"Set it without that (export {key.name}=…), then run the same command again.",
    )


def _compare(batch: Mapping[str, Any], token: str, file: str) -> bool | None:
    """Whether the batch bears the token or is of the file; None if it tells neither."""
    metadata, of_file = batch.get("metadata"), batch.get("input_file_id")
    named = metadata.get(TOKEN) if isinstance(metadata, dict) else None
    if named == token or (file and of_file == file):
        return True
    return False if isinstance(named, str) or isinstance(of_file, str) else None


def _read_refusal(error: urllib.error.HTTPError) -> str | None:
    """What it says; None if that is not the protocol's own word, but a gateway's perhaps."""
    try:
        told = parse_json(error.read(1 << 16))
    except (ValueError, OSError, http.client.HTTPException):
        return None
    found = told.get("error") if isinstance(told, dict) else None
    if isinstance(found, dict):
        found = found.get("message", "")
    # Some repeat the key that they refuse.
    return blot(found)[:_TOLD_MAX] if isinstance(found, str) else None


def _check_batch(told: Any) -> dict[str, Any]:
    status = told.get("status") if isinstance(told, dict) else None
    if not isinstance(status, str) or not status.isprintable():
        raise SilentVendorError("it answered with something that is no batch")
    _read_id(told)
    return {**told, "status": status.lower()}


def _read_id(told: Any) -> str:
    found = told.get("id") if isinstance(told, dict) else None
    if not isinstance(found, str) or not 0 < len(found) <= 1000 or not found.isprintable():
        raise SilentVendorError("it answered with something that has no id")
    return found
