"""Pages of reports: whole in themselves, texts escaped, points inside their plot."""

import re
from xml.etree import ElementTree as ET

from engine.report_page import COLORS, WIDTH, Curve, bars, page, plot, table


def _points(drawn: str) -> list[list[tuple[float, float]]]:
    """Return the points of each curve of a drawing, which must be well-formed."""
    ET.fromstring(drawn)
    return [
        [tuple(map(float, pair.split(","))) for pair in points.split()]
        for points in re.findall(r'<polyline points="([^"]*)"', drawn)
    ]


def test_curves_stand_where_their_points_say() -> None:
    """The corners of the scale are the corners of the plot; what lies outside is drawn on it."""
    drawn = plot(
        [
            Curve("a", (0.0, 1.0, 2.0), (0.0, 0.5, 1.0), COLORS[1]),
            Curve("b", (9.0,), (-3.0,), "red"),
        ],
        "x <&>",
        "y",
        2.0,
    )
    (first, middle, last), (outside,) = _points(drawn)
    assert first[0] < middle[0] < last[0] < WIDTH
    assert first[1] > middle[1] > last[1] > 0
    assert 2 * middle[0] == first[0] + last[0]
    assert outside == (last[0], first[1])
    assert "x &lt;&amp;&gt;" in drawn


def test_a_scale_of_nothing_draws() -> None:
    """No values and no height divide by nothing."""
    assert _points(plot([Curve("a", (0.0,), (0.0,), "red")], "", "", 0.0, 0.0)) == [[(60.0, 260.0)]]
    ET.fromstring(bars([]))
    ET.fromstring(bars([("a & b", 0.0)]))


def test_bars_are_as_long_as_their_values() -> None:
    """The longest fills the width, half of it half."""
    wide = [
        float(w) for w in re.findall(r'width="([\d.]+)" height="16"', bars([("a", 4), ("b", 2)]))
    ]
    assert wide[0] == 2 * wide[1] == WIDTH - 280


def test_pages_need_nothing_else() -> None:
    """No script, no address, and no text that could be one."""
    found = page("<script>", [table(("a_b",), [("<b>",)]), table((), [])])
    assert "<script" not in found
    assert "http" not in found
    assert "<th>a b<tr><td>&lt;b&gt;</table>" in found
    assert "<p>None.</p>" in found
