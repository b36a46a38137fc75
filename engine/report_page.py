"""One HTML page with its tables and plots inside: no script, no file beside it, no address.

What the reports of backtests and models share. Plots are SVG; the same input gives the same bytes.
"""

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

WIDTH = 860
COLORS = ("#8a8f98", "#1c6dd0", "#c8372d")
_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;color:#1d2129}"
    "table{border-collapse:collapse;margin:1rem 0}td,th{padding:.2rem .7rem;text-align:right}"
    "td:first-child,th:first-child,td.t{text-align:left}tr:nth-child(even){background:#f4f5f7}"
    "th{border-bottom:2px solid #1d2129}svg{display:block;margin:1rem 0}"
)
_PLOT_HEIGHT, _LEFT, _BELOW, _ABOVE = 300, 60, 40, 10
_TICKS = 5


class Curve(NamedTuple):
    """Points of one line of a plot, in order."""

    name: str
    xs: Sequence[float]
    ys: Sequence[float]
    color: str


def page(title: str, parts: Sequence[str]) -> str:
    """Return the page of HTML ``parts`` under a title."""
    head = [
        f"<!doctype html><meta charset=utf-8><title>{escape(title)}</title>",
        f"<style>{_STYLE}</style><h1>{escape(title)}</h1>",
    ]
    return "\n".join([*head, *parts]) + "\n"


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a table; underscores of the head become blanks."""
    if not rows:
        return "<p>None.</p>"
    top = "".join(f"<th>{escape(name.replace('_', ' '))}" for name in head)
    body = "".join("<tr>" + "".join(f"<td>{escape(str(c))}" for c in row) for row in rows)
    return f"<table><tr>{top}{body}</table>"


def svg(height: int, inner: str) -> str:
    """Return a drawing of the page's width."""
    return f'<svg width="{WIDTH}" height="{height}" font-family="system-ui">{inner}</svg>'


def plot(
    curves: Sequence[Curve],
    across: str,
    upwards: str,
    x_most: float,
    y_most: float = 1.0,
    y_ticks: Sequence[str] = (),
) -> str:
    """Draw curves over 0 to ``x_most`` and 0 to ``y_most``; what lies outside is cut off.

    ``y_ticks`` are six texts beside the height, in place of its numbers.
    """
    x_most, y_most = x_most or 1.0, y_most or 1.0
    wide, high = WIDTH - _LEFT - 20, _PLOT_HEIGHT - _BELOW - _ABOVE
    bottom = _PLOT_HEIGHT - _BELOW

    def place(x: float, y: float) -> str:
        x, y = min(max(x / x_most, 0.0), 1.0), min(max(y / y_most, 0.0), 1.0)
        return f"{_LEFT + x * wide:.1f},{bottom - y * high:.1f}"

    parts = [f'<path d="M{_LEFT},{_ABOVE}V{bottom}H{_LEFT + wide}" fill="none" stroke="#1d2129"/>']
    for tick in range(_TICKS + 1):
        x, y = _LEFT + wide * tick / _TICKS, bottom - high * tick / _TICKS
        parts.append(_text(x - 10, bottom + 16, f"{x_most * tick / _TICKS:.3g}"))
        parts.append(_text(4, y + 4, y_ticks[tick] if y_ticks else f"{y_most * tick / _TICKS:.3g}"))
    for number, curve in enumerate(curves):
        points = " ".join(place(x, y) for x, y in zip(curve.xs, curve.ys, strict=True))
        parts.append(
            f'<polyline points="{points}" fill="none" stroke="{curve.color}" stroke-width="1.5"/>'
        )
        parts.append(_text(_LEFT + wide - 230, _ABOVE + 16 * (number + 1), curve.name, curve.color))
    parts.append(_text(_LEFT + wide / 2 - 60, _PLOT_HEIGHT - 6, across))
    parts.append(_text(_LEFT + 8, _ABOVE + 10, upwards))
    return svg(_PLOT_HEIGHT, "".join(parts))


def bars(rows: Sequence[tuple[str, float]], color: str = COLORS[1]) -> str:
    """Draw one bar a row, the longest over the whole width."""
    most = max((value for _, value in rows), default=0.0) or 1.0
    parts = []
    for number, (name, value) in enumerate(rows):
        y, wide = 4 + number * 22, max(value, 0.0) * (WIDTH - 280) / most
        parts.append(_text(0, y + 13, name))
        parts.append(f'<rect x="180" y="{y}" width="{wide:.1f}" height="16" fill="{color}"/>')
        parts.append(_text(186 + wide, y + 13, f"{value:.4g}"))
    return svg(8 + 22 * max(len(rows), 1), "".join(parts))


def _text(x: float, y: float, text: str, color: str = "#1d2129") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="12" fill="{color}">{escape(text)}</text>'
