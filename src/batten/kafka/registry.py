"""The protocol of schema registries: Confluent's, which others speak too.

    POST  /subjects/{subject}/versions   `{"schema": "…"}` gives its `id`
    GET   /schemas/ids/{id}              gives `{"schema": "…"}`

The same schema gets the same id, and no id is given twice. So what got no answer is asked again.
"""

from __future__ import annotations

import base64
import http.client
import json
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlsplit

from batten.errors import usage_error
from batten.fingerprint.secret import Secret
from batten.kafka.connecting import not_answered
from batten.model.json_text import parse_json
from batten.redirects import NoRedirect

if TYPE_CHECKING:
    from batten.kafka.client_errors import Asker

ID_MAX = (1 << 31) - 1
_JSON = "application/vnd.schemaregistry.v1+json"
_BYTES_MAX = 1 << 24
_PIECE = 1 << 16
_TOLD_MAX = 500
_PASSING = frozenset({408, 425, 429})
_INCOMPATIBLE = 409


def refuse_unusable_address(address: object) -> None:
    """Raises `UsageError` for what is no address, and for one that has a password in it."""
    if isinstance(address, Secret):
        return
    told = 'Give one such as "https://schemas.example:8081".'
    if not isinstance(address, str) or not address.isprintable():
        raise usage_error("schema_registry= is no address.", told)
    if "@" in address:
        raise usage_error(
            "schema_registry= has an @, and an address with a password would be written down.",
            "Put the whole address into a variable, and name it: "
            'schema_registry=batten.Secret("REGISTRY_ADDRESS").',
        )
    if not _is_address(address):
        raise usage_error(f"schema_registry={address!r} is no address of a registry.", told)


def _is_address(address: str) -> bool:
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:
        return False
    is_web = parts.scheme in ("http", "https") and bool(parts.hostname)
    return is_web and port != 0 and not (parts.query or parts.fragment or " " in address)


class Registry:
    """`asker` says what it means where it does not answer, or says no. Each request is asked once.
    It may be used by several threads."""

    def __init__(self, address: str | Secret, timeout_seconds: float, asker: Asker) -> None:
        written = address() if isinstance(address, Secret) else address
        if not _is_address(written):
            raise usage_error(
                f"What {address} holds is no address of a registry.",
                "Set it to one such as https://user:password@schemas.example:8081.",
            )
        parts = urlsplit(written)
        place = parts.netloc.rpartition("@")[2]
        self.name = f"{parts.scheme}://{place}{parts.path.rstrip('/')}"
        self._seconds = timeout_seconds
        self._asker = asker
        self._headers = {"Accept": _JSON, "Content-Type": _JSON}
        self._hidden: list[str] = []
        if parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            login = base64.b64encode(pair.encode()).decode()
            self._headers["Authorization"] = f"Basic {login}"
            self._hidden = [written, login, *filter(None, [parts.password, pair.partition(":")[2]])]
        self._opener = urllib.request.build_opener(NoRedirect())

    def register(self, subject: str, schema: str) -> int:
        """The schema's id. Raises what the asker makes of it."""
        path = f"/subjects/{quote(subject, safe='')}/versions"
        action = f"Registering the schema {subject} at"
        told = self._ask(action, path, subject, {"schema": schema})
        found = told.get("id")
        if type(found) is int and 0 <= found <= ID_MAX:
            return found
        raise self._unreached(action, ValueError("its answer has no id"))

    def _ask(self, action: str, path: str, subject: str, body: Any) -> dict[str, Any]:
        """What it answers."""
        data = json.dumps(body).encode()
        request = urllib.request.Request(self.name + path, data=data)
        for name, value in self._headers.items():
            # A redirect would carry those of `add_header` to another server.
            request.add_unredirected_header(name, value)
        ends_at = time.monotonic() + self._seconds
        try:
            with self._opener.open(request, timeout=self._seconds) as answer:
                told = parse_json(_read(answer, ends_at, self._seconds))
        except urllib.error.HTTPError as error:
            with error:
                text = _read_refusal(error)
            raise self._refused(action, subject, error.code, text) from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            reason = getattr(error, "reason", None)
            is_late = isinstance(error, TimeoutError) or isinstance(reason, TimeoutError)
            said = not_answered(self._seconds) if is_late else error
            raise self._unreached(action, said) from error
        if not isinstance(told, dict):
            raise self._unreached(action, ValueError("its answer is no object of JSON"))
        return told

    def _unreached(self, action: str, error: Exception) -> Exception:
        return self._asker.unreached(
            action,
            self.name,
            error,
            remedy="See that a schema registry answers there",
            hidden=self._hidden,
        )

    def _refused(self, action: str, subject: str, status: int, told: str) -> Exception:
        said = RuntimeError(f"HTTP {status}{': ' if told else ''}{told}")
        if status >= 500 or status in _PASSING:
            return self._unreached(action, said)
        remedy = "Correct schema_registry=…"
        if status in (401, 403):
            remedy = "See that the user and the password are right, and may do this"
        elif told and status == _INCOMPATIBLE:
            remedy = (
                f"Change rows so that they fit the schemas that {subject} has; or write to "
                "another topic; or change what that subject takes for compatible"
            )
        return self._asker.refused(action, self.name, said, remedy=remedy, hidden=self._hidden)


def _read(answer: http.client.HTTPResponse, ends_at: float, seconds: float) -> bytes:
    """All of it; one that has no end fills no memory, and one that trickles ends in time."""
    pieces: list[bytes] = []
    left = _BYTES_MAX
    while piece := answer.read1(min(_PIECE, left)):
        pieces.append(piece)
        left -= len(piece)
        if left <= 0:
            raise ValueError("its answer is too large")
        if time.monotonic() > ends_at:
            raise not_answered(seconds)
    if answer.length:
        raise ValueError("its answer was cut off")
    return b"".join(pieces)


def _read_refusal(error: urllib.error.HTTPError) -> str:
    """What the registry says; nothing if it is not the protocol's own word, but a gateway's."""
    try:
        told = parse_json(error.read(_PIECE))
    except (ValueError, OSError, http.client.HTTPException):
        return ""
    if not isinstance(told, dict) or type(told.get("error_code")) is not int:
        return ""
    message = told.get("message")
    said = message[:_TOLD_MAX] if isinstance(message, str) else ""
    return " ".join(said.split()).rstrip(".")
