"""Images with a few words, in rows: as HTML, for what is hovered or selected on a map."""

from __future__ import annotations

from collections.abc import Sequence

from facog_lab.plots import theme


def strip(parts: Sequence[str]) -> str:
    """Parts in a row of fixed height, so that nothing below it moves."""
    style = "display:flex;flex-wrap:wrap;gap:10px;align-items:center;min-height:104px;padding:3px 0"
    return f'<div style="{style}">{"".join(parts)}</div>'


def note(text: str) -> str:
    """A few words, which are HTML already."""
    return f'<div style="min-width:150px;line-height:1.4">{text}</div>'


def picture(uri: str, side: int, alt: str) -> str:
    """An image of so many pixels, with a text for those who cannot see it."""
    style = f"width:{side}px;height:{side}px;object-fit:contain;image-rendering:pixelated"
    return f'<img src="{uri}" alt="{alt}" style="{style}">'


def parent(uri: str, weight: float, side: int, name: str) -> str:
    """A parent's image, its weight as a bar and as a number."""
    bar = f"width:{weight:.1%};height:6px;background:{theme.BLUE}"
    track = f'<div style="background:{theme.FAINT}"><div style="{bar}"></div></div>'
    image = picture(uri, side, f"parent of class {name}, weight {weight:.3f}")
    return f'<figure style="margin:0;text-align:center">{image}{track}{weight:.3f}</figure>'
