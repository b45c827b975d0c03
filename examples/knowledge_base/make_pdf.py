"""Makes PDFs of plain text, for the sample, tests and benchmarks: `make_pdf.py TEXT PDF`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

LINES_A_PAGE = 50
LINE_POINTS = 14
TOP_POINTS = 780
LEFT_POINTS = 60


def make_pdf(lines: Sequence[str], *, title: str, figure: bytes = b"") -> bytes:
    """A PDF of these lines, fifty a page, in Helvetica; Latin-1 only. `figure`, in the language of
    PDFs, is drawn on every page."""
    pages = [lines[start : start + LINES_A_PAGE] for start in range(0, len(lines), LINES_A_PAGE)]
    first_page = 5
    numbers = range(first_page, first_page + 2 * len(pages), 2)
    figure_number = first_page + 2 * len(pages)
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Count {len(pages)} "
        f"/Kids [{' '.join(f'{number} 0 R' for number in numbers)}] >>".encode(),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        b"<< /Title " + _quote(title) + b" >>",
    ]
    for number, page in zip(numbers, pages, strict=True):
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents {number + 1} 0 R "
            "/Resources << /Font << /F1 3 0 R >> "
            f"/XObject << /X1 {figure_number} 0 R >> >> >>".encode()
        )
        shown = b"".join(b"%s Tj T*\n" % _quote(line) for line in page)
        start = f"BT /F1 11 Tf {LINE_POINTS} TL {LEFT_POINTS} {TOP_POINTS} Td\n".encode()
        objects.append(_make_stream(start + shown + b"ET\n/X1 Do"))
    kind = b"/Type /XObject /Subtype /Form /BBox [0 0 595 842] "
    objects.append(_make_stream(figure, kind))
    return _assemble(objects)


def _make_stream(data: bytes, described: bytes = b"") -> bytes:
    return b"<< %s/Length %d >>\nstream\n%s\nendstream" % (described, len(data), data)


def _assemble(objects: Sequence[bytes]) -> bytes:
    data = bytearray(b"%PDF-1.4\n")
    offsets = []
    for number, body in enumerate(objects, 1):
        offsets.append(len(data))
        data += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = len(data)
    data += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    data += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    data += b"trailer\n<< /Size %d /Root 1 0 R /Info 4 0 R >>\n" % (len(objects) + 1)
    data += b"startxref\n%d\n%%%%EOF\n" % table
    return bytes(data)


def _quote(text: str) -> bytes:
    escaped = text.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")
    return b"(" + escaped.encode("latin-1", "replace") + b")"


if __name__ == "__main__":
    source, target = map(Path, sys.argv[1:])
    lines = source.read_text().splitlines()
    target.write_bytes(make_pdf(lines, title=lines[0]))
