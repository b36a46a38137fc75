"""docs/operations.md says what is served: every series, every route, every error code."""

import re
from pathlib import Path

import pytest

from engine.admin import api
from engine.admin.collector import metrics_table
from engine.admin.http import no_events
from engine.metrics import BuildInfo, Metrics
from tests.engine.admin.memory import MemoryOperations

PAGE = Path(__file__).parents[3] / "docs" / "operations.md"


@pytest.fixture(scope="module")
def page() -> str:
    """Return the page."""
    return PAGE.read_text(encoding="utf-8")


def test_the_metric_table_is_current(page: str) -> None:
    """The table in the page is the one that the code makes."""
    assert metrics_table() in page


def test_every_route_is_shown(page: str) -> None:
    """Each route of the application is called somewhere in the page."""
    application = api.make_application(
        "x" * 20, Metrics(BuildInfo("0", "3")), MemoryOperations(), no_events
    )
    shown = set(re.findall(r"localhost:8580(/[a-z0-9/]+)", page.lower()))
    for resource in application.router.resources():
        example = resource.canonical.replace("{account}", "a1").replace("{card}", "1")
        assert example in shown, f"{resource.canonical} is not on the page"


def test_every_series_named_in_the_text_exists(page: str) -> None:
    """Queries in the page use names that the engine serves."""
    served = {line.split("`")[1] for line in metrics_table().splitlines()[2:]}
    for name in re.findall(r"de39_[a-z_]+", page):
        assert name.removesuffix("_bucket") in served


def test_every_error_code_is_explained(page: str) -> None:
    """Each status that the API answers with has its row."""
    codes = {(status, code) for _, status, code in api._STATUS} | set(api._CODES.items())
    for status, code in codes | {(401, "unauthorized"), (500, "internal")}:
        assert f"| {status} | `{code}` |" in page
