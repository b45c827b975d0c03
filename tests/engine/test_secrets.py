"""Secrets: `batten.Secret` is read and never kept; what looks like one is kept as a digest, and
neither shown nor stored."""

from __future__ import annotations

import copy
import functools
import os
import pickle
from pathlib import Path
from typing import Any

import pytest

import batten
from batten.fingerprint.secret import blot
from batten.model.telling.hiding import is_secret_name, is_secret_part, is_secret_text
from batten.run.identity import identify_pipeline

Folder = Any
"""A `JobFolder` of tests/conftest.py."""

JOB = """
    import os
    {beginning}

    def ask(number):
        return {{"number": number, "length": len(str({used}))}}

    def pipeline(day: str = "monday"{parameter}):
        return batten.from_range(3).map(ask).options(batch_size=2).write_parquet("out")
"""


def write(job: Folder, beginning: str, used: str, parameter: str = "") -> None:
    job.write(JOB.format(beginning=beginning, used=used, parameter=parameter))


def stored(job: Folder) -> bytes:
    folder = job.path / "out.batten"
    files = [*folder.rglob("*"), *(job.path / "out").rglob("*")]
    return b"\n".join(path.read_bytes() for path in files if path.is_file())


def everything_shown(job: Folder) -> str:
    texts = []
    for words in (["diagnose", "out"], ["show", "out"], ["diagnose", "out", "--json"]):
        ended = job.batten(*words)
        texts.append(ended.out + ended.err)
    ended = job.batten("show", "out", "--json")
    return "\n".join([*texts, ended.out])


# --- batten.Secret -------------------------------------------------------------------------------


def test_a_rotated_secret_does_not_refuse_a_run(job: Folder) -> None:
    write(job, 'SECRET = batten.Secret("SHOP_LOGIN")', "SECRET()")
    assert job.run("--limit", "2", SHOP_LOGIN="first-qzvkx").code == 0
    ended = job.run("--json", SHOP_LOGIN="second-qzvkx-is-longer")
    assert (ended.code, ended.json["executed_items"]) == (0, 1)
    assert [row["length"] for row in job.rows()] == [11, 11, 22]
    assert b"qzvkx" not in stored(job)
    assert b"batten.Secret('SHOP_LOGIN')" in stored(job)


@pytest.mark.parametrize("content", [None, ""])
def test_a_secret_that_is_not_there_is_told_before_anything_is_written(
    job: Folder, content: str | None
) -> None:
    write(job, 'SECRET = batten.Secret("SHOP_LOGIN")', "SECRET()")
    ended = job.run(**({} if content is None else {"SHOP_LOGIN": content}))
    problem = "is not set" if content is None else "is empty"
    assert ended.code == 2
    assert ended.told[0].startswith(f"The environment variable SHOP_LOGIN {problem}")
    assert set(os.listdir(job.path)) <= {"job.py", "__pycache__"}


def test_a_secret_is_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_LOGIN", "hunter2")
    secret = batten.Secret("SHOP_LOGIN")
    for made in (pickle.loads(pickle.dumps(secret)), copy.deepcopy(secret), secret):
        assert (repr(made), str(made), made(), made) == (
            *("Secret('SHOP_LOGIN')",) * 2,
            "hunter2",
            batten.Secret("SHOP_LOGIN"),
        )
    assert b"hunter2" not in pickle.dumps(secret)
    assert {secret: 1}[batten.Secret("SHOP_LOGIN")] == 1
    assert secret != batten.Secret("OTHER")
    assert blot("a: hunter2!") == "a: Secret('SHOP_LOGIN')!"


@pytest.mark.parametrize("name", ["ghp_0123456789abcdefghij0123", "hunter 2", "", "a-b", 5])
def test_a_value_is_not_taken_for_a_name_nor_shown(name: Any) -> None:
    with pytest.raises(batten.UsageError) as caught:
        batten.Secret(name)
    assert not name or str(name) not in str(caught.value)


def test_a_parameter_names_the_variable(job: Folder) -> None:
    job.write("""
        def pipeline(api_key: batten.Secret):
            def ask(number):
                return {"length": len(api_key())}
            return batten.from_range(2).map(ask).write_parquet("out")
    """)
    ended = job.run("--json", "--param", "api_key=SHOP_LOGIN", SHOP_LOGIN="hunter2")
    assert (ended.code, job.rows()[0]["length"]) == (0, 7)
    assert b"hunter2" not in stored(job)
    ended = job.run("--json", "--param", "api_key=SHOP_LOGIN", SHOP_LOGIN="hunter3")
    assert ended.json["status"] == "nothing-to-do"
    assert job.batten("diagnose", "out", "--json").json["parameters"] == {
        "api_key": "Secret('SHOP_LOGIN')"
    }
    ended = job.run("--param", "api_key=OTHER_LOGIN", OTHER_LOGIN="hunter2")
    assert "Secret('SHOP_LOGIN') → Secret('OTHER_LOGIN')" in ended.told[0]


