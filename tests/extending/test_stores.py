"""A store of another package: a job's output at an address."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from batten.testing import kill_at_step

if TYPE_CHECKING:
    from conftest import Installed

BOX = '''
"""Boxes: stores that keep their objects in a local folder, and can do no more than any store."""

from batten.storage.local.folder import LocalStorage
from batten.storage.relative import folder_of


class BoxStore:
    folder = local = None

    def __init__(self, path, address):
        self.place = address
        self._files = LocalStorage(path)

    @classmethod
    def declare(cls, folder, address):
        return cls(folder / address.removeprefix("box://"), address)

    def __getattr__(self, name):
        return getattr(self.__dict__["_files"], name)

    def put_new(self, name, data):
        self._files.ensure_folder(folder_of(name))
        return self._files.put_new(name, data)

    def list(self, folder):
        """With versions, which the listing of a folder leaves out."""
        return map(self._files.find, [entry.name for entry in self._files.list(folder)])

    def lease(self, name, holder):
        self._files.ensure_folder(folder_of(name))
        return self._files.lease(name, holder)
'''
CONTRACT = """
from pathlib import Path

import pytest

from batten.testing import StoreContract
from batten_box import BoxStore


class TestBox(StoreContract):
    @pytest.fixture(autouse=True)
    def keep_folder(self, tmp_path):
        self.folder = tmp_path

    def make_store(self):
        return BoxStore.declare(self.folder, "box://things")
"""
JOB = """
import os

import batten


def square(number):
    if number == 7 and os.path.exists("bad"):
        raise ValueError("not yet")
    return {"square": number * number}


pipeline = (
    batten.from_range(40).map(square).options(batch_size=10).write_parquet("box://place/squares")
)
"""


@pytest.fixture
def box(bare: Installed) -> Installed:
    bare.install(
        "batten-box", {"batten.stores": {"box": "batten_box:BoxStore"}}, {"batten_box.py": BOX}
    )
    (bare.folder / "test_box.py").write_text(CONTRACT)
    (bare.folder / "job.py").write_text(JOB)
    return bare


def test_it_passes_the_contract(box: Installed) -> None:
    done = box.python("-m", "pytest", "-q", "-p", "no:cacheprovider", "test_box.py")
    assert done.returncode == 0, done.stdout


def test_a_job_writes_there_is_killed_goes_on_and_is_looked_at(box: Installed) -> None:
    killed = box.batten("run", "job.py", "--jobs", "1", **kill_at_step(20))
    begun = box.batten("diagnose", "box://place/squares", "--json")
    done = box.batten("run", "job.py", "--jobs", "1")
    again = box.batten("run", "job.py")

    assert killed.returncode == -9
    assert json.loads(begun.stdout)["state"] == "INTERRUPTED"
    assert done.returncode == 0, done.stderr
    assert "nothing to do" in again.stderr + again.stdout
    assert box.batten("diagnose", "box://place/squares").returncode == 0
    verified = box.batten("verify", "box://place/squares")
    assert verified.returncode == 0, verified.stdout + verified.stderr
    rows = box.batten("export", "box://place/squares", "rows.jsonl")
    assert rows.returncode == 0, rows.stderr
    lines = (box.folder / "rows.jsonl").read_text().splitlines()
    assert [json.loads(line)["square"] for line in lines] == [n * n for n in range(40)]
    assert sorted(path.name for path in box.folder.iterdir() if path.is_dir()) == ["place"]


def test_what_failed_is_shown_and_tried_again(box: Installed) -> None:
    (box.folder / "bad").touch()
    first = box.batten("run", "job.py")
    shown = box.batten("show", "box://place/squares", "--json")
    verified = box.batten("verify", "box://place/squares")
    (box.folder / "bad").unlink()
    second = box.batten("run", "job.py", "--retry-quarantined")

    assert (first.returncode, second.returncode) == (3, 0), first.stderr + second.stderr
    assert [each["error"] for each in json.loads(shown.stdout)["quarantined"]] == [
        "ValueError: not yet"
    ]
    assert verified.returncode == 0, verified.stdout
    assert box.batten("verify", "box://place/squares").returncode == 0


def test_an_address_that_names_no_output_is_refused(box: Installed) -> None:
    for address in ("box://", "box://place", "box://place/"):
        done = box.batten("diagnose", address)
        assert done.returncode == 2
        assert "names no output in a store" in done.stderr


def test_it_is_mended_where_it_lies(box: Installed) -> None:
    box.batten("run", "job.py")
    for command in ("recover", "clean"):
        done = box.batten(command, "box://place/squares")
        assert done.returncode == 0, done.stderr


def test_without_its_package_the_address_is_refused(box: Installed) -> None:
    box.uninstall("batten-box")
    done = box.batten("run", "job.py")

    assert done.returncode == 2
    assert "is an address (box:)" in done.stderr
