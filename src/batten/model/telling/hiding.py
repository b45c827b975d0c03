"""What looks like a secret, and what is kept of it: a short digest, from which nobody can tell it.

By its name (`API_KEY`, `openaiToken`, `X-Api-Key`), or by its form (`sk-…`, a JWT, an address with
a password). Where it is not sure, it is taken for one: then a message says only that it changed
(decision 0043).
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from math import log2

from batten.model.patterns import pattern

HIDDEN_PREFIX = "hidden:"
PLACEHOLDER = "(hidden)"
"""Stands for a secret in commands and messages; no job takes it for a value."""

_DIGEST_CHARACTERS = 6
_ROUNDS = 100_000
"""Trying a password takes a thirtieth of a second; and of ten million, one fits by chance."""

_PIECES = pattern(r"[A-Z]{1,100}(?![a-z])|[A-Z]?[a-z]+|\d+")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_ALWAYS = _words(
    """apikey apikeys authorization connstr cookie cookies credential credentials dsn passcode
    passphrase passwd password passwords privatekey proxyauthorization pwd secret secrets
    sessionid"""
)
_ENDINGS = ("password", "passwd", "passphrase", "apikey", "accesskey", "secretkey", "token")
_PAIRS = _words(
    """access-key account-key api-key auth-key encryption-key master-key private-key secret-key
    service-key shared-key signing-key subscription-key access-token api-token auth-token
    bearer-token id-token refresh-token session-token connection-string conn-string conn-str
    session-id"""
)
_LAST = _words("auth bearer creds jwt key keys pass passwd pw token tokens")
"""Words that tell of a secret where they end the name."""

_HARMLESS_BEFORE = _words(
    """answer array batch bos business by bypass cache cls column columns composite cp dedupe dict
    distinct end eos field fields first foreign group hash id image index input item join json label
    lookup map mask max merge min n natural new num object order output pad partition per pivot
    primary prompt public range record reserved response row s3 second sep shard single sort special
    start stop surrogate text top total unique unk vocab"""
)
_TRAILING = _words(
    """1 2 3 4 a b bytes current default dev e2e live local main new old prod production qa raw real
    sandbox stage staging str string test text v1 v2 value values var"""
)
"""Words at the end of a name that say which secret it is. They don't make it anything else."""

_DESCRIPTIONS = _words(
    """arn column columns count dir enabled endpoint env environment expiry field fields file
    filename folder format id ids index kind length limit location manager max min mode model name
    names optional path pattern policy position prefix provider regex required seconds size source
    store suffix ttl type types uri url usage variable version"""
)
"""Words at the end that say what the value tells about a secret."""

_MAY_BE_NAMED = pattern(
    r"key|token|secret|pass|pwd|pw\b|auth|cred|cookie|dsn|conn|jwt|bearer|session", re.IGNORECASE
)

_FORMS = pattern(
    r"""
    \b(?:sk|rk|pk)[-_][A-Za-z0-9_-]{12,}            # OpenAI, Anthropic, Stripe
    | \bgh[opusr]_[A-Za-z0-9]{16,} | \bgithub_pat_\w{16,} | \bgl[a-z]{2,4}-[\w-]{16,}
    | \b(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{12,99}\b      # Amazon
    | \bAIza[\w-]{20,} | \bya29\.[\w-]{10,}         # Google
    | \bxox[a-z]-[\w-]{8,} | \bxapp-[\w-]{8,} | hooks\.slack\.com/services/\w
    | \bhf_[A-Za-z0-9]{16,} | \br8_[A-Za-z0-9]{16,} | \bgsk_\w{16,} | \bxai-[\w-]{16,}
    | \bnpm_\w{20,} | \bpypi-[\w-]{16,} | \bSG\.[\w-]{10,99}\.[\w-]{10,} | \bdop_v1_\w{16,}
    | \bshp[a-z]{2}_\w{16,} | \bEAAC\w{20,} | \blin_api_\w{16,} | \bntn_\w{20,}
    | \bdapi[0-9a-f]{30,}
    | \beyJ[\w-]{8,1000}\.[\w-]{4,10000}\.[\w-]*   # a JSON web token
    | \b(?:Bearer|bearer|BEARER)\s{1,9}[^\s'"]{6,} | \b(?:Basic|basic)\s{1,9}[A-Za-z0-9+/=]{8,}
    | \b[A-Za-z][A-Za-z0-9+.-]{0,30}://[^\s/?#'"@:]{0,200}:(?!\d{1,9}[/?#])[^\s'"@]{1,1000}@
    | \b[A-Za-z][A-Za-z0-9+.-]{0,30}://[A-Za-z0-9_-]{16,1000}@    # a token in the place of the user
    | -----BEGIN\ [A-Z ]{0,40}(?:PRIVATE\ KEY|CERTIFICATE) | AGE-SECRET-KEY-1
    | (?<![A-Za-z0-9])(?:password|passwd|pwd|accountkey|sharedaccesskey|sharedaccesssignature
        |api[-_]?key|access[-_]?token|client[-_]?secret|secret[-_]?key|auth[-_]?token|x-amz-signature
        |PASSWORD|Password|PWD|Pwd|AccountKey|SharedAccessKey|SharedAccessSignature|API[-_]?KEY
        |X-Amz-Signature|ACCESS_TOKEN|CLIENT_SECRET|SECRET_KEY|AUTH_TOKEN|sig|token)
      \s?=\s?[^\s'"&;,={}()]{3,}
    """,
    re.VERBOSE,
)
_NAMED = pattern(
    r"""(?:(?<=\\[nrt])|(?<=%3[Ff])|(?<=%26)|(?<![A-Za-z0-9/_.$\[-]))([A-Za-z_][A-Za-z0-9_.-]{1,60})
        (\\?["']?\s?(?:[=:]|%3[AaDd])\s?\\?["']?)(?=[^\s'"&;,(){}\[\]<>\\]{3})""",
    re.VERBOSE,
)
"""A name before a value in a text: a header, a query of an address, a line of settings."""
_NAMED_VALUE = pattern(r"""([^\s'"&;,(){}\[\]<>\\]{3,})(?:\ [^\s'"&;,]+)?""")
_LOOKED_AT = 200
"""So much of a value tells whether it seems to be drawn."""