@pytest.mark.parametrize("value", ["hunter2", "sk-abcdefghijklmnop1234", "two words"])
def test_a_value_given_for_a_name_is_refused_and_not_shown(job: Folder, value: str) -> None:
    job.write("""
        def pipeline(login: batten.Secret):
            return batten.from_range(2).map(login).write_parquet("out")
    """)
    ended = job.run("--param", f"login={value}")
    assert (ended.code, "login is not the name of an environment" in ended.told[0]) == (2, True)
    assert value not in ended.err


def test_errors_of_items_tell_names_of_secrets(job: Folder) -> None:
    job.write("""
        SECRET = batten.Secret("SHOP_LOGIN")

        def ask(number):
            if number == 1:
                raise ValueError(f"401 for {SECRET()}")
            return {"number": number}

        pipeline = batten.from_range(3).map(ask).write_parquet("out")
    """)
    assert job.run(SHOP_LOGIN="hunter2-hunter2").code == 3
    error, _ = job.quarantined()["1"]
    assert error == "ValueError: 401 for Secret('SHOP_LOGIN')"
    assert b"hunter2" not in stored(job)
    assert "hunter2" not in everything_shown(job)


# --- what looks like one -------------------------------------------------------------------------

NAMED_TUPLE = """from collections import namedtuple
    N = namedtuple('N', 'user password')('me', '{}')"""
SLOTS = """import dataclasses
    @dataclasses.dataclass(frozen=True, slots=True)
    class C: db_password: str = ''
    C_ = C('{}')"""
KEPT = [
    ("API_KEY = '{}'", "API_KEY"),
    ("HEADERS = {{'X-Api-Key': '{}', 'Accept': 'json'}}", "HEADERS"),
    ("AUTH = ('me', 'Bearer {}')", "AUTH"),
    ("A = [{{'deep': [{{'password': b'{}'}}]}}]", "A"),
    ("from functools import partial\n    F = partial(dict, token='{}')", "F"),
    ("class Client: api_key = '{}'", "Client.api_key"),
    ("ADDRESS = 'postgresql://me:{}@db.example/base'", "ADDRESS"),
    (NAMED_TUPLE, "N"),
    (SLOTS, "C_"),
]


@pytest.mark.parametrize(("beginning", "used"), KEPT, ids=[each[1] for each in KEPT])
def test_a_value_that_looks_like_a_secret_is_compared_and_not_kept(
    job: Folder, beginning: str, used: str
) -> None:
    write(job, beginning.format("hunter2"), used)
    assert job.run("--json").code == 0
    assert job.run("--json").json["status"] == "nothing-to-do"
    assert b"hunter2" not in stored(job)
    write(job, beginning.format("hunter3"), used)
    ended = job.run()
    assert (ended.code, " changed" in ended.told[0]) == (5, True)
    assert "hunter" not in ended.err + everything_shown(job)
    assert b"hunter" not in stored(job)


@pytest.mark.parametrize("value", ["hunter2", "another-value"])
def test_a_parameter_that_looks_like_a_secret(job: Folder, value: str) -> None:
    write(job, "", "number", ", api_key: str = 'hunter1'")
    assert job.run("--param", "api_key=hunter2", "--limit", "2").code == 0
    ended = job.run("--json", "--param", f"api_key={value}")
    assert ended.code == (0 if value == "hunter2" else 5)
    assert "hunter" not in ended.err + ended.out + everything_shown(job)
    assert b"hunter" not in stored(job)
    told = job.batten("diagnose", "out", "--json").json
    assert told["parameters"]["api_key"] == "(hidden)"


def test_what_stands_for_a_hidden_value_is_refused(job: Folder) -> None:
    write(job, "", "number", ", api_key: str = ''")
    ended = job.run("--param", "api_key=(hidden)")
    assert (ended.code, os.path.exists(job.path / "out")) == (2, False)
    assert "stands for a value that is not kept" in ended.told[0]


@pytest.mark.parametrize("words", [["--param", "api_key=hunter2"], ["--param", "oops=x"]])
def test_wrong_parameters_are_told_without_secrets(job: Folder, words: list[str]) -> None:
    write(job, "", "number", ", api_key: int = 5, password: str = 'hunter4'")
    ended = job.run(*words)
    assert (ended.code, "hunter" in ended.err) == (2, False)


