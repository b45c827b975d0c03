"""Outputs of real jobs, and a page as a browser would take it apart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

import pytest

import batten
from batten.page.document import Page, make_page

TIME = "2026-11-21 08:00:00 UTC"
_VOID = frozenset({"meta", "br", "col"})


@dataclass
class Node:
    """An element with its attributes, its elements and its text."""

    tag: str
    attributes: dict[str, str] = field(default_factory=dict)
    content: list[Node | str] = field(default_factory=list)

    @property
    def text(self) -> str:
        told = (each if isinstance(each, str) else each.text for each in self.content)
        return "".join(told)

    def all(self, *tags: str) -> list[Node]:
        """Those below it, in their order."""
        found = []
        for each in self.content:
            if isinstance(each, Node):
                if each.tag in tags or not tags:
                    found.append(each)
                found += each.all(*tags)
        return found

    def one(self, tag: str) -> Node:
        (found,) = self.all(tag)
        return found


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.root = Node("")
        self.open = [self.root]

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attributes]
        assert len(set(names)) == len(names), (tag, names)
        node = Node(tag, {name: value or "" for name, value in attributes})
        self.open[-1].content.append(node)
        if tag not in _VOID:
            self.open.append(node)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop().tag == tag

    def handle_data(self, data: str) -> None:
        self.open[-1].content.append(data)


def read_html(text: str) -> Node:
    """The root; every element that was opened is closed where it should be."""
    reader = _Reader()
    reader.feed(text)
    reader.close()
    assert reader.open == [reader.root]
    return reader.root


MakeNode = Callable[..., Node]


@pytest.fixture
def page_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeNode:
    """`page_of("out")`: the page, taken apart."""
    monkeypatch.chdir(tmp_path)

    def make(*paths: str) -> Node:
        page: Page = make_page(paths, [], TIME)
        return read_html(page.html)

    return make


Work = Callable[..., batten.Report]


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Work:
    """`work(["a", "b"], failing={"b": "ValueError: none"})`: a job of these keys; the output is
    `out`."""
    monkeypatch.chdir(tmp_path)

    def run(
        keys: list[str], *, failing: dict[str, str] | None = None, into: str = "out"
    ) -> batten.Report:
        errors = dict(failing or {})

        def measure(item: str) -> dict[str, int]:
            if item in errors:
                name, _, told = errors[item].partition(": ")
                raise type(name, (Exception,), {"__module__": "builtins"})(told)
            return {"length": len(item)}

        pipeline = batten.from_items(keys, key=str).map(measure)
        pipeline = pipeline.options(batch_size=4, stop_when=None).write_parquet(into)
        return pipeline.run(executor="serial", progress=False)

    return run
