"""Rules of a running switch: reload under load, modes, lists, snoozes, SIGHUP."""

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from engine.events import event_record
from engine.partition import open_partition
from engine.rule_events import apply_rule_events
from engine.rules.language import parse
from engine.rules.program import program_from_file
from engine.state import Bounds
from engine.zones import zone_table
from ledger.commit import CommitJob, Committer
from ledger.journal import Blob, BlobKind
from ledger.record import Kind
from tests.support.commands import de39
from tests.system.link import Fields, payment
from tests.system.process import PATIENT, Answer, Card, Switch, eventually

_FILE = """
list bad terminal =
rule R01 pre decline(59) "blocked category" when mcc == 7995
rule R02 pre decline(62) "bad terminal" when terminal in @bad
rule R03 pre shadow decline(65) "watched" when amount >= 50.00
"""
_TWO = (
    'rule A pre tag a "a" when amount >= 0.00 rule B pre decline(59) "b" when mcc == 7995',
    'rule A pre decline(57) "a" when mcc == 7995 rule B pre tag b "b" when amount >= 0.00',
)


@pytest.fixture(scope="module")
def switch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Switch]:
    """Run a switch with a rule file of its own."""
    folder = tmp_path_factory.mktemp("rules")
    (folder / "own.rules").write_text(_FILE, encoding="utf-8")
    more = '[scoring]\nmodel = "none"\n[rules]\nfile = "own.rules"\n'
    with Switch(folder, ('dialect = "iso87-bin"\n' + PATIENT,), more) as running:
        yield running.start()
        assert running.stop() == 0
        assert "Traceback" not in running.log()


def _pay(switch: Switch, card: Card, amount_minor: int = 1_000, **changes: str) -> str:
    with switch.link() as link:
        return link.ask(payment(card.pan, amount_minor, **changes))["39"]


def _post(switch: Switch, path: str, **body: object) -> Answer:
    return switch.call("POST", f"/v1/{path}", body, {"X-Operator": "ann"})


def _restore(switch: Switch) -> None:
    assert _post(switch, "rules/reload", reason="end of a test").status == 200


def _mode(switch: Switch, rule: str) -> str:
    rules = switch.call("GET", "/v1/rules").json["rules"]
    return next(row["mode"] for row in rules if row["rule"] == rule)


