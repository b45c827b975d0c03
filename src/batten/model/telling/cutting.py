"""Long texts cut in their middle: the beginning says where, the end says what."""

from __future__ import annotations

LINES_MAX = 200


def cut_middle(text: str, most: int) -> str:
    """Of more than so many characters the beginning and the end."""
    if len(text) <= most:
        return text
    left = len(text) - most
    return f"{text[: most // 2]}\n… ({left:,} characters more) …\n{text[-(most - most // 2) :]}"


def cut_lines(text: str) -> list[str]:
    """The lines; of too many the first and the last ones."""
    lines = text.split("\n")
    if len(lines) <= LINES_MAX:
        return lines
    half = LINES_MAX // 2
    return [*lines[:half], f"… ({len(lines) - 2 * half:,} lines more) …", *lines[-half:]]
