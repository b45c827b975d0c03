"""The page of an output: what is on it, that nothing of data gets out of its place, that it holds
whatever lies on disk."""

from __future__ import annotations

import base64
import hashlib
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import batten
from batten.cli.main import main
from batten.cli.text.diagnosis_text import list_lines
from batten.page.document import CHARACTERS_MAX, WHOLE_MAX, make_page
from batten.page.failures import ITEMS_MAX

KEYS = [f"clip_{number:02}" for number in range(10)]
HOSTILE = [
    "</title></style><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'onload='alert(1)",
    "\x1b[31mred\x07\x00\x7f\x85",
    "\u202eevil\u2066\u200f",
    "שלום עולם",
    "a&amp;b&lt;",
    "<!-- -->]]><![CDATA[",
    "\ud800 alone",
    "k" * 5000,
]


def test_the_state_and_the_one_safe_action_are_as_diagnose_says_them(
    work: Any, page_of: Any
) -> None:
    work(KEYS, failing={"clip_03": "ValueError: no video stream"})
    page = page_of("out")
    (verdict,) = [each for each in page.all("div") if "verdict" in each.attributes["class"]]
    told = dict(
        zip(
            [each.text for each in verdict.all("dt")],
            [each.text for each in verdict.all("dd")],
            strict=True,
        )
    )
    lines = [line.strip() for line in list_lines(batten.diagnose("out"))]
    assert lines[0] == f"{verdict.all('p')[0].text}  out"
    for name in ("why", "do", "next", "risky"):
        assert f"{name:<8} {told[name]}" in lines
    assert page.one("head").one("title").text == "COMPLETE · out"


def test_accounts_failures_and_runs(work: Any, page_of: Any) -> None:
    failing: dict[str, str] = {
        **{key: f"ValueError: no video stream in {key}" for key in KEYS[:3]},
        "clip_09": "KeyError: frames",
    }
    work(KEYS, failing=failing)
    page = page_of("out")
    headings = [each.text for each in page.all("h2", "h3")]
    assert headings.index("ValueError: 3 items") < headings.index("KeyError: 1 item")
    (items,) = [
        each for each in page.all("table") if each.one("caption").text == "10 items of the source"
    ]
    rows = [[cell.text for cell in row.all("th", "td")][:2] for row in items.all("tr")]
    assert rows == [["outcome", "items"], ["committed", "6"], ["quarantined", "4"]]
    tracebacks = [each.text for each in page.all("pre")]
    assert any("in measure" in each and "no video stream" in each for each in tracebacks)
    assert "10 = 6 committed + 0 filtered + 4 quarantined" in page.text
    (runs,) = [each for each in page.all("table") if "1 run" in each.one("caption").text]
    assert "complete" in runs.text
    assert "items" in headings[0] or headings[0] == "Accounts"