class _Traffic(threading.Thread):
    """Asks in waves of 20 until told to stop; notes every answer and how long it took."""

    def __init__(self, switch: Switch, card: Card) -> None:
        super().__init__()
        self._switch, self._pan = switch, card.pan
        self._ended = threading.Event()
        self.seen: list[Fields] = []
        self.waits_ms: dict[str, list[float]] = {"quiet": [], "reloads": []}
        self.phase = "quiet"

    def run(self) -> None:
        """Ask and note."""
        with self._switch.link() as link:
            while not self._ended.is_set():
                phase, sent = self.phase, time.perf_counter()
                link.send(*(payment(self._pan, 1, de18="7995") for _ in range(20)))
                for _ in range(20):
                    self.seen.append(link.receive())
                    self.waits_ms[phase].append((time.perf_counter() - sent) * 1000)

    def end(self) -> None:
        """Stop after the wave that is under way."""
        self._ended.set()
        self.join(30)

    def p99_ms(self, phase: str) -> float:
        """Return the wait that one answer in a hundred of the phase exceeds."""
        waits = sorted(self.waits_ms[phase])
        return waits[len(waits) * 99 // 100] if waits else 0.0


def test_reloads_under_load_lose_nothing_and_mix_nothing(
    switch: Switch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Sets change while payments come: each is answered once, by the set of the last record.

    ``DE39_RELOADS=1000`` makes it a long run, with stretches without reloads between, and prints
    the 99th percentile of the wait for an answer with and without.
    """
    rounds = int(os.environ.get("DE39_RELOADS", "60"))
    is_long = "DE39_RELOADS" in os.environ
    card = switch.open_card()
    traffic, swaps = _Traffic(switch, card), []
    seen = traffic.seen
    traffic.start()
    for n in range(rounds):
        if is_long and n % 100 == 0:
            traffic.phase, until = "quiet", len(seen) + 4_000
            assert eventually(lambda until=until: len(seen) >= until, 120)
        traffic.phase = "reloads"
        answer = _post(switch, "rules", text=_TWO[n % 2], reason=f"round {n}")
        assert answer.status == 200, answer
        swaps.append(answer.json["swap_us"])
    traffic.end()
    if is_long:
        with capsys.disabled():
            waits = ", ".join(f"{name} {traffic.p99_ms(name):.2f}" for name in traffic.waits_ms)
            answers = ", ".join(f"{n} {len(w):,}" for n, w in traffic.waits_ms.items())
            sys.stdout.write(f"\np99 ms: {waits}; answers: {answers}; {rounds:,} reloads, "
                             f"swap {sorted(swaps)[rounds // 2]:.0f} us median\n")  # fmt: skip
    _restore(switch)
    codes = {f"{program_from_file(parse(text)).version:08x}": code
             for text, code in zip(_TWO, ("59", "57"), strict=True)}  # fmt: skip
    told = switch.call("GET", f"/v1/authorizations?account={card.account}&limit=5").json
    for row in told["authorizations"]:
        assert {rule["rule"] for rule in row["rules"]} == {"A", "B"}, "named by the set of then"
    in_force, decided = "", []
    for row in switch.records():
        if row["kind"] == "rules":
            in_force = row["rules_version"]
        elif row["kind"] == "authorize" and row["card"] == card.number:
            assert row["rules_version"] == in_force
            decided.append(row["response"])
            if in_force in codes:
                assert row["response"] == codes[in_force]
    assert len(seen) == len(decided)
    assert sorted(answer["39"] for answer in seen) == sorted(decided)
    assert len(swaps) == rounds


def test_a_bad_file_never_replaces_a_good_one(switch: Switch) -> None:
    """A set that does not compile is refused with its place, by API and by SIGHUP."""
    before = switch.call("GET", "/v1/rules").json["sha256"]
    answer = _post(switch, "rules", text="rule R pre declin(59)")
    assert (answer.status, answer.json["error"]["field"]) == (400, "text")
    assert (
        "1:12: expected a mode (active, shadow, off) or an action"
        in answer.json["error"]["message"]
    )
    answer = _post(switch, "rules", text="# nothing left\nlist bad terminal =")
    assert (answer.status, "holds no rules" in answer.body) == (400, True)
    file = switch.config.parent / "own.rules"
    file.write_text("rule broken", encoding="utf-8")
    switch.send_signal(signal.SIGHUP)
    assert eventually(lambda: "rules.refused" in switch.log())
    assert switch.call("GET", "/v1/rules").json["sha256"] == before
    file.write_text(_FILE + "# a remark changes no meaning\n", encoding="utf-8")
    switch.send_signal(signal.SIGHUP)
    assert eventually(lambda: switch.log().count("rules.unchanged") >= 1)
    assert switch.call("GET", "/v1/rules").json["sha256"] == before


def test_a_signal_takes_nothing_back(switch: Switch) -> None:
    """SIGHUP for something else leaves modes and sets of operators; a changed file is taken."""
    file = switch.config.parent / "own.rules"
    file.write_text(_FILE, encoding="utf-8")
    _restore(switch)
    assert switch.call("PATCH", "/v1/rules/R01", {"mode": "shadow"}).status == 200

    def hang_up(event: str) -> None:
        count = switch.log().count(event)
        switch.send_signal(signal.SIGHUP)
        assert eventually(lambda: switch.log().count(event) > count)

    hang_up("rules.unchanged")
    assert _mode(switch, "R01") == "shadow"
    sha256 = _post(switch, "rules", text=_TWO[0]).json["sha256"]
    hang_up("rules.unchanged")
    assert switch.call("GET", "/v1/rules").json["sha256"] == sha256
    file.write_text(_FILE.replace("7995", "7996"), encoding="utf-8")
    hang_up("rules.applied")
    assert _mode(switch, "R01") == "active"
    file.write_text(_FILE, encoding="utf-8")
    hang_up("rules.applied")


def test_a_watched_file_is_taken_when_it_stands_still(tmp_path: Path) -> None:
    """Another file is put in force by itself; one that does not compile is told and left."""
    file = tmp_path / "own.rules"
    file.write_text(_FILE, encoding="utf-8")
    more = '[scoring]\nmodel = "none"\n[rules]\nfile = "own.rules"\nwatch_s = 1\n'
    with Switch(tmp_path, ('dialect = "iso87-bin"\n' + PATIENT,), more) as switch:
        switch.start()
        card = switch.open_card()
        assert _pay(switch, card, 100, de18="7995") == "59"
        file.write_text(_FILE.replace("7995", "7996"), encoding="utf-8")
        assert eventually(lambda: "rules.applied" in switch.log())
        assert _pay(switch, card, 100, de18="7995") == "00"
        file.write_text("rule R01 pre", encoding="utf-8")
        assert eventually(lambda: "own.rules:1:13: expected an action" in switch.log())
        assert _pay(switch, card, 100, de18="7996") == "59"
        assert switch.stop() == 0


def test_what_is_refused_names_the_field(switch: Switch, tmp_path: Path) -> None:
    """Values out of range, reasons and names that could be card numbers, bytes that are no text."""
    body = {"card": 0, "reason": "x"}
    answer = _post(switch, "rules/R01/snooze", **body)
    assert (answer.status, answer.json["error"]["field"]) == (400, "card")
    answer = _post(switch, "rules/R01/snooze", card=1, ttl_s=-1)
    assert (answer.status, answer.json["error"]["field"]) == (400, "ttl_s")
    answer = switch.call("PATCH", "/v1/rules/R01", {"mode": "of"})
    assert answer.json["error"]["message"] == "mode: expected active, shadow or off"
    answer = _post(switch, "lists/bad", change="add", values=["T1", 5])
    assert (answer.status, answer.json["error"]["field"]) == (400, "values[1]")
    for reason in ("4111111111111111 called", "of 4111 1111 1111 1111"):
        answer = _post(switch, "rules/R01/snooze", card=1, reason=reason)
        assert (answer.status, answer.json["error"]["field"]) == (400, "reason")
    body = {"change": "add", "values": ["T1"], "type": "terminal"}
    assert _post(switch, "lists/L4111111111111111", **body).status == 404
    where = ("--http", switch.http, "--data", switch.data)
    file = tmp_path / "latin.rules"
    file.write_bytes(b"# caf\xe9\n")
    code, _, err = de39("rules", "apply", file, *where)
    assert (code, err) == (78, f"de39: error: {file}:1:6: not UTF-8\n")
    file.write_text("id,pan\n", encoding="utf-8")
    code, _, err = de39("rules", "apply", file, *where)
    assert (code, err.startswith(f"de39: error: {file}:1:1: expected")) == (78, True)


def test_modes_change_by_command_and_survive_a_restart(switch: Switch) -> None:
    """Promote, demote and off take effect with the next request; the journal remembers."""
    card = switch.open_card()
    where = ("--http", switch.http, "--data", switch.data)
    assert _pay(switch, card, 5_000) == "00"
    code, out, err = de39("rules", "promote", "R03", "--why", "it is good", "--json", *where)
    assert code == 0, err
    assert json.loads(out)["before"] == "shadow"
    assert _pay(switch, card, 5_000) == "65"
    assert de39("rules", "demote", "R01", "--off", *where)[0] == 0
    assert _pay(switch, card, 100, de18="7995") == "00"
    assert de39("rules", "promote", "R9", *where)[0] == 1
    switch.stop()
    switch.start()
    assert (_mode(switch, "R01"), _mode(switch, "R03")) == ("off", "active")
    assert _pay(switch, card, 5_000) == "65"
    _restore(switch)
    assert (_mode(switch, "R01"), _mode(switch, "R03")) == ("active", "shadow")


def test_an_authorization_tells_the_rules_of_then(switch: Switch) -> None:
    """In the modes that they had, whatever came later, and those past the bits of a record too."""
    card = switch.open_card()

    def told() -> list[dict[str, str]]:
        path = f"/v1/authorizations?account={card.account}&limit=3"
        return [row["rules"] for row in switch.call("GET", path).json["authorizations"]]

    assert _pay(switch, card, 5_000) == "00"
    assert switch.call("PATCH", "/v1/rules/R03", {"mode": "active"}).status == 200
    assert _pay(switch, card, 5_000) == "65"
    _restore(switch)
    many = "".join(f'rule X{n} pre tag x "x" when amount > {900 + n}.00\n' for n in range(130))
    assert _post(switch, "rules", text=many + _FILE).status == 200
    assert _pay(switch, card, 100, de18="7995") == "59"
    _restore(switch)
    rules = [[(rule["rule"], rule["mode"]) for rule in row] for row in told()]
    assert rules == [[("R01", "active")], [("R03", "active")], [("R03", "shadow")]]


def test_lists_change_while_serving(switch: Switch, tmp_path: Path) -> None:
    """Entries count from the next request on, survive a restart, and leave when removed."""
    card = switch.open_card()
    where = ("--http", switch.http, "--data", switch.data)
    assert _pay(switch, card, 100, de41="EVIL0001") == "00"
    assert de39("rules", "list", "add", "bad", "EVIL0001", "--why", "seen", *where)[0] == 0
    assert _pay(switch, card, 100, de41="EVIL0001") == "62"
    file = tmp_path / "bad.txt"
    file.write_text("\ufeffEVIL0002 # two\r\n\r\nTOOLONGNAME\r\n", encoding="utf-8")
    code, _, err = de39("rules", "list", "load", "bad", file, *where)
    assert code == 2
    assert f"{file}:3: 'TOOLONGNAME' is no terminal; nothing was changed" in err
    file.write_text("".join(f"T{n:07d}\n" for n in range(20_000)), encoding="utf-8")
    code, out, err = de39("rules", "list", "load", "bad", file, "--ttl", "7d", "--json", *where)
    assert code == 0, err
    assert json.loads(out)["entries"] == 20_001
    assert _pay(switch, card, 100, de41="T0019999") == "62"
    switch.kill()
    switch.start()
    where = ("--http", switch.http, "--data", switch.data)
    assert _pay(switch, card, 100, de41="T0000000") == "62"
    assert de39("rules", "list", "remove", "bad", "EVIL0001", *where)[0] == 0
    assert _pay(switch, card, 100, de41="EVIL0001") == "00"
    assert de39("rules", "list", "remove", "bad", "--every", *where)[0] == 0
    assert _pay(switch, card, 100, de41="T0000000") == "00"
    code, _, err = de39("rules", "list", "show", "bda", *where)
    assert (code, "no list is named 'bda'; did you mean 'bad'?" in err) == (1, True)
    stated = _FILE.replace("terminal =", 'terminal = "T1", "T2"')
    assert _post(switch, "rules", text=stated).status == 200
    assert de39("rules", "list", "show", "bad", *where)[1].splitlines() == [
        "T1  in the file",
        "T2  in the file",
    ]
    gone = _post(switch, "lists/bad", change="remove", values=["T2", "T3"]).json
    assert (gone["entries_before"], gone["entries"], gone["stay_in_file"]) == (0, 0, 1)
    _restore(switch)
    conflict = _post(switch, "lists/bad", change="add", values=["DE"], type="country")
    assert conflict.status == 409
    listed = [row for row in switch.records() if row["kind"] == "list"]
    assert {row["operator"] for row in listed} - {"ann"}


def test_snooze_spares_one_card(switch: Switch) -> None:
    """A snoozed rule leaves that card alone and no other, until it is woken."""
    one, other = switch.open_card(), switch.open_card()
    body = {"card": one.number, "ttl_s": 3600, "reason": "a good customer"}
    assert _post(switch, "rules/R01/snooze", **body).status == 200
    assert _pay(switch, one, 100, de18="7995") == "00"
    assert _pay(switch, other, 100, de18="7995") == "59"
    assert _post(switch, "rules/R01/snooze", **(body | {"ttl_s": 0})).status == 200
    assert _pay(switch, one, 100, de18="7995") == "59"


def test_a_rule_reads_the_clock_of_the_card(switch: Switch) -> None:
    """Twelve hours from Asia/Tokyo it is no night there; the zone survives a crash."""
    now = datetime.now(ZoneInfo("Asia/Tokyo"))
    begin, end = (f"{now + timedelta(hours=hours):%H:00}" for hours in (-3, 4))
    text = f'rule N pre decline(57) "n" when time between {begin} and {end}'
    assert _post(switch, "rules", text='zone "America/Montevideo"\n' + text).status == 200
    card, other = switch.open_card(), switch.open_card()
    where = ("--http", switch.http, "--data", switch.data)
    assert _pay(switch, card) == _pay(switch, other) == "00"
    code, out, err = de39("card", "set", card.number, "--zone", "Asia/Tokyo", "--json", *where)
    assert (code, json.loads(out)["zone"]) == (0, "Asia/Tokyo"), err
    assert _pay(switch, card) == "57"
    switch.kill()
    switch.start()
    assert (_pay(switch, card), _pay(switch, other)) == ("57", "00")
    told = switch.call("GET", "/v1/rules").json["zones"]
    assert told == zone_table().version
    where = ("--http", switch.http, "--data", switch.data)
    assert de39("card", "set", card.number, "--zone", "", *where)[0] == 0
    assert _pay(switch, card) == "00"
    _restore(switch)


def test_precision_comes_with_the_labels(switch: Switch) -> None:
    """A fraud and a good payment that a shadow rule hit: one of two is its precision."""
    card = switch.open_card()
    for amount_minor in (6_000, 7_000, 1_000):
        assert _pay(switch, card, amount_minor) == "00"
    found = switch.call("GET", f"/v1/authorizations?account={card.account}").json["authorizations"]
    labels = [
        {"record": row["record"], "label": "fraud" if row["amount_minor"] == 6_000 else "genuine"}
        for row in found
    ]
    assert len(labels) == 3
    assert _post(switch, "labels", labels=labels).status == 200
    rules = {row["rule"]: row for row in switch.call("GET", "/v1/rules").json["rules"]}
    facts = ("labelled_hits", "frauds", "precision")
    assert [rules["R03"][name] for name in facts] == [2, 1, 0.5]
    assert [rules["R01"][name] for name in facts] == [0, 0, None]
    of_rule = 'de39_rule_labelled_total{action="decline (shadow)",label="%s",rule="R03"}'
    assert [switch.metric(of_rule % label) for label in ("fraud", "genuine")] == [1, 1]
    where = ("--http", switch.http, "--data", switch.data)
    assert "frauds 50.0% of 2" in de39("rules", "show", *where)[1]


def test_what_each_rule_costs_is_measured_beside_the_traffic(switch: Switch) -> None:
    """Some seconds after payments came: in the metrics and for operators, of rules that run."""
    card = switch.open_card()
    where = ("--http", switch.http, "--data", switch.data)
    assert de39("rules", "demote", "R01", "--off", *where)[0] == 0

    def told() -> dict[str, float | None]:
        rows = switch.call("GET", "/v1/rules").json["rules"]
        return {row["rule"]: row["cost_ns"] for row in rows}

    def is_measured() -> bool:
        with switch.link() as link:
            link.send(*(payment(card.pan, 1) for _ in range(100)))
            for _ in range(100):
                link.receive()
        return told()["R03"] is not None

    assert eventually(is_measured, 30)
    costs = told()
    assert costs["R01"] is None
    assert min(costs["R02"] or 0, costs["R03"] or 0) >= 0
    series = 'de39_rule_cost_seconds{action="decline (shadow)",rule="R03"}'
    assert switch.metric(series) == pytest.approx((costs["R03"] or 0) / 1e9)
    assert switch.metric("de39_rule_set_cost_seconds") >= 0
    assert " ns" in de39("rules", "show", *where)[1]
    _restore(switch)


def test_hits_and_precision_survive_a_crash_and_a_stop(switch: Switch) -> None:
    """From the journal alone, from a snapshot with records behind it, and from the last one."""
    facts = ("rule", "mode", "hits", "last_hit_s", "labelled_hits", "frauds", "precision")

    def told() -> list[list[object]]:
        rows = switch.call("GET", "/v1/rules").json["rules"]
        return [[row[name] for name in facts] for row in rows]

    card = switch.open_card()
    for end in (switch.kill, switch.kill, switch.stop):
        assert _pay(switch, card, 9_000) == "00"
        row = switch.call("GET", f"/v1/authorizations?account={card.account}&limit=1").json
        record = row["authorizations"][0]["record"]
        labels = [{"record": record, "label": "fraud"}]
        assert _post(switch, "labels", labels=labels).status == 200
        expected = told()
        watched = next(row for row in expected if row[0] == "R03")
        assert watched[2] > 0
        assert watched[5] > 0
        end()
        switch.start()
        assert told() == expected
        if end == switch.kill:
            assert switch.call("POST", "/v1/ledger/snapshot", {}).status == 202
            assert eventually(lambda: switch.metric("de39_ledger_snapshot_sequence") > 0)
    hits = 'de39_rule_hits_total{action="decline (shadow)",rule="R03"}'
    assert switch.metric(hits) == next(row[2] for row in told() if row[0] == "R03")


def test_a_start_with_another_table_of_zones_is_recorded(tmp_path: Path) -> None:
    """Once, and only of a set that reads a clock: from that record on the new table is read."""
    (tmp_path / "own.rules").write_text('rule A pre tag a "a" when local.hour < 6', "utf-8")
    more = '[scoring]\nmodel = "none"\n[rules]\nfile = "own.rules"\n'
    with Switch(tmp_path, ('dialect = "iso87-bin"\n' + PATIENT,), more) as switch:
        assert switch.start().stop() == 0
        before = [row["kind"] for row in switch.records()]
        other = [Blob(0, BlobKind.ZONES, b"2020a 00")]
        partition = open_partition(switch.data, Bounds(64, 64, 64, 256))
        committer = Committer(partition.store, lambda _: None, pytest.fail)
        event = event_record(Kind.ZONES, 1), other
        records, blobs = apply_rule_events([event], partition.state)
        committer.submit(CommitJob(records, 1, blobs))
        committer.close()
        partition.close()
        for _ in range(2):
            switch.start()
            assert switch.call("GET", "/v1/rules").json["zones"] == zone_table().version
            assert switch.stop() == 0
        rows = switch.records()
    assert [row["kind"] for row in rows] == [*before, "zones", "zones"]
    assert rows[-1]["operator"] == "start"
