"""A switch whose disk is nearly full: it says so, and answers while there is room."""

import shutil
from pathlib import Path

import pytest

from tests.system.link import payment
from tests.system.process import PLAIN, Switch, eventually

_RESERVE_MAX = 1 << 40  # bytes


def test_a_disk_below_the_reserve_is_not_ready(tmp_path: Path) -> None:
    """``/readyz`` refuses with ``disk_has_room`` false; a payment is answered all the same."""
    if shutil.disk_usage(tmp_path).free >= _RESERVE_MAX:
        pytest.skip("more is free here than can be reserved")
    text = f"{PLAIN}[ledger]\nreserve_bytes = {_RESERVE_MAX}\n"
    with Switch(tmp_path, ('dialect = "iso87-bin"',), text) as switch:
        switch.start()
        card = switch.open_card(limit_minor=10_000)
        eventually(lambda: not switch.call("GET", "/readyz").json["checks"]["disk_has_room"])
        refused = switch.call("GET", "/readyz")
        assert refused.status == 503
        assert refused.json["checks"]["disk_answers"]
        with switch.link() as link:
            assert link.ask(payment(card.pan, 1_000))["39"] == "00"
        assert "de39_ledger_writing_seconds" in switch.call("GET", "/metrics").body