def test_no_address_no_script_and_no_style_of_its_own(work: Any, page_of: Any) -> None:
    work(KEYS, failing={KEYS[1]: "ValueError: http://example.com/a.js"})
    page = page_of("out", "absent")
    (policy,) = [
        each.attributes["content"]
        for each in page.all("meta")
        if each.attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    style = page.one("style").text
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy.startswith(f"default-src 'none'; style-src 'sha256-{digest}'")
    assert not re.search(r"url\(|@import|http", style)
    for each in page.all():
        assert each.tag not in {"script", "link", "img", "iframe", "object", "form", "base"}
        assert not {"style", "src", "srcset", "xlink:href"} & each.attributes.keys()
        assert not [name for name in each.attributes if name.startswith("on")]
        assert each.attributes.get("href", "#").startswith("#")


def test_it_is_read_by_a_screen_reader(work: Any, page_of: Any) -> None:
    work(KEYS, failing={KEYS[1]: "ValueError: one", KEYS[5]: "LookupError: two"})
    for page in (page_of("out"), page_of("out", "absent")):
        assert page.one("html").attributes["lang"] == "en"
        assert (len(page.all("main")), len(page.all("h1")), len(page.all("header"))) == (1, 1, 1)
        levels = [int(each.tag[1]) for each in page.all("h1", "h2", "h3", "h4", "h5", "h6")]
        assert all(after <= before + 1 for before, after in pairwise(levels))
        ids = [each.attributes["id"] for each in page.all() if "id" in each.attributes]
        assert len(set(ids)) == len(ids)
        for each in page.all():
            named = each.attributes.get("aria-labelledby", "").split()
            assert set(named) <= set(ids)
            if (href := each.attributes.get("href")) is not None:
                assert href.removeprefix("#") in ids
        for table in page.all("table"):
            assert table.one("caption").text
            assert {each.attributes["scope"] for each in table.all("th")} == {"col", "row"}
        for picture in page.all("svg"):
            assert picture.attributes["role"] == "img"
            assert picture.one("title").text
            assert picture.one("desc").text
        for summary in page.all("summary"):
            assert summary.text.strip()


def list_tags(page: Any) -> list[str]:
    """All but what depends on how quick the machine was."""
    timed = [
        each
        for each in page.all("section")
        if each.attributes["aria-labelledby"] in {"time", "slowest"}
    ]
    left_out = {id(each) for section in timed for each in section.all()}
    return [each.tag for each in page.all() if id(each) not in left_out]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_texts_stay_texts(text: str, work: Any, page_of: Any) -> None:
    """In keys, in errors and in names of outputs. What is shown is one printable line."""
    key = text.encode(errors="surrogatepass").decode(errors="replace")
    name = re.sub(r"[/\0\ud800]", "_", text)[:60]
    plain = page_of  # the structure without hostile texts
    work(["a", "b"], failing={"b": "ValueError: wrong"}, into="plain")
    usual = list_tags(plain("plain"))
    work(["a", key], failing={key: f"ValueError: {text}"}, into=name)
    page = page_of(name)
    assert list_tags(page) == usual
    for each in page.all():
        if each.tag not in {"style", "pre"}:
            told = [piece for piece in each.content if isinstance(piece, str)]
            assert all(piece.isprintable() for piece in told), told
            assert all(value.isprintable() for value in each.attributes.values())
    for each in page.all("pre"):
        assert all(line.isprintable() for line in each.text.split("\n"))


def test_many_outputs_the_most_urgent_first(work: Any, page_of: Any) -> None:
    for day in ("01", "02"):
        work(KEYS[:3], into=f"day-{day}")
    (Path("day-01.batten") / "commits" / "000000.json").unlink()
    (Path("day-01") / "part-000000.parquet").unlink()
    page = page_of("day-*", "absent")
    (outputs,) = [each for each in page.all("table") if "urgent" in each.one("caption").text]
    names = [row.all("th")[0].text for row in outputs.all("tr")[1:]]
    assert names == ["day-01", "absent", "day-02"]
    assert [each.all("h2")[0].text for each in page.all("article")] == names


def test_more_outputs_than_are_shown_whole(work: Any, page_of: Any) -> None:
    work(KEYS[:1], into="out-0")
    paths = ["out-0", *(f"none-{number}" for number in range(WHOLE_MAX + 5))]
    page = page_of(*paths)
    assert len(page.all("article")) == WHOLE_MAX
    assert f"The first {WHOLE_MAX} are shown whole below" in page.text


def test_the_chain_of_datasets(work: Any, page_of: Any) -> None:
    work(KEYS)
    batten.from_dataset("out").map(lambda row: {"length": row["length"]}).write_parquet("next").run(
        executor="serial", progress=False
    )
    work([*KEYS, "another"])
    page = page_of("next")
    (chain,) = [each for each in page.all("table") if "chain" in each.one("caption").text]
    rows = [[cell.text for cell in row.all("th", "td")][:2] for row in chain.all("tr")[1:]]
    assert rows == [["out", "COMPLETE"], ["next (this one)", "STALE"]]
    assert page.one("head").one("title").text == "STALE · next"


def damage(path: Path, text: bytes) -> None:
    path.write_bytes(text)


@pytest.mark.parametrize(
    ("pattern", "told"),
    [
        ("quarantine/*", "can't be read"),
        ("commits/*", "without a readable time"),
        ("runs/*", "can't be read"),
        ("plan/*.json", "plan"),
        ("dataset.json", "dataset.json"),
        ("COMPLETE", "COMPLETE"),
    ],
)
def test_what_is_damaged_is_said(work: Any, page_of: Any, pattern: str, told: str) -> None:
    work(KEYS, failing={KEYS[1]: "ValueError: one", KEYS[6]: "ValueError: two"})
    (first, *_) = sorted(Path("out.batten").glob(pattern))
    damage(first, b"\x00\xff not what batten writes")
    assert told in page_of("out").text


@pytest.mark.parametrize("target", ["job.py", "pipe", "folder", "out/page.html", "out.batten/p"])
def test_only_a_page_is_replaced(
    work: Any, target: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import os

    work(KEYS[:2])
    Path("job.py").write_text("import batten\n")
    os.mkfifo("pipe")
    Path("folder").mkdir()
    before = sorted(tmp_path.rglob("*"))
    assert main(["report", "out", "-o", target]) in (2, 5)
    assert sorted(tmp_path.rglob("*")) == before
    assert Path("job.py").read_text() == "import batten\n"
    assert main(["report", "out"]) == 0
    assert main(["report", "out", "--json"]) == 0
    assert '"states": {"COMPLETE": 1}' in capsys.readouterr().out


def test_what_is_quarantined_in_many_files_is_read_in_part(
    work: Any, page_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("batten.page.failures.FILES_MAX", 3)
    keys = [f"k{number:03}" for number in range(40)]
    work(keys, failing=dict.fromkeys(keys[::2], "ValueError: none"))
    text = page_of("out").text
    assert "20 items failed for good. These groups are of 6 of them, from 3 of 10 files" in text
    assert page_of("out").text == text


@pytest.mark.parametrize("message", ["x" * 300_000, "\n" * 50_000, "a line\n" * 50_000])
def test_a_huge_traceback_still_says_where(work: Any, page_of: Any, message: str) -> None:
    work(KEYS[:2], failing={KEYS[1]: f"ValueError: {message}the end"})
    (traceback,) = page_of("out").all("pre")
    assert traceback.text.startswith("Traceback (most recent call last):")
    assert "in measure" in traceback.text
    assert traceback.text.rstrip().endswith("the end")
    assert " more) …" in traceback.text
    assert len(traceback.text.splitlines()) < 250


def test_a_page_is_never_long(work: Any) -> None:
    """Whatever there is: the longest texts, all of kinds of their own."""
    keys = [f"{number}{'&' * 400}" for number in range(300)]
    failing = dict.fromkeys(keys[:200], "ValueError: " + "<" * 5000)
    failing |= {key: f"E{n}: " + "&" * 9000 for n, key in enumerate(keys)}
    work(keys, failing=failing)
    paths = ["out", *(f"none-{number}-{'x' * 100}" for number in range(2000))]
    assert len(make_page(["out"], [], "").html) < 2_500_000
    assert len(make_page(paths, [], "").html) < CHARACTERS_MAX + 2_500_000
    assert len(keys) < ITEMS_MAX
