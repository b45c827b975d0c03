"""Secrets in other forms than a name and a text: none of them is stored or shown."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Iterator
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any
from urllib.parse import quote, quote_plus

import pytest

from batten.model import patterns
from batten.model.telling import disguises, hiding
from batten.model.telling.disguises import take_out
from batten.model.telling.hiding import is_secret_part, is_secret_text, redact

Folder = Any
"""A `JobFolder` of tests/conftest.py."""

VALUE = "hunter2"

BEGINNINGS = {
    "pair": "USED = ('password', '{}')",
    "pair as a list": "USED = ['X-Api-Key', '{}']",
    "pairs": "USED = [('accept', 'json'), ('Authorization', '{}')]",
    "pairs of bytes": "USED = [(b'accept', b'json'), (b'x-api-key', b'{}')]",
    "number": "USED = ('pwd', int.from_bytes(b'{}', 'big'))",
    "header": "USED = 'Authorization: {}'",
    "headers": r"USED = 'Accept: json\r\nX-Api-Key: {}\r\n'",
    "headers in a list": "USED = ['Accept: json', 'Cookie: session={}']",
    "bytes": "USED = b'Authorization: {}'",
    "bytearray": "USED = {{'password': bytearray(b'{}')}}",
    "user in an address": "USED = 'https://me:{}@host.example/path'",
    "slash in a password": "USED = 'https://me:a/{}@host.example/path'",
    "query": "USED = 'https://host.example/path?page=2&api_key={}'",
    "signature": "USED = 'https://host.example/blob?sv=2&sig={}'",
    "settings": "USED = 'HOST=db\\nDB_PASSWORD={}'",
    "words of a command": "USED = ['tool', '--api-key', '{}', '--fast']",
    "word of a command": "USED = ['tool', '--api-key={}']",
    "environment": "USED = {{'PATH': '/bin', 'PGPASSWORD': '{}'}}",
    "environment as a list": "USED = ['PATH=/bin', 'PGPASSWORD={}']",
    "json": 'USED = \'{{{{"user": "me", "password": "{}"}}}}\'',
    "object of a header": "USED = [{{'name': 'X-Api-Key', 'value': '{}'}}]",
    "bytes as names": "USED = {{b'password': b'{}'}}",
    "deep": "USED = {{'auth': {{'basic': ('me', '{}')}}}}",
    "dataclass": """import dataclasses
    @dataclasses.dataclass
    class Login: user: str; password: str
    USED = Login('me', '{}')""",
    "pydantic": """import pydantic
    class Login(pydantic.BaseModel):
        user: str
        api_token: str
    USED = Login(user='me', api_token='{}')""",
    "says itself what is kept": """
    class Login:
        def __init__(self, password): self.password = password
        def __getstate__(self): return (self.password,)
        def __setstate__(self, state): self.password, = state
    USED = Login('{}')""",
    "private slot": """
    class Login:
        __slots__ = ('__password',)
        def __init__(self, value): self.__password = value
        def __reduce__(self): return (Login, (self.__password,))
    USED = Login('{}')""",
    "enum as a name": """import enum
    class Field(enum.Enum): LOGIN = 'password'
    USED = {{Field.LOGIN: '{}'}}""",
    "partial": """import functools
    def connect(user, password): return user
    USED = functools.partial(connect, 'me', '{}')""",
    "default": """
    def connect(user='me', password='{}'): return user
    USED = connect""",
    "captured": """
    def connect(api_key): return lambda number: len(api_key)
    USED = connect('{}')""",
    "captured by a method": """
    def connect(user, password):
        class Client:
            def ask(self): return password
        return Client().ask
    USED = connect('me', '{}')""",
    "set": "USED = {{('token', '{}')}}",
}


def _stored(job: Folder) -> bytes:
    files = [*(job.path / "out.batten").rglob("*"), *(job.path / "out").rglob("*")]
    return b"\n".join(path.read_bytes() for path in files if path.is_file())


def _shown(job: Folder) -> str:
    calls = [["diagnose", "out"], ["show", "out"], ["diagnose", "out", "--json"]]
    ended = [job.batten(*words) for words in calls]
    return "\n".join(each.out + each.err for each in ended)


@pytest.mark.parametrize("name", BEGINNINGS)
def test_it_is_compared_and_not_kept(job: Folder, name: str) -> None:
    job.write(f"""
    {BEGINNINGS[name].format(VALUE)}

    def ask(number):
        return {{"number": number, "length": len(str(USED)) * 0}}

    pipeline = batten.from_range(3).map(ask).write_parquet("out")
    """)
    assert job.run("--json").code == 0
    kept = _stored(job)
    # A number is told in decimal.
    for value in (VALUE, str(int.from_bytes(VALUE.encode(), "big"))):
        assert value.encode() not in kept
    assert b"hidden:" in kept
    assert job.run("--json").json["status"] == "nothing-to-do"
    text = (job.path / "job.py").read_text()
    (job.path / "job.py").write_text(text.replace(VALUE, "hunter3"))
    ended = job.run()
    assert ended.code == 5
    assert "hunter" not in ended.err + _shown(job)
    assert b"hunter" not in _stored(job)


@pytest.mark.parametrize(
    "text",
    [
        "('width', 5)",
        "('label', 'text')",
        "['prompt_tokens', 'count']",
        "('key', '')",
        "{'name': 'width', 'value': 'hunter2'}",
        "'Answer by one word: yes'",
        "'Find the key: value pairs'",
        "'data/key=abc/*.parquet'",
        "'https://host.example:8080/a@b'",
        "'max_tokens=512'",
        "'the token: a word'",
    ],
)
def test_what_is_none_is_told(text: str) -> None:
    assert not is_secret_part("constant job.USED", text)


def test_a_text_without_secrets_is_as_it_was() -> None:
    text = "  File 'job.py', line 3, in ask\n    client = Client(key=key, retries=5)\nKeyError: 'a'"
    assert redact(text) == text
    assert redact("GET https://h/v1?page=2&api_key=hunter2 gave 401") == (
        "GET https://h/v1?page=2&api_key=(hidden) gave 401"
    )
    assert redact("Authorization: Bearer hunter2x was refused") == (
        "Authorization: (hidden) was refused"
    )


# --- values of batten.Secret in texts of others -------------------------------------------------

LOGIN = 'me&you:hunter2/ß "x"+y'

WRITINGS = {
    "as it is": LOGIN,
    "upper case": LOGIN.upper(),
    "quoted": quote(LOGIN),
    "quoted as a whole": quote(LOGIN, safe=""),
    "quoted, small": quote(LOGIN, safe="").lower(),
    "quoted for a form": quote_plus(LOGIN),
    "json": json.dumps({"login": LOGIN}),
    "repr": repr(LOGIN),
    "repr of bytes": repr(LOGIN.encode()),
    "html": html.escape(LOGIN),
    "basic": base64.b64encode(LOGIN.encode()).decode(),
    "basic with a user": base64.b64encode(f"someone:{LOGIN}".encode()).decode(),
    "address-safe": base64.urlsafe_b64encode(LOGIN.encode()).decode().rstrip("="),
    "base 32": base64.b32encode(LOGIN.encode()).decode(),
    "base 85": base64.b85encode(LOGIN.encode()).decode(),
    "hexadecimal": LOGIN.encode().hex(),
    "a part": LOGIN.partition(":")[2],
    "cut short": LOGIN[:12] + "…",
    "its end": "***" + LOGIN[-12:],
}


@pytest.mark.parametrize("writing", WRITINGS)
def test_each_writing_of_a_value_is_taken_out(writing: str) -> None:
    told = take_out(f"401 for <{WRITINGS[writing]}> at 5", {LOGIN: "LOGIN"}, "[{}]".format)
    assert "hunter2" not in told.lower()
    assert WRITINGS[writing] not in told
    assert "[LOGIN]" in told
    assert told.startswith("401 for <")
    assert told.endswith("> at 5")


@pytest.mark.parametrize(
    ("value", "text", "told"),
    [
        (
            "postgresql://me:hunter2@db.example/base",
            "password 'hunter2' failed",
            "password '[S]' failed",
        ),
        (
            "postgresql://me:hun%2Fter2@db.example/base",
            "password hun/ter2 failed",
            "password [S] failed",
        ),
        (
            "postgresql://me:hunter2@db.example/base",
            "postgresql at db.example",
            "postgresql at db.example",
        ),
        ("host=db.example user=me password=hunter2", "hunter2 at db.example", "[S] at db.example"),
        (
            '{"type": "service", "private_key": "abc\\ndefghijkl"}',
            "service defghijkl",
            "service [S]",
        ),
        ("Bearer hunter2", "Bearer: hunter2", "Bearer: [S]"),
        ("https://h/hook?token=hunter2", "404 for token hunter2", "404 for token [S]"),
    ],
)
def test_of_a_value_of_parts_the_secret_ones_are_taken_out(
    value: str, text: str, told: str
) -> None:
    assert take_out(text, {value: "S"}, "[{}]".format) == told


def test_values_that_hold_each_other_are_told_by_the_longer() -> None:
    values = {"hunter2": "SHORT", "hunter2-and-more": "LONG"}
    told = take_out("a hunter2-and-more, a hunter2.", values, "[{}]".format)
    assert told == "a [LONG], a [SHORT]."
    assert take_out("İhunter2", values, "[{}]".format) == "İ[SHORT]"


def test_nothing_of_a_secret_is_stored_by_runs_that_fail(job: Folder) -> None:
    job.write("""
        import base64, os, urllib.parse

        SECRET = batten.Secret("SHOP_LOGIN")
        WAYS = [
            lambda value: value,
            lambda value: value.upper(),
            lambda value: urllib.parse.quote(value, safe=""),
            lambda value: base64.b64encode(f"me:{value}".encode()).decode(),
            lambda value: value.split(":")[1],
            lambda value: repr({"Authorization": value.encode()}),
            lambda value: f"https://me:{value}@host/",
        ]

        def ask(number):
            text = WAYS[number % len(WAYS)](SECRET())
            try:
                raise KeyError(text)
            except KeyError as error:
                error.add_note(text)
                if os.environ.get("AT_ONCE") == "1":
                    raise batten.FailedRunError(text, safe=text, next=text)
                raise ValueError(text) from error

        pipeline = (batten.from_items([{"id": n} for n in range(14)], key="id")
            .map(lambda item: ask(item["id"]))
            .options(stop_when=None, on_error=os.environ["ON_ERROR"]).write_parquet("out"))
    """)
    login = "first-half+x:second-half/y"
    for on_error, at_once, code in (("quarantine", "0", 3), ("raise", "0", 1), ("raise", "1", 1)):
        ended = job.run(
            *(["--fresh"] if on_error == "raise" else []),
            SHOP_LOGIN=login,
            ON_ERROR=on_error,
            AT_ONCE=at_once,
        )
        assert ended.code == code, ended.err
        told = (ended.out + ended.err + _shown(job)).lower().encode() + _stored(job).lower()
        for part in ("first-half", "second-half", base64.b64encode(b"me:first-ha").decode()[:14]):
            assert part.lower().encode() not in told, (on_error, at_once)
    assert "Secret('SHOP_LOGIN')" in ended.err


def test_other_secrets_in_errors_are_hidden_by_their_form(job: Folder) -> None:
    job.write("""
        def ask(number):
            raise ValueError(f"429 for https://me:hunter2@host/v1?api_key=hunter2 Bearer hunter2x")

        pipeline = batten.from_range(2).map(ask).write_parquet("out")
    """)
    ended = job.run()
    error, _ = job.quarantined()["0"]
    assert "429" in error
    assert b"hunter2" not in _stored(job)
    assert "hunter2" not in ended.err + _shown(job)


# --- what is told of a parameter ----------------------------------------------------------------


@pytest.mark.parametrize("words", [[], ["--param", "api_key=hunter2"], ["--param", "day=1"]])
def test_the_example_names_a_variable(job: Folder, words: list[str]) -> None:
    job.write("""
        def pipeline(api_key: batten.Secret, day: int):
            return batten.from_range(2).map(lambda n: {"n": n}).write_parquet("out")
    """)
    ended = job.run(*words)
    assert ended.code == 2
    assert "--param api_key=API_KEY" in ended.told[-1]
    assert "hidden" not in ended.err
    assert "hunter" not in ended.err
    ended = job.run("--param", "api_key=SHOP_LOGIN", SHOP_LOGIN="x")
    assert "--param api_key=SHOP_LOGIN" in ended.told[-1]


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: abcdef",
        "X-Api-Key:abcdef",
        "https://h/?access_token=abcdef",
        "https://h/?a=b&client_secret=abcdef",
        "https://h/%3Fapi_key%3Dabcdef",
        "https://0123456789abcdef0123@sentry.example/1",
        "error: api_key=abcdef was refused",
        "PASSWORD=abc",
        'password="abc def"',
        '{"password":"abcdef"}',
        "Set-Cookie: id=abcdef",
    ],
)
def test_forms_of_named_values_are_known(text: str) -> None:
    assert is_secret_text(text)
    assert "abc" not in redact(text).replace("abc def", "abc")


NAMES = ["['token', 'label']", "('token', 'label')", "{'columns': ['token', 'label']}"]
PAIRS = ["[['token', 'letmein']]", "{('token', 'letmein')}", "('password', 'hunter2')"]
PAIRS += ["[('accept', 'json'), ('token', 'letmein')]", "('pwd', 5)", "['key', b'a b!']"]


@pytest.mark.parametrize("text", [*NAMES, *PAIRS])
def test_two_names_are_no_pair_of_a_name_and_a_value(text: str) -> None:
    assert is_secret_part("constant job.USED", text) is (text in PAIRS)


SIZE = 200_000
SHAPES = [
    *(
        "a.",
        "aa=",
        "token=",
        "token: ",
        "key=a&",
        "eyJ-",
        "eyJaaaaaaaa.",
        "a://",
        "a://b:c/",
        "a+b://c",
    ),
    *("SG.aaaaaaaaaa", "Bearer ", "-----BEGIN A", "('token', '", '("token", \'', "('aa', 1", "[("),
    *("'token': ", "Secret('a", "\\\\", "password=", "aA0", "é", "hunter", " "),
]


@pytest.mark.parametrize("shape", SHAPES)
def test_long_texts_of_any_shape_are_read_in_a_moment(shape: str) -> None:
    """None of these would end within an hour, were it looked at anew from each of its places."""
    text = (shape * SIZE)[:SIZE] + "@"
    is_secret_text(text)
    is_secret_part("constant job.USED", text)
    redact(text)
    take_out(text, {"hunter2 of the shop": "SHOP_LOGIN"}, str)


GUARDED = frozenset({"_LONG_WORD"})
"""It begins only where no character of its own comes before."""


def list_patterns() -> Iterator[tuple[str, str, int]]:
    for module in (hiding, disguises):
        for name, value in vars(module).items():
            if isinstance(value, patterns._Pattern) and name not in GUARDED:
                yield name, value.pattern, value._flags


@pytest.mark.parametrize(("name", "text", "flags"), [*list_patterns()])
def test_nothing_of_any_length_has_to_be_followed(name: str, text: str, flags: int) -> None:
    """What is repeated without end is the last of a pattern, so no place is looked at twice."""
    assert find_open(list(parser.parse(text, flags)), is_last=True) == []


def find_open(items: list[Any], *, is_last: bool) -> list[Any]:
    """The repetitions without end after which something must come."""
    found = []
    for place, (kind, within) in enumerate(items):
        is_end = is_last and not any(_is_needed(each) for each in items[place + 1 :])
        if kind in (parser.MAX_REPEAT, parser.MIN_REPEAT):
            _, most, inner = within
            if most is parser.MAXREPEAT and not is_end:
                found.append(within)
            found += find_open(list(inner), is_last=is_end)
        elif kind is parser.SUBPATTERN:
            found += find_open(list(within[-1]), is_last=is_end)
        elif kind is parser.BRANCH:
            for branch in within[1]:
                found += find_open(list(branch), is_last=is_end)
        elif kind in (parser.ASSERT, parser.ASSERT_NOT):
            found += find_open(list(within[1]), is_last=False)
    return found


def _is_needed(item: tuple[Any, Any]) -> bool:
    kind, within = item
    return not (kind in (parser.MAX_REPEAT, parser.MIN_REPEAT) and within[0] == 0)
