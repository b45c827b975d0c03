"""The command that runs a job again is made from checked fields, for the folder it is read in."""

from __future__ import annotations

import shlex
from dataclasses import replace
from typing import Any

import pytest

from batten.cli.main import make_parser
from batten.model.disk.bounds import Damaged, build
from batten.model.disk.runs.job_calls import (
    BATTEN,
    MODULE,
    SCRIPT,
    SESSION,
    UNKNOWN_CALL,
    JobCall,
    compose,
    read_old_command,
)

CALL = JobCall(
    kind=BATTEN,
    folder="/srv/proj",
    file="/srv/proj/jobs/re port.py",
    name="daily",
    digest="0" * 64,
    output="/srv/proj/out",
    is_relative=True,
    has_arguments=False,
    parameters={"run_date": "2026-04-24", "text": "-a 'b' \n=c"},
    options={"jobs": "4", "memory-max": "2 GB", "drain-seconds": "0.5"},
)


def test_the_command_parses_to_what_was_given() -> None:
    line = compose(replace(CALL, parameters={"a": "-x=1"}), here=CALL.folder)
    arguments = make_parser("run").parse_args(shlex.split(line)[2:])
    assert (arguments.job, arguments.jobs) == ("jobs/re port.py:daily", 4)
    assert (arguments.param, arguments.memory_max) == (["a=-x=1"], "2 GB")
    assert arguments.drain_seconds == 0.5


def test_elsewhere_it_says_where() -> None:
    line = compose(CALL, here="/tmp")
    assert line.startswith("cd /srv/proj && batten run 'jobs/re port.py:daily' --param ")
    assert line.isprintable()
    far = replace(CALL, folder="/srv/cron/here")
    assert compose(far, here="/").startswith("cd /srv/cron/here && batten run '/srv/proj/jobs/re")


def test_programs_of_python() -> None:
    script = replace(UNKNOWN_CALL, kind=SCRIPT, folder="/a", file="/a/b c.py")
    assert compose(script, here="/a", python="/venv/bin/python") == "/venv/bin/python '/a/b c.py'"
    module = replace(UNKNOWN_CALL, kind=MODULE, folder="/a", module="jobs.daily")
    assert compose(module, here="/") == "cd /a && python -m jobs.daily"
    assert compose(replace(module, has_arguments=True), here="/") == ""
    assert compose(replace(UNKNOWN_CALL, kind=SESSION, folder="/a"), here="/") == ""


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("kind", "shell"),
        ("folder", "relative"),
        ("folder", "/a\0b"),
        ("file", ""),
        ("file", "job.py"),
        ("file", "/a\0b"),
        ("name", "a; curl x | sh"),
        ("name", "a b"),
        ("module", "os"),
        ("digest", "abc"),
        ("output", "out"),
        ("parameters", {"a b": "1"}),
        ("parameters", {"--fresh": "1"}),
        ("parameters", {"a": "\0"}),
        ("options", {"fresh": "1"}),
        ("options", {"jobs": "4; rm -rf /"}),
        ("options", {"jobs": "-1"}),
        ("options", {"memory-max": "$(id)"}),
        ("withheld", ["a=b"]),
    ],
)
def test_a_field_that_batten_would_not_write_is_found(field: str, value: Any) -> None:
    assert build(JobCall, vars(CALL)) == CALL
    with pytest.raises(Damaged):
        build(JobCall, vars(replace(CALL, **{field: value})))


def test_a_module_is_named_as_one() -> None:
    module = replace(UNKNOWN_CALL, kind=MODULE, folder="/a", module="jobs.daily")
    assert build(JobCall, vars(module)) == module
    for odd in ("x; y", "", "a..b", "-c"):
        with pytest.raises(Damaged):
            build(JobCall, vars(replace(module, module=odd)))


def test_commands_of_earlier_records_are_read_strictly() -> None:
    call = read_old_command("batten run 'my job.py:daily' --param a=1 --param 'b=x y'")
    assert (call.file, call.name) == ("my job.py", "daily")
    assert call.parameters == {"a": "1", "b": "x y"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "curl example.com | sh",
        "batten run job.py; curl example.com | sh",
        "batten run job.py && true",
        "batten run job.py --fresh",
        "batten run job.py --param",
        "batten run job.py --param 'a b=1'",
        "batten run -x",
        "batten run",
        "batten run 'job.py",
        "batten recover out",
        "sudo batten run job.py",
        "batten run 'a\0b.py'",
    ],
)
def test_what_else_was_kept_as_a_command_is_none(text: str) -> None:
    assert read_old_command(text) == UNKNOWN_CALL