_HEADER_SCHEMES = ("bearer", "basic", "token", "digest", "apikey", "negotiate")
_LONG_WORD = pattern(r"(?<![\w+/=.-])[A-Za-z0-9+/_=-]{24,}(?![\w+/=.-])")
_ENTROPY_MIN = {True: 3.0, False: 3.7}
"""In bits a character: of hexadecimal words, of others."""

_SECRET_TEXT = pattern(r"(?:batten\.)?Secret\('(\w{1,200})'\)")
_LITERAL = pattern(r"'[^']|\"[^\"]|(?<![\w.'\"])\d")
_PAIR = pattern(
    r"""(?:'([^'\\\n]{2,60})'|"([^"\\\n]{2,60})"):\s(?=b?['"]\S|\d|\[|\(|\{|frozenset|set)"""
)
_PAIR_OF_TWO = pattern(
    r"""[(\[]b?(?:'([^'\\\n]{2,60})'|"([^"\\\n]{2,60})"),\s
        (?=[\[({]|(?:b?'((?:[^'\\]|\\.){1,9999})'|b?"((?:[^"\\]|\\.){1,9999})"
            |\d[^'",()\[\]{}]{0,9999})[)\]])""",
    re.VERBOSE | re.DOTALL,
)
"""`('password', 'value')` as `_PAIR` is `'password': 'value'`."""
_AMONG_PAIRS = pattern(r"[(\[{]\Z|[)\]],\s\Z")
_NO_NAME = pattern(r"[^A-Za-z_. -]")
_NOTHING_FOLLOWS = pattern(r"""b?(?:''|"")|\[\]|\(\)|\{\}""")


@lru_cache(maxsize=4096)
def is_secret_name(name: str) -> bool:
    """Whether a value of this name is likely a secret: by the words that it is made of."""
    if len(name) > 100 or not _MAY_BE_NAMED.search(name):
        return False
    words = [word.lower() for word in _PIECES.findall(name)]
    if not words or (words[-1] in _DESCRIPTIONS and "-".join(words[-2:]) not in _PAIRS):
        return False
    pairs = {f"{first}-{second}" for first, second in pairwise(words)}
    if _ALWAYS.intersection(words) or pairs & _PAIRS:
        return True
    while len(words) > 1 and words[-1] in _TRAILING:
        words.pop()
    last, before = words[-1], words[-2] if len(words) > 1 else ""
    if before in _HARMLESS_BEFORE or (last == "keys" and not before):
        return False
    return last in _LAST or last.endswith(_ENDINGS)


def is_secret_text(text: str) -> bool:
    """Whether something in the text has the form of a key, a token, or an address with a password,
    or a long word in it seems to be drawn by chance."""
    if len(text) < 8:
        return False
    if _FORMS.search(text) or next(_find_named(text), None):
        return True
    return any(_is_random(word) for word in _LONG_WORD.findall(text))


def _is_random(word: str) -> bool:
    letters = word.replace("-", "")
    has_upper, has_lower = letters.lower() != letters, letters.upper() != letters
    if sum(map(str.isdigit, word)) < 3 or not (has_upper or has_lower):
        return False
    if "/" in word and not (has_upper and has_lower):
        return False
    counts = Counter(letters)
    entropy = -sum(n / len(letters) * log2(n / len(letters)) for n in counts.values())
    is_hexadecimal = not set(letters.lower()) - set("0123456789abcdef")
    # Names of models and files are made of words; what is drawn by chance is not.
    if not is_hexadecimal and max(map(len, re.findall(r"[a-z]+|[A-Z]+", word))) > 6:
        return False
    return entropy >= _ENTROPY_MIN[is_hexadecimal]


