"""What the site needs besides docs/: pages from elsewhere in the repository, and links that hold.

MkDocs calls the functions named `on_…`. A link to a page of the site leads to that page. A link to
anything else of the repository, a source file for instance, becomes its text: a site that may lie
anywhere can't know where the repository is.
"""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

_ROOT = Path(__file__).resolve().parents[1]
_LINK = re.compile(
    r"(?P<code>^ *(?P<fence>```+).*?^ *(?P=fence) *$|`[^`\n]+`)"
    r"|(?P<image>!?)\[(?P<text>(?:[^\]\[]|\[[^\]\[]*\])*)\]\((?P<target>[^)\s]+)\)",
    re.MULTILINE | re.DOTALL,
)


def list_moved() -> dict[str, str]:
    """Paths in the repository, and what the site calls them, where that is something else."""
    moved = {"README.md": "index.md", "docs/README.md": "documents.md"}
    for name in ("CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md"):
        if (_ROOT / name).exists():
            moved[name] = name.lower()
    moved["benchmarks/README.md"] = "benchmarks.md"
    for readme in sorted((_ROOT / "examples").glob("*/README.md")):
        moved[f"examples/{readme.parent.name}/README.md"] = f"examples/{readme.parent.name}.md"
    return moved


_MOVED = list_moved()
_ORIGINS = {page: origin for origin, page in _MOVED.items()}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that don't lie in docs/, each under its name on the site."""
    from mkdocs.structure.files import File, InclusionLevel

    listed = files.get_file_from_path("README.md")
    if listed is not None:
        files.remove(listed)
    in_nav = repr(config.nav)
    for origin, page in _MOVED.items():
        added = File.generated(config, page, content=(_ROOT / origin).read_text())
        files.append(added)
    for document in files.documentation_pages():
        if document.src_uri not in in_nav:  # the list of all documents leads there: test_links
            document.inclusion = InclusionLevel.NOT_IN_NAV
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let each link lead to a page of the site, or be its text."""
    if page.file.src_uri in ("index.md", "documents.md"):
        page.meta["hide"] = ["navigation"]  # it has no neighbours
    if page.file.src_uri.startswith("decisions/"):
        page.meta["search"] = {"boost": 0.2}  # who searches wants to know how first, then why
    return relink(markdown, page.file.src_uri)


def relink(markdown: str, page: str) -> str:
    """The text of a page with links as the site needs them. One that leads nowhere stays, so that
    the build fails."""
    origin = PurePosixPath(_ORIGINS.get(page, f"docs/{page}"))

    def replace_link(match: re.Match[str]) -> str:
        if match["code"] is not None or "://" in match["target"] or match["target"][0] == "#":
            return match[0]
        name, mark, anchor = match["target"].partition("#")
        path = os.path.normpath(origin.parent / name)
        target = _MOVED.get(path, path.removeprefix("docs/"))
        if path not in _MOVED and (path.endswith(".py") or not path.startswith("docs/")):
            return match["text"] if (_ROOT / path).exists() else match[0]
        relative = os.path.relpath(target, PurePosixPath(page).parent)
        return f"{match['image']}[{match['text']}]({relative}{mark}{anchor})"

    return _LINK.sub(replace_link, markdown)


def on_post_build(config: MkDocsConfig) -> None:
    """Put each document beside its page, as llms.txt names them."""
    site, documents = Path(config.site_dir), _ROOT / "docs"
    for document in documents.rglob("*.md"):
        (site / document.relative_to(documents)).write_bytes(document.read_bytes())
