"""PDF, HTML and Markdown become Markdown. The same bytes give the same page."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

BLOCKS = frozenset(
    {"p", "div", "section", "article", "ul", "ol", "table", "tr", "blockquote", "dl"}
)
ITEMS = {"li": "- ", "dt": "", "dd": "  "}
SKIPPED = frozenset({"script", "style", "nav", "head", "footer"})
HEADING = re.compile(r"h[1-6]")
FIRST_HEADING = re.compile(r"^#{1,6} +(.+?) *#*$", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Page:
    """A document as Markdown. `title` may be empty."""

    title: str
    text: str


def convert(data: bytes, suffix: str) -> Page:
    """The page of a document; raises `ValueError` where it holds no text."""
    page = CONVERTERS[suffix](data)
    text = re.sub(r"\n{3,}", "\n\n", page.text).strip()
    if not text:
        raise ValueError("there is no text in it")
    heading = FIRST_HEADING.search(text)
    title = page.title or (heading[1] if heading else "")
    if heading and heading.start() == 0 and heading[1] == title:
        text = text[heading.end() :].lstrip()
    return Page(title=" ".join(title.split()), text=text)


def _convert_markdown(data: bytes) -> Page:
    return Page(title="", text=data.decode("utf-8").replace("\r\n", "\n"))


def _convert_pdf(data: bytes) -> Page:
    import pypdfium2

    document = pypdfium2.PdfDocument(data)
    try:
        title = document.get_metadata_dict().get("Title", "")
        texts = [_read_pdf_page(page) for page in document]
    finally:
        document.close()
    pages = [f"## Page {number}\n\n{text}" for number, text in enumerate(texts, 1) if text]
    first_line = next((text.partition("\n")[0] for text in texts if text), "")
    return Page(title=title or first_line, text="\n\n".join(pages))


def _read_pdf_page(page: Any) -> str:
    words = page.get_textpage()
    try:
        return str(words.get_text_bounded()).replace("\r\n", "\n").strip()
    finally:
        words.close()
        page.close()


def _convert_html(data: bytes) -> Page:
    writer = _MarkdownWriter()
    writer.feed(data.decode("utf-8", "replace"))
    writer.close()
    return Page(title="".join(writer.title), text="".join(writer.pieces))


class _MarkdownWriter(HTMLParser):
    """Writes what it is fed: headings, paragraphs, items, code; links by their text."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.title: list[str] = []
        self.pieces: list[str] = []
        self._skipping = 0
        self._is_title = False
        self._is_code = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "title":
            self._is_title = True
        if tag in SKIPPED:
            self._skipping += 1
        elif HEADING.fullmatch(tag):
            self.pieces.append("\n\n" + "#" * int(tag[1]) + " ")
        elif tag == "pre":
            self.pieces.append("\n\n```\n")
            self._is_code = True
        elif tag in ITEMS:
            self.pieces.append("\n" + ITEMS[tag])
        elif tag in BLOCKS or tag == "br":
            self.pieces.append("\n" if tag == "br" else "\n\n")

    def handle_endtag(self, tag: str) -> None:
        if tag == "title":
            self._is_title = False
        if tag in SKIPPED:
            self._skipping = max(0, self._skipping - 1)
        elif tag == "pre":
            self.pieces.append("\n```\n\n")
            self._is_code = False
        elif HEADING.fullmatch(tag) or tag in BLOCKS:
            self.pieces.append("\n\n")

    def handle_data(self, data: str) -> None:
        if self._is_title:
            self.title.append(data)
        if self._skipping:
            return
        text = data if self._is_code else re.sub(r"\s+", " ", data)
        is_at_start = not self.pieces or self.pieces[-1].endswith(("\n", "# ", "- "))
        self.pieces.append(text.lstrip() if is_at_start and not self._is_code else text)


CONVERTERS: dict[str, Callable[[bytes], Page]] = {
    ".md": _convert_markdown,
    ".pdf": _convert_pdf,
    ".html": _convert_html,
    ".htm": _convert_html,
}


def is_convertible(path: Path) -> bool:
    return path.suffix.lower() in CONVERTERS
