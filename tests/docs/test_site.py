"""The site is built without a warning, holds every page and name, and asks for nothing outside."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from readme_renderer import markdown

import batten
import batten.extending
import batten.testing
from batten.jobs.definition import Definition

ROOT = Path(__file__).parents[2]

_LOADS = {
    "script": "src",
    "img": "src",
    "iframe": "src",
    "source": "src",
    "video": "src",
    "object": "data",
}
_STYLE = re.compile(r"@import|url\(\s*[\"']?(?:https?:)?//")


class Page(HTMLParser):
    """What a page loads, where it leads, and the names of its places."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if "id" in given:
            self.anchors.add(given["id"])
        if tag in _LOADS and _LOADS[tag] in given:
            self.loads.append(given[_LOADS[tag]])
        if tag == "link" and given.get("rel") not in ("next", "prev", "canonical"):
            self.loads.append(given["href"])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("docs") / "site"
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[str, str]:
    return {str(path.relative_to(site)): path.read_text() for path in site.rglob("*.html")}


def test_each_document_has_a_page_and_is_beside_it(site: Path, pages: dict[str, str]) -> None:
    documents = {str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md")}

    expected = (documents - {"README.md"}) | {"documents.md", "index.md", "contributing.md"}
    assert [name for name in sorted(expected) if not has_page(pages, name)] == []
    assert [name for name in documents if not (site / name).exists()] == []


def test_no_page_stands_twice_in_the_navigation() -> None:
    named = re.findall(r"[\w/.-]+\.md$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    assert named
    assert len(named) == len(set(named))


def has_page(pages: dict[str, str], document: str) -> bool:
    return re.sub(r"(README)?\.md$", "", document) + ".html" in pages or (
        document.replace("README.md", "index.html") in pages
    )


def test_nothing_is_loaded_from_outside(site: Path, pages: dict[str, str]) -> None:
    asked = {
        (name, load)
        for name, text in pages.items()
        for load in Page(text).loads
        if load.startswith(("http:", "https:", "//"))
    }
    styles = [path for path in site.rglob("*.css") if _STYLE.search(path.read_text())]

    assert (asked, styles) == (set(), [])


def test_no_diagram_needs_what_a_browser_would_fetch(pages: dict[str, str]) -> None:
    assert [name for name, text in pages.items() if "flowchart" in text] == []


def test_code_is_shown_as_code(pages: dict[str, str]) -> None:
    assert [name for name, text in pages.items() if "```" in text] == []


def test_the_reference_has_every_public_name(pages: dict[str, str]) -> None:
    reference = Page(pages["reference/python.html"]).anchors
    packages = Page(pages["reference/packages.html"]).anchors
    shared = set(batten.__all__)

    assert [name for name in batten.__all__ if f"batten.{name}" not in reference] == []
    assert {f"batten.Pipeline.{step}" for step in ("map", "write_parquet", "run")} <= reference
    for module in (batten.extending, batten.testing):
        names = [f"{module.__name__}.{name}" for name in module.__all__ if name not in shared]
        assert [name for name in names if name not in packages] == []


def test_the_reference_leaves_out_what_a_pipeline_is_within(pages: dict[str, str]) -> None:
    """Its users call what they read there, and nothing else is theirs to call."""
    shown = set(re.findall(r'id="batten\.Pipeline\.(\w+)"', pages["reference/python.html"]))
    assert {"map", "write_parquet", "options", "run"} <= shown
    assert shown & set(dir(Definition)) == set()


def test_the_search_finds_what_stands_in_pages(site: Path) -> None:
    index = json.loads((site / "search" / "search_index.json").read_text())
    found = {each["location"] for each in index["docs"] if "write_parquet" in each["text"]}

    assert "reference/python.html#batten.Pipeline.write_parquet" in found
    assert (site / "search" / "search_index.js").exists()


def test_links_to_sources_are_their_text(pages: dict[str, str]) -> None:
    assert "storage/changing/publishing.py" in pages["architecture.html"]
    assert [name for name, text in pages.items() if re.search(r'href="[^"]*\.py[">#]', text)] == []


def test_an_index_of_packages_can_show_the_readme() -> None:
    shown = markdown.render((ROOT / "README.md").read_text())

    assert shown is not None
    assert "<table>" in shown
