"""A backtest for people: a table for the terminal and one HTML page with its plots inside."""

from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape
from typing import Any

from engine.report_page import COLORS, WIDTH, page, svg, table

_HEIGHT, _LEFT = 200, 60


def text_of(result: dict[str, Any], title: str) -> str:
    """Return the report for a terminal."""
    r = result
    known = f"of which {r['truth_known']:,} are known to be fraud or not"
    rate = f"{r['approval_rate_before']:.4%} -> {r['approval_rate_after']:.4%}"
    lines = [title, f"  payments        {r['payments']:,}, {known}: {r['frauds']:,} frauds"]
    lines.append(f"  approval rate   {rate}")
    for name in ("caught", "missed", "false_declines"):
        counts = " -> ".join(f"{r[f'{name}_{when}']:,}" for when in ("before", "after"))
        sums = " -> ".join(_money(r[f"{name}_{when}_minor"]) for when in ("before", "after"))
        label = "frauds " + name if name != "false_declines" else "false declines"
        lines.append(f"  {label:<15} {counts}   ({sums})")
    head = ("hits", "frauds", "precision", "refused", "frauds")
    widths = (7, 8, 9, 8, 8)
    columns = " ".join(f"{text:>{width}}" for text, width in zip(head, widths, strict=True))
    lines += ["", f"  {'rule':<12} {'mode':<7} {'action':<8} {columns}  share of all"]
    for rule in r["rules"]:
        precision = "-" if rule["precision"] is None else f"{rule['precision']:.1%}"
        lines.append(
            f"  {rule['rule']:<12} {rule['mode']:<7} {rule['action']:<8} {rule['hits']:>7,} "
            f"{rule['frauds']:>8,} {precision:>9} {rule['refused']:>8,} "
            f"{rule['refused_frauds']:>8,}  {rule['refused_share']:.4%}"
        )
    if r["changes"]:
        lines += ["", "  decided otherwise:"]
        lines += [f"    {c['before']} -> {c['after']}: {c['payments']:,}" for c in r["changes"]]
    lines += [f"  breaker tripped: {name}" for name in r["breakers_tripped"]]
    if "cpu_seconds" in r:
        lines += ["", f"  took {r['seconds']:.1f} s, {r['cpu_seconds']:.1f} s of one core"]
    if r["examples"]:
        lines += ["", "  examples:"]
    for e in r["examples"][:5]:
        lines.append(
            f"    record {e['record']}: {e['card']} {_money(e['amount_minor'])} {e['currency']} "
            f"mcc {e['mcc']}: {e['before']} -> {e['after']} {e['rule']}"
        )
    return "\n".join(lines) + "\n"


def html_of(result: dict[str, Any], title: str) -> str:
    """Return the report as one HTML page."""
    r = result
    facts = [
        ("payments", f"{r['payments']:,}", ""),
        ("frauds known", f"{r['frauds']:,}", ""),
        ("approval rate", f"{r['approval_rate_before']:.4%}", f"{r['approval_rate_after']:.4%}"),
    ]
    for name, label in (
        ("caught", "frauds caught"),
        ("missed", "frauds missed"),
        ("false_declines", "false declines"),
    ):
        pair = [f"{r[f'{name}_{when}']:,} ({_money(r[f'{name}_{when}_minor'])})"
                for when in ("before", "after")]  # fmt: skip
        facts.append((label, pair[0], pair[1]))
    columns = ("rule", "mode", "action", "hits", "frauds", "precision", "refused",
               "refused_frauds", "refused_genuine", "refused_minor")  # fmt: skip
    parts = [
        f"<p>Rule set {r['rules_version']}. Amounts are minor units divided by 100.</p>",
        table(("", "as decided", "with this set"), facts),
        "<h2>Refused payments a day</h2>",
        _lines(r["days"], ("refused_before", "refused_after")),
        "<h2>Frauds a day: all, caught before, caught after</h2>",
        _lines(r["days"], ("frauds", "caught_before", "caught_after")),
        "<h2>Rules</h2>",
        _bars(r["rules"]),
        table(columns, [[_cell(rule[c]) for c in columns] for rule in r["rules"]]),
        "<h2>Decided otherwise</h2>",
        table(
            ("before", "after", "payments"),
            [(c["before"], c["after"], f"{c['payments']:,}") for c in r["changes"]],
        ),
        "<h2>Examples</h2>",
    ]
    keys = tuple(r["examples"][0]) if r["examples"] else ()
    parts.append(table(keys, [[_cell(e[k]) for k in keys] for e in r["examples"]]))
    return page(title, parts)


def _lines(days: list[dict[str, int]], names: Sequence[str]) -> str:
    """Draw one line a name over the days; the scale begins at 0."""
    if not days:
        return "<p>No days.</p>"
    most = max(1, *(day[name] for day in days for name in names))
    step = (WIDTH - _LEFT) / max(len(days) - 1, 1)
    lines = []
    for name, color in zip(names, COLORS, strict=False):
        points = " ".join(
            f"{_LEFT + i * step:.1f},{_HEIGHT - 20 - day[name] * (_HEIGHT - 40) / most:.1f}"
            for i, day in enumerate(days)
        )
        lines.append(
            f'<polyline points="{points}" fill="none" stroke="{color}" stroke-width="1.5">'
            f"<title>{escape(name)}</title></polyline>"
        )
    first, last = (_day_text(days[i]["day"]) for i in (0, -1))
    axis = (
        f'<text x="0" y="24" font-size="12">{most:,}</text>'
        f'<text x="0" y="{_HEIGHT - 18}" font-size="12">0</text>'
        f'<text x="{_LEFT}" y="{_HEIGHT - 4}" font-size="12">{first}</text>'
        f'<text x="{WIDTH - 80}" y="{_HEIGHT - 4}" font-size="12">{last}</text>'
    )
    return svg(_HEIGHT, axis + "".join(lines))


def _bars(rules: list[dict[str, Any]]) -> str:
    """Draw each rule's hits as a bar: frauds first, then genuine, then unknown."""
    shown = [rule for rule in rules if rule["hits"]]
    most = max((rule["hits"] for rule in shown), default=1)
    rows = []
    for i, rule in enumerate(shown):
        y, x = 4 + i * 22, 130.0
        rows.append(f'<text x="0" y="{y + 13}" font-size="13">{escape(rule["rule"])}</text>')
        unknown = rule["hits"] - rule["frauds"] - rule["genuine"]
        for value, color in zip(
            (rule["frauds"], rule["genuine"], unknown), reversed(COLORS),
            strict=True,
        ):  # fmt: skip
            width = value * (WIDTH - 220) / most
            rows.append(
                f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="16" fill="{color}"/>'
            )
            x += width
        rows.append(f'<text x="{x + 6:.1f}" y="{y + 13}" font-size="12">{rule["hits"]:,}</text>')
    return svg(8 + 22 * max(len(shown), 1), "".join(rows))


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.2%}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _money(minor: int) -> str:
    return f"{minor // 100:,}.{minor % 100:02d}"


def _day_text(day: int) -> str:
    return datetime.fromtimestamp(day * 86_400, UTC).strftime("%Y-%m-%d")
