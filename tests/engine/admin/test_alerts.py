"""The alert rules in docs/ ask for series and labels that the page of /metrics has."""

import re
from pathlib import Path

import pytest
from prometheus_client import generate_latest

from engine import metrics as m
from engine.admin.collector import make_registry
from tests.engine.admin.test_collector import build

RULES = Path(__file__).resolve().parents[3] / "docs" / "alerts.yml"
TOPICS = ("drift_psi", "alerts_total", "unscored", "label_lag", "merchants_unseen", "stand_in")
_ALERT = re.compile(r"^      - alert: (\w+)\n((?:        .*\n|$)+)", re.MULTILINE)


def _alerts() -> dict[str, str]:
    """Return the body of each alert by name."""
    return dict(_ALERT.findall(RULES.read_text(encoding="utf-8")))


def _expression(body: str) -> str:
    return re.split(r"\n        (?:for|labels|annotations):", body.partition("expr: ")[2])[0]


@pytest.fixture(scope="module")
def samples() -> dict[str, set[str]]:
    """Return the label pairs of every series on the page of an engine in which all happened."""
    metrics = m.Metrics(build())
    metrics.drift = lambda: {"score": 0.2, "amount": 0.1}
    text = generate_latest(make_registry(metrics)).decode()
    found: dict[str, set[str]] = {}
    for name, labels in re.findall(r"^(de39_\w+)(?:\{(.*)\})? ", text, re.MULTILINE):
        found.setdefault(name, set()).update(re.findall(r'\w+="[^"]*"', labels))
    return found


def test_every_series_and_label_is_on_the_page(samples: dict[str, set[str]]) -> None:
    """Names are whole, and what a selector names is a value that the label can have."""
    alerts = _alerts()
    assert len(alerts) > 12
    for alert, body in alerts.items():
        asked = re.findall(r"(de39_\w+)(?:\{([^}]*)\})?", _expression(body))
        assert asked, alert
        for name, selector in asked:
            assert name in samples, f"{alert}: {name}"
            for label, _, values in re.findall(r'(\w+)(=~|!=|=)"([^"]*)"', selector):
                pairs = {f'{label}="{value}"' for value in values.split("|")}
                assert pairs <= samples[name], f"{alert}: {selector}"


def test_every_alert_says_what_to_do() -> None:
    """A summary, a severity, and an expression with balanced brackets."""
    for alert, body in _alerts().items():
        assert re.search(r"labels: \{severity: (page|warning|info)\}", body), alert
        assert re.search(r"summary: [A-Z].{20,}[.?]$", body, re.MULTILINE), alert
        expression = _expression(body)
        assert all(expression.count(a) == expression.count(b) for a, b in ("()", "[]", "{}"))


@pytest.mark.parametrize("topic", TOPICS)
def test_what_is_to_be_watched_has_an_alert(topic: str) -> None:
    """Drift, alert rate, payments without a score, labels, merchants, the stand-in."""
    assert any(topic in _expression(body) for body in _alerts().values())