def test_a_secret_is_no_part_of_a_name(job: Folder) -> None:
    job.write("""
        def pipeline(api_key: str):
            return batten.from_range(3).map(dict).write_parquet("out_{api_key}")
    """)
    ended = job.run("--param", "api_key=hunter2")
    assert (ended.code, "hunter2" in ended.err) == (2, False)
    assert "looks like a secret" in ended.told[0]


def test_representations_show_no_secrets() -> None:
    partial = functools.partial(print, api_key="hunter2")
    pipeline = (
        batten.from_range(3)
        .map(partial)
        .write_parquet("out")
        .write_postgres("postgresql://me:hunter2@db.example/base", "items")
        .write_iceberg("a.b", catalog={"uri": "postgresql://me:hunter2@h/b", "token": "hunter2"})
        .finalize(functools.partial(print, password="hunter2"), into="final")
    )
    assert "hunter2" not in repr(pipeline)
    assert "hunter2" not in repr(pipeline.sinks) + repr(pipeline.steps) + str(pipeline.finalizers)
    identity = identify_pipeline(pipeline, {"api_key": "hunter2"})
    assert "hunter2" not in repr(identity)


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://me:hunter2@127.0.0.1:1/base",
        "postgresql//me:hunter2@127.0.0.1/base",
        "postgresql://me:hun/ter2@127.0.0.1:1/base",
        "host=127.0.0.1 port=1 user=me password=hunter2 dbname",
        "host=127.0.0.1 port=1 password='hunter2' nonsense=1",
    ],
)
def test_a_server_that_fails_is_told_without_its_password(tmp_path: Path, address: str) -> None:
    pipeline = batten.from_range(1).map(number).write_parquet(tmp_path / "out")
    with pytest.raises(batten.BattenError) as caught:
        pipeline.write_postgres(address, "items").run(executor="serial")
    assert not [each for each in ("hunter2", "ter2") if each in str(caught.value)]
    texts = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert not [text for text in texts if b"ter2" in text]


def number(item: int) -> dict[str, int]:
    return {"number": item}


NAMES = """api_key API_KEY openaiKey X-Api-Key OPENAI_API_KEY password dbPassword PGPASSWORD pwd
    token github_token auth Authorization credentials Cookie access_key AWS_SECRET_ACCESS_KEY
    private_key DB_DSN connectionString client_secret apikey authToken api_key_prod PASSWORD_DB key
    hf_token sessionId DB_PASS API_KEY2 TOKENS"""
OTHER_NAMES = """key_column sort_keys keyboard tokens_max max_tokens tokenizer monkey eos_token
    primary_key token_count passenger author secretary cookie_policy password_file token_url
    api_key_env public_key stop_tokens first_pass key_field keys connection passage keywords"""


def test_names_of_secrets_are_known() -> None:
    assert [name for name in NAMES.split() if not is_secret_name(name)] == []
    assert [name for name in OTHER_NAMES.split() if is_secret_name(name)] == []


@pytest.mark.parametrize(
    "text",
    [
        "sk-proj-abcdefghijklmno1234",
        "ghp_abcdefghij1234567890ABCDEFGHIJ123456",
        "AKIAIOSFODNN7EXAMPLE",
        "xoxb-1234-5678-abcdef",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc-def_123",
        "Bearer abcdefgh",
        "redis://:pw12@host:6379/0",
        "-----BEGIN RSA PRIVATE KEY-----",
        "8f14e45fceea167a5a36dedd4bea2543",
        "host=db user=me password=hunter2",
        "https://example.com/a?api_key=abc123",
        "550e8400-e29b-41d4-a716-446655440000",
    ],
)
def test_forms_of_secrets_are_known(text: str) -> None:
    assert is_secret_text(f"before {text} after")


@pytest.mark.parametrize(
    "text",
    [
        "https://example.com/a/b?c=d",
        "postgresql://me@db/base",
        "clips/**/*.mp4",
        "meta-llama/Llama-3.1-8B-Instruct-long-name-here",
        "data/2026-01-01/part-000001.parquet.gz.backup",
        "2026-04-24T00:00:00+00:00",
        "text-embedding-3-large-2024-01-25",
    ],
)
def test_other_texts_are_shown(text: str) -> None:
    assert not is_secret_text(text)


def test_what_holds_no_value_is_shown() -> None:
    for text in ("None", "''", "True", "function os.getenv", "batten.Secret('A')", "hidden:012345"):
        assert not is_secret_part("constant job.API_KEY", text)
    assert not is_secret_part("constant job.A", "{'api_key': batten.Secret('A'), 'token': None}")
