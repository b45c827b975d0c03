"""Keys made from values, so that different values give different keys, all of them valid Unicode.

A text is its own key. Some texts can't be held by UTF-8, such as a file name of other bytes, and
others begin with `//`. Both are written as `//` and then the text itself. In it a backslash is
doubled, an undecodable byte becomes `\\xNN`, and any other lone surrogate `\\uNNNN`. Such a key
holds a backslash or begins with `////`. So none is ever `//line:17`, which stands for the key of an
item that has none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from batten.errors import UsageError
from batten.sources.paths import source_error

ESCAPED_PREFIX = "//"

_STAND_IN = re.compile(r"//[a-z]+:\d+(:\d+)?", re.ASCII)
_UNSAFE = re.compile("[\\\\\ud800-\udfff]")
_ESCAPE = re.compile(r"\\(?:(\\)|x([0-9a-f]{2})|u([0-9a-f]{4}))")


class NoKey(KeyError):
    """An item whose key cannot be told; the text says why."""

    def __str__(self) -> str:
        return str(self.args[0])


class SourceChanged(LookupError):
    """What lies where an item was planned is another item, or nothing: the source has changed
    since."""


def make_key(value: object) -> str:
    """The key for a value that names an item, a str or an int. Raises `NoKey` for any other."""
    if isinstance(value, str):
        if not value:
            raise NoKey("the key is empty")
        return escape_key(str.__str__(value))
    if isinstance(value, int) and not isinstance(value, bool):
        try:
            return int.__repr__(value)
        except ValueError as error:
            raise NoKey("the key is a number of too many digits") from error
    if value is None:
        raise NoKey("the key is None")
    raise NoKey(f"the key is of type {type(value).__name__}, neither str nor int")


def make_keys(values: Sequence[object]) -> list[str]:
    """The key for each value. Raises `NoKey` if one has none."""
    texts = [value for value in values if type(value) is str and value]
    if len(texts) == len(values):
        joined = "\n".join(texts)
        is_plain = not joined.startswith(ESCAPED_PREFIX) and f"\n{ESCAPED_PREFIX}" not in joined
        if is_plain and (joined.isascii() or _is_encodable(joined)):
            return texts
    return list(map(make_key, values))


def make_field_key(item: object, field: str) -> str:
    """The key in a field of a mapping. Raises `NoKey` if there is none."""
    # Asked first, since to ask for a Mapping takes longer than all the rest.
    if not isinstance(item, dict) and not isinstance(item, Mapping):
        raise NoKey(f"not an object with a field {field!r} but of type {type(item).__name__}")
    if field not in item:
        raise NoKey(f"the key's field {field!r} is missing")
    return make_key(item[field])


def require_field_name(key: object) -> str | None:
    """The name of the field that holds the key, or None. Raises `UsageError` for what is
    neither."""
    if key is None or (isinstance(key, str) and key):
        return key
    raise UsageError(
        f"key={key!r} is not the name of a field.",
        safe="Nothing was changed.",
        next="Give the name of the field that tells items apart, or leave key= out.",
    )


def require_columns(columns: Sequence[str] | None) -> list[str] | None:
    """The names of the columns that items have; None means all. Raises `UsageError`."""
    if columns is not None and (isinstance(columns, str) or not columns):
        raise source_error(
            f"columns={columns!r} is not a list of names.",
            "Give a list of the names of columns, or leave columns= out for all.",
        )
    return None if columns is None else list(columns)


def check_key(found: str, planned: str) -> None:
    """Raises `SourceChanged` unless the item that was found is the one that was planned."""
    if found != planned:
        raise SourceChanged(
            f"the item {planned!r} is not where it was when it was planned, {found!r} is: "
            "the source has changed since"
        )


def stand_in_key(place: str, number: int) -> str:
    """For an item without a key: `//line:17`."""
    return f"{ESCAPED_PREFIX}{place}:{number}"


def is_stand_in(key: str) -> bool:
    """Whether the key names only a place. Then it is of an item that has no key, and tells nothing
    of any item that has one."""
    return _STAND_IN.fullmatch(key) is not None


def escape_key(text: str) -> str:
    """The key for a text; see the module."""
    if not text.startswith(ESCAPED_PREFIX) and (text.isascii() or _is_encodable(text)):
        return text
    return ESCAPED_PREFIX + _UNSAFE.sub(_escape, text)


def unescape_key(key: str) -> str:
    """The text that `escape_key` made the key for."""
    if not key.startswith(ESCAPED_PREFIX):
        return key
    return _ESCAPE.sub(_unescape, key[len(ESCAPED_PREFIX) :])


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _escape(match: re.Match[str]) -> str:
    character = match[0]
    if character == "\\":
        return r"\\"
    code = ord(character)
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}"


def _unescape(match: re.Match[str]) -> str:
    backslash, byte, surrogate = match.groups()
    if backslash:
        return "\\"
    return chr(0xDC00 + int(byte, 16)) if byte else chr(int(surrogate, 16))