def _find_named(text: str) -> Iterator[re.Match[str]]:
    """The values in it that have names of secrets. The value of another name may itself have a
    name: `error: token=…`."""
    found = _NAMED.search(text)
    while found is not None:
        end = found.end()
        if _tells_secret(found) and (value := _NAMED_VALUE.match(text, end)) is not None:
            yield value
            end = value.end()
        found = _NAMED.search(text, end)


def _tells_secret(found: re.Match[str]) -> bool:
    """Whether a name in a text is that of a secret. A word of prose may end with a colon, too:
    where the name is one common word, the value has to look drawn."""
    name = found[1].rstrip(".-")
    if not is_secret_name(name):
        return False
    if name.lower() not in _LAST:
        return True
    value = _NAMED_VALUE.match(found.string, found.end(), found.end() + _LOOKED_AT)
    return value is not None and len(value[0]) >= 6 and any(map(str.isdigit, value[0]))


def redact(text: str) -> str:
    """The text without what has the form of a secret."""
    told, end = [], 0
    for found in _find_named(text):
        is_whole = found[1].lower() in _HEADER_SCHEMES
        told += [text[end : found.start()], PLACEHOLDER]
        end = found.end() if is_whole else found.end(1)
    return _FORMS.sub(PLACEHOLDER, "".join([*told, text[end:]]))


def is_secret(name: str, text: str) -> bool:
    """Whether a value of that name is to be hidden; `text` is how it is described or written."""
    text = _SECRET_TEXT.sub("", text)
    if not text or text in ("none", "None", "true", "false", "True", "False", PLACEHOLDER):
        return False
    return is_secret_name(name) or is_secret_text(text)


def is_secret_part(part: str, text: str) -> bool:
    """The same for a part of a fingerprint, "constant job.API_KEY", and the description of its
    value: in a nesting, each value counts by the name that it has there."""
    if text.startswith((HIDDEN_PREFIX, "sha256:")):
        return False
    text = _SECRET_TEXT.sub("", text)
    if is_secret_text(text):
        return True
    name = re.split(r"[.: ]", part.partition(" (step ")[0])[-1]
    if part.startswith("parameter "):
        return is_secret(name, text)
    if part.startswith(_VALUES) and is_secret_name(name):
        return bool(_LITERAL.search(text))
    return any(
        is_secret_name(found[1] or found[2])
        and not _NOTHING_FOLLOWS.match(text, found.end())
        and (pairs is _PAIR or _is_of_pairs(found))
        for pairs in (_PAIR, _PAIR_OF_TWO)
        for found in pairs.finditer(text)
    )


def _is_of_pairs(found: re.Match[str]) -> bool:
    """Two texts in brackets may be two names, of columns for instance, unless they lie among
    others (headers, parameters), or the second is no name."""
    second = found[3] or found[4]
    before = found.string[max(0, found.start() - 3) : found.start()]
    return not second or bool(_AMONG_PAIRS.search(before) or _NO_NAME.search(second))


_VALUES = ("constant ", "captured value of ", "default of ", "value of ")
"""How the parts of a fingerprint begin that tell a value by its name."""


def read_secret_name(text: str) -> str:
    """The variable that a parameter names as its secret, or an empty text."""
    found = _SECRET_TEXT.fullmatch(text)
    return found[1] if found else ""


@lru_cache(maxsize=4096)
def hide(name: str, text: str) -> str:
    """What is kept of a secret, the same in every run: a short part of a slow digest. `name` sets
    equal values of different names apart."""
    if text.startswith(HIDDEN_PREFIX):
        return text
    data = text.encode("utf-8", "surrogatepass")
    salt = b"batten " + name.encode("utf-8", "surrogatepass")
    digest = hashlib.pbkdf2_hmac("sha256", data, salt, _ROUNDS).hex()
    return HIDDEN_PREFIX + digest[:_DIGEST_CHARACTERS]


def show_parameter(name: str, text: str) -> str:
    """A parameter's value for messages and commands."""
    return PLACEHOLDER if is_secret(name, text) or text.startswith(HIDDEN_PREFIX) else text


def hide_words(words: Sequence[str]) -> list[str]:
    """The words of a command without what looks like a secret: `--param NAME=VALUE` above all."""
    return [
        _hide_word(word, words[number - 1] if number else "") for number, word in enumerate(words)
    ]


def _hide_word(word: str, before: str) -> str:
    name, equals, value = word.partition("=")
    if equals and name == "--param":
        return f"--param={_hide_word(value, '--param')}"
    if equals:
        return f"{name}={show_parameter(name.lstrip('-'), value)}"
    if before.startswith("--") and "=" not in before and is_secret_name(before):
        return PLACEHOLDER
    return PLACEHOLDER if is_secret_text(word) else word
