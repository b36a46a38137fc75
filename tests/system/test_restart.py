"""Stopping and starting again: behaviours 7, 10, 31 and 40."""

import signal
from collections.abc import Iterator

import numpy as np
import pytest

from bench.load_client import LoadRun, Plan, Source
from bench.load_result import Snapshot
from bench.reconcile import reconcile
from bench.switch_process import open_test_cards
from bench.workload import Workload
from engine.config import load_config
from ledger.recovery import scan_running
from tests.support.commands import de39
from tests.system.link import Fields, changed, payment, reversal
from tests.system.process import BIN, HEX, Card, Switch, eventually

_LISTENERS = ('dialect = "iso87-bin"', 'dialect = "iso87-hex"')


@pytest.fixture
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Switch]:
    """Make a switch that a test may stop and start."""
    with Switch(tmp_path_factory.mktemp("restart"), _LISTENERS) as switch:
        yield switch


class _History:
    """Messages of every kind with the bytes of their answers, and what is held after them."""

    def __init__(self, switch: Switch) -> None:
        self.card: Card = switch.open_card(limit_minor=10_000)
        self.lost = switch.open_card()
        switch.call("PATCH", f"/v1/cards/{self.lost.number}", {"status": "lost"})
        self.kept, self.gone = payment(self.card.pan, 3_000), payment(self.card.pan, 2_000)
        self.early = payment(self.card.pan, 500)
        self.asked: list[tuple[int, Fields]] = [
            (BIN, self.kept),
            (HEX, self.gone),
            (BIN, payment(self.card.pan, 9_000)),  # 51
            (HEX, payment(self.lost.pan)),  # 41
            (BIN, payment("4000000000000002")),  # 14
            (BIN, payment(self.card.pan, 0)),
            (BIN, reversal(self.gone)),
            (HEX, reversal(self.early)),  # an orphan
        ]
        self.answers = [_answer(switch, place, ask) for place, ask in self.asked]

    def check(self, switch: Switch) -> None:
        """Repeats get the same bytes, and nothing moves."""
        for (place, ask), answer in zip(self.asked, self.answers, strict=True):
            again = changed(ask, t=ask["t"][:3] + "1")
            assert _answer(switch, place, again) == answer
        with switch.link() as link:
            assert link.ask(changed(self.kept, de4=f"{3_001:012d}"))["39"] == "94"
        assert switch.held(self.card) == 3_000

    def finish(self, switch: Switch) -> None:
        """Reversals find their originals of before, and a reversed payment stays reversed."""
        with switch.link() as link:
            assert link.ask(reversal(self.kept))["39"] == "00"
            assert link.ask(self.early)["39"] == "12"
        assert switch.held(self.card) == 0
        assert switch.account(self.card)["available_minor"] == 10_000


def _answer(switch: Switch, place: int, ask: Fields) -> bytes:
    with switch.link(place) as link:
        link.send(ask)
        return link.receive_bytes()


def _is_whole(switch: Switch) -> bool:
    code, out, err = de39("ledger", "verify", "--data", switch.data)
    assert code == 0, out + err
    return code == 0


def test_behaviour_40_repeats_are_answered_after_a_clean_stop(own: Switch) -> None:
    """After SIGTERM and a start from the snapshot, twice, every repeat gets its first answer."""
    own.start()
    history = _History(own)
    for _ in range(2):
        last = own.metric("de39_ledger_last_sequence")
        assert own.stop() == 0
        own.start()
        assert own.metric("de39_ledger_last_sequence") == last > 0
        history.check(own)
        assert own.metric('de39_duplicates_total{kind="in_flight"}') == 0
    assert _is_whole(own)
    history.finish(own)
    assert own.stop() == 0


def test_behaviour_31_and_40_nothing_answered_is_lost_by_kill_9(own: Switch) -> None:
    """After SIGKILL right behind the last answer, journal alone and snapshot with tail restore."""
    own.start()
    history = _History(own)
    own.kill()
    own.start()
    history.check(own)
    assert own.stop() == 0
    own.start()
    late = payment(history.card.pan, 700)
    first = _answer(own, BIN, late)
    own.kill()
    own.start()
    assert _answer(own, BIN, changed(late, t="0101")) == first
    assert own.held(history.card) == 3_700
    with own.link() as link:
        assert link.ask(reversal(late))["39"] == "00"
    history.check(own)
    history.finish(own)
    assert _is_whole(own)


def test_behaviour_10_a_stop_under_traffic_loses_nothing(own: Switch) -> None:
    """SIGTERM amid load: exit 0, and answers and approvals in the ledger are the same set."""
    config = load_config(own.config)
    open_test_cards(config, 300, np.full(300, 10**12, np.int64))
    own.start()
    plan = Plan(in_flight=64, connections=3, seconds=20, repeat_share=0.05, reversal_share=0.05)
    orders = Workload(300, 500, 20, 1).orders()
    run = LoadRun(("127.0.0.1", own.ports[BIN][1]), Source(orders), plan)

    def stop_at_2000(seen: Snapshot) -> None:
        if seen.answered > 2_000:
            own.send_signal(signal.SIGTERM)

    result = run.run(stop_at_2000, every_s=0.02)
    assert own.wait() == 0
    assert result.summary["answered"] > 2_000
    records = np.concatenate([batch.records.copy() for batch in scan_running(own.data)])
    found = reconcile(result, records)
    assert found.ok, found.line()
    assert found.unseen.size == 0, found.line()
    assert "Traceback" not in own.log()
    assert _is_whole(own)


def test_behaviour_10_sigint_is_a_clean_stop_too(own: Switch) -> None:
    """Idle links are closed, the exit code is 0, and nobody listens any more."""
    own.start()
    card = own.open_card()
    with own.link() as link:
        assert link.ask(payment(card.pan))["39"] == "00"
        own.send_signal(signal.SIGINT)
        assert own.wait() == 0
        assert link.is_closed()
    with pytest.raises(ConnectionRefusedError):
        own.link()


def test_a_second_signal_ends_at_once_and_says_so(own: Switch) -> None:
    """It does not wait for what is being stopped; the lines that say why are written first."""
    own.start()
    card = own.open_card()
    with own.link() as link:
        assert link.ask(payment(card.pan))["39"] == "00"
        own.send_signal(signal.SIGTERM)
        own.send_signal(signal.SIGINT)
        assert own.wait() == 0
    log = own.log()
    assert "switch.signal_again" in log
    assert "Traceback" not in log
    own.start()
    assert own.held(card) == 1_000
    assert own.stop() == 0


def test_behaviour_07_an_answer_to_a_dead_link_waits_for_the_repeat(own: Switch) -> None:
    """Requests whose link was closed unread are in the ledger; repeats get their answers."""
    own.start()
    card = own.open_card()
    asks = [payment(card.pan, 10) for _ in range(50)]
    with own.link() as link:
        link.send(*asks)
    assert eventually(lambda: own.held(card) == 500)
    with own.link() as link:
        codes = {link.ask(changed(ask, t="0101"))["39"] for ask in asks}
    assert codes == {"00"}
    assert own.held(card) == 500
