"""What batten notes beside its data may have become something else: it is told, nothing hangs."""

from __future__ import annotations

import json
import os
import resource
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import batten
from batten.cli.main import main
from batten.errors import BattenError, CorruptError, UsageError
from batten.model.disk.landed import REACHED, LandedUse, encode_end
from batten.model.disk.records import Config, decode_record, name_dataset
from batten.pipeline.topics.landing import TopicPlace, find_reached
from batten.sources.landed import LandedSource
from batten.sources.landed_uses import find_uses_folder, list_uses, note_use


def huge_file(path: Path) -> None:
    path.touch()
    os.truncate(path, 20 << 30)


KINDS: dict[str, Callable[[Path], None]] = {
    "a pipe": os.mkfifo,
    "a link": lambda path: path.symlink_to(path.parent / "elsewhere"),
    "a link to a device": lambda path: path.symlink_to("/dev/zero"),
    "a folder": os.mkdir,
    "a huge file": huge_file,
    "no object": lambda path: path.write_text("[1]") and None,
}


@pytest.fixture(autouse=True)
def within_a_minute() -> Iterator[None]:
    """Whatever hangs, or reads without end, ends the test."""
    before = signal.signal(signal.SIGALRM, _stop)
    signal.alarm(60)
    pages = int(Path("/proc/self/statm").read_text().split()[5])
    limits = resource.getrlimit(resource.RLIMIT_DATA)
    most = pages * resource.getpagesize() + 2**31
    resource.setrlimit(resource.RLIMIT_DATA, (most, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_DATA, limits)
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def _stop(number: int, frame: object) -> None:
    raise RuntimeError("it hangs")


def put(path: Path, kind: str) -> None:
    """In the place of what is there, whose bytes lie beside it."""
    path.rename(path.parent / "elsewhere")
    KINDS[kind](path)


@pytest.mark.parametrize("kind", KINDS)
def test_the_note_of_who_reads_what_was_landed(tmp_path: Path, kind: str) -> None:
    landed = tmp_path / "landed"
    batten.land(lambda offset: range(offset, 8), into=landed, items_max=4, seconds_max=1e9)
    source = batten.from_landed(landed).map(lambda n: {"n": n}, version="1")
    source.write_parquet(tmp_path / "out").run(executor="serial")
    (note,) = find_uses_folder(landed).iterdir()
    put(note, kind)
    (note.parent / "elsewhere").rename(tmp_path / "moved")
    if kind == "a link":
        note.unlink()
        note.symlink_to(tmp_path / "moved")
    with pytest.raises(CorruptError, match=f"{note.name} can't be read"):
        list_uses(landed)
    assert main(["clean", "--landed", str(landed)]) == 4
    for command in ("diagnose", "verify", "clean"):
        assert main([command, str(landed)]) in (0, 4)


@pytest.mark.parametrize("kind", KINDS)
def test_how_far_a_topic_was_read(tmp_path: Path, kind: str) -> None:
    place = TopicPlace(
        topic="t", servers="none", into=tmp_path, group="", config={}, timeout_seconds=1
    )
    (tmp_path / REACHED).write_text('{"id": "a", "offsets": {"0": 5}}')
    assert find_reached(place).offsets == {0: 5}
    put(tmp_path / REACHED, kind)
    with pytest.raises(CorruptError, match=f"{REACHED} can't be read"):
        find_reached(place)


ODD_USES: dict[str, object] = {
    "no output": {"prefix": ""},
    "a number": {"output": 5, "prefix": ""},
    "a zero byte": {"output": "a\0b", "prefix": ""},
    "half a character": {"output": "\ud800", "prefix": ""},
    "half a character before": {"output": "out", "prefix": "\ud800"},
    "another prefix": {"output": "out", "prefix": "../"},
    "no name of a dataset": {"output": "out", "prefix": "", "dataset": ["a"]},
    "too long": {"output": "x" * 100_000, "prefix": ""},
}


@pytest.mark.parametrize("odd", ODD_USES)
def test_a_note_that_names_no_use(tmp_path: Path, odd: str) -> None:
    landed = tmp_path / "landed"
    batten.land(lambda offset: range(offset, 8), into=landed, items_max=4, seconds_max=1e9)
    job = batten.from_landed(landed).map(lambda n: {"n": n}, version="1")
    job.write_parquet(tmp_path / "out").run(executor="serial")
    (note,) = find_uses_folder(landed).iterdir()
    note.write_text(json.dumps(ODD_USES[odd]))
    assert main(["clean", "--landed", str(landed)]) == 4
    with pytest.raises(CorruptError, match="Restore it from a copy; or delete it"):
        job.write_parquet(tmp_path / "out").run(executor="serial")


def test_a_note_is_named_where_it_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever links lead there, and from wherever it is asked."""
    real, links = tmp_path / "real", tmp_path / "links"
    batten.land(lambda offset: range(offset, 8), into=real / "a/landed", items_max=4)
    links.mkdir()
    (links / "feed").symlink_to(real / "a/landed")
    note = find_uses_folder(real / "a/landed") / f"{'0' * 32}.json"
    note.parent.mkdir()
    note.write_text("[]")
    monkeypatch.chdir(links)
    job = batten.from_landed("feed").map(lambda n: {"n": n}, version="1")
    with pytest.raises(CorruptError) as raised:
        job.write_parquet(tmp_path / "out").run(executor="serial")
    assert str(note) in raised.value.what
    monkeypatch.chdir(real)
    assert main(["clean", "--landed", "a/landed"]) == 4
    assert str(note) in capsys.readouterr().err


@pytest.mark.parametrize(
    "output", ["x" * 300, "a.batten/fresh/" * 150 + "x", "a.batten/fresh/" * 2000 + "x", "", "://"]
)
def test_a_note_of_an_output_that_can_not_be(tmp_path: Path, output: str) -> None:
    landed = tmp_path / "landed"
    batten.land(lambda offset: range(offset, 8), into=landed, items_max=4, seconds_max=1e9)
    note = find_uses_folder(landed) / f"{'0' * 32}.json"
    note.parent.mkdir()
    note.write_text(json.dumps({"output": output, "prefix": ""}))
    assert main(["clean", "--landed", str(landed)]) == 0
    assert len(list(landed.iterdir())) == 2


@pytest.mark.parametrize("key", ["9" * 5000, "\u0663", "007", "-1", "1_0"])
def test_keys_that_are_no_offsets(tmp_path: Path, key: str) -> None:
    landed = tmp_path / "landed"
    batten.land(lambda offset: range(offset, 12), into=landed, items_max=4, seconds_max=1e9)
    out = tmp_path / "out"
    batten.from_items([{"id": key}], key="id").write_parquet(out).run(executor="serial")
    config = decode_record(Config, (tmp_path / "out.batten/dataset.json").read_bytes())
    note_use(landed, LandedUse(output=str(out), prefix="", dataset=name_dataset(config)))
    assert main(["clean", "--landed", str(landed)]) == 0
    assert len(list(landed.iterdir())) == 3


ODD_NUMBERS = ["1e999", "-5", "1" + "0" * 30, "true", '"5"', "0.5", "null", "[]", "NaN"]


@pytest.mark.parametrize("number", ODD_NUMBERS)
@pytest.mark.parametrize("field", ["offsets", "places"])
def test_a_record_of_deleted_items_that_can_not_be(tmp_path: Path, field: str, number: str) -> None:
    landed = tmp_path / "landed"
    batten.land(lambda offset: range(offset, 8), into=landed, items_max=4, seconds_max=1e9)
    lists = {"offsets": "0, 1, 2, 3", "places": "0, 9, 18, 27"}
    lists[field] = lists[field].rpartition(" ")[0] + f" {number}"
    line = f'{{"offsets": [{lists["offsets"]}], "places": [{lists["places"]}]}}\n'.encode()
    first = min(landed.iterdir())
    first.with_suffix(".deleted").write_bytes(line + encode_end([line]))
    first.unlink()
    assert main(["verify", str(landed)]) == 4
    with pytest.raises(UsageError, match="cannot be understood"):
        list(LandedSource(landed, folder=tmp_path).scan())


@pytest.mark.parametrize("number", ODD_NUMBERS)
def test_a_number_that_no_topic_has(tmp_path: Path, number: str) -> None:
    place = TopicPlace(
        topic="t", servers="none", into=tmp_path, group="", config={}, timeout_seconds=1
    )
    (tmp_path / REACHED).write_text(f'{{"id": "a", "offsets": {{"0": {number}}}}}')
    with pytest.raises(CorruptError, match=f"{REACHED} can't be read"):
        find_reached(place)


@pytest.mark.parametrize("told", ['{"-4": 5}', '{"9999999999": 1}', '{"a": 1}', "[]", '"x"'])
def test_a_partition_that_no_topic_has(tmp_path: Path, told: str) -> None:
    place = TopicPlace(
        topic="t", servers="none", into=tmp_path, group="", config={}, timeout_seconds=1
    )
    (tmp_path / REACHED).write_text(f'{{"id": "a", "offsets": {told}}}')
    with pytest.raises(CorruptError, match=f"{REACHED} can't be read"):
        find_reached(place)


@pytest.mark.parametrize("kind", ["a pipe", "a link to a device", "a folder"])
@pytest.mark.parametrize("name", ["files.json", "0"])
def test_the_files_of_an_item_in_the_cache(tmp_path: Path, kind: str, name: str) -> None:
    def make(number: int) -> dict[str, bytes]:
        return {"a": b"%d" % number}

    cache = batten.Cache(tmp_path / "cache", disk_free_min=0)
    step = batten.from_range(1).map(make, version="1", cache=cache)  # type: ignore[arg-type]
    step.write_files(tmp_path / "first/{key}-{name}.bin").run(executor="serial")
    (path,) = (tmp_path / "cache").rglob(f"files/{name}")
    path.parent.chmod(0o755)
    put(path, kind)
    (path.parent / "elsewhere").rename(tmp_path / "moved")
    second = step.write_files(tmp_path / "second/{key}-{name}.bin")
    with pytest.raises(BattenError):
        second.run(executor="serial")


@pytest.mark.parametrize(
    "shape",
    [
        '{"a": "/etc/hostname"}',
        '{"a": "../../outside"}',
        '{"a": "0"}',
        '{"a": -1}',
        '{"a": 1}',
        '{"a": true}',
        '{"a": null}',
        '{"a": 1e999}',
        '{"a": 0.0}',
        '{"a": [["files.json"]]}',
        '{"a": ' * 900 + "0" + "}" * 900,
    ],
)
def test_an_entry_of_the_cache_leads_nowhere_else(tmp_path: Path, shape: str) -> None:
    """It may be another user's."""
    cache = batten.Cache(tmp_path / "cache", disk_free_min=0)
    step = batten.from_range(1).map(lambda n: {"a": b"%d" % n}, version="1", cache=cache)  # type: ignore[arg-type]
    step.write_files(tmp_path / "first/{key}-{name}.bin").run(executor="serial")
    (path,) = (tmp_path / "cache").rglob("files/files.json")
    (path.parent.parent / "outside").write_text("not of the entry")
    path.chmod(0o644)
    path.write_text(shape)
    second = step.write_files(tmp_path / "second/{key}-{name}.bin")
    with pytest.raises(BattenError, match=r"files\.json.* can't be read"):
        second.run(executor="serial")
    assert not list((tmp_path / "second").glob("*.bin"))
