"""Boxes, words and arrows of an SVG. Nothing in it depends on fonts of the machine that draws."""

from __future__ import annotations

from html import escape

INK, SOFT, PAPER, LINE = "#1f2933", "#5b6773", "#ffffff", "#c8d0d8"
TINTS = {
    "plain": "#f4f6f8",
    "green": "#d9f2e3",
    "blue": "#dcebfb",
    "yellow": "#fdf1cf",
    "red": "#fbdcd9",
    "gray": "#e6eaee",
}
_SANS = "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', Arial, sans-serif"
_MONO = "ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace"
_WIDTHS = {"mono": 0.61, "sans": 0.56, "bold": 0.62}
"""How wide a letter is at most on average, in heights: enough to see that words fit."""


class Drawing:
    """A picture of `width` points, as high as what is on it. `title` says what it shows, for those
    who can't see it."""

    def __init__(self, width: int, title: str, *, paper: str = PAPER) -> None:
        self.width, self.title, self.paper = width, title, paper
        self.bottom = 0
        self._pieces: list[str] = []

    def box(self, x: int, y: int, width: int, height: int, tint: str = "plain") -> None:
        self._reach(x + width, y + height)
        self._pieces.append(
            f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="6" '
            f'fill="{TINTS.get(tint, tint)}" stroke="{LINE}"/>'
        )

    def words(
        self,
        x: int,
        y: int,
        text: str,
        *,
        kind: str = "sans",
        size: int = 14,
        ink: str = INK,
        middle: bool = False,
        room: int | None = None,
    ) -> None:
        """`y` is the line that letters stand on. Words that don't fit into `room` are an error."""
        width = round(len(text) * size * _WIDTHS[kind])
        if width > (room if room is not None else self.width):
            raise ValueError(f"{text!r} is wider than its room")
        self._reach(x + (width // 2 if middle else width), y + size // 3)
        family = _MONO if kind == "mono" else _SANS
        weight = ' font-weight="600"' if kind == "bold" else ""
        anchor = ' text-anchor="middle"' if middle else ""
        self._pieces.append(
            f'<text x="{x}" y="{y}" font-family="{family}" font-size="{size}" fill="{ink}"'
            f'{weight}{anchor} xml:space="preserve">{escape(text, quote=False)}</text>'
        )

    def arrow(self, x: int, y: int, to_x: int, to_y: int) -> None:
        """Straight, down or to the right."""
        head = (
            f"M{to_x - 4} {to_y - 6}L{to_x} {to_y}L{to_x + 4} {to_y - 6}"
            if x == to_x
            else f"M{to_x - 6} {to_y - 4}L{to_x} {to_y}L{to_x - 6} {to_y + 4}"
        )
        self._pieces.append(
            f'<path d="M{x} {y}L{to_x} {to_y}{head}" fill="none" stroke="{SOFT}" '
            f'stroke-width="1.5"/>'
        )

    def dot(self, x: int, y: int, radius: int, ink: str) -> None:
        self._pieces.append(f'<circle cx="{x}" cy="{y}" r="{radius}" fill="{ink}"/>')

    def _reach(self, right: int, bottom: int) -> None:
        if right > self.width:
            raise ValueError(f"{self.title}: something reaches to {right} of {self.width}")
        self.bottom = max(self.bottom, bottom)

    def render(self) -> str:
        height = self.bottom + 16
        size = f'width="{self.width}" height="{height}" viewBox="0 0 {self.width} {height}"'
        lines = [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">',
            f"<title>{escape(self.title)}</title>",
            f'<rect width="{self.width}" height="{height}" rx="8" fill="{self.paper}"/>',
            *self._pieces,
            "</svg>",
        ]
        return "\n".join(lines) + "\n"
