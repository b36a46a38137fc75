"""What goes wrong around the switch: one clear line, the right exit code, nothing half done."""

import contextlib
import os
import re
import resource
import shutil
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.frames import test_pan
from engine.wire.dialect import DIALECT_FOLDER
from ledger.journal import HEADER_BYTES, PAGE_BYTES
from ledger.record import RECORD_BYTES
from ledger.segment import segment_path
from tests.support.commands import de39
from tests.system.link import changed, payment
from tests.system.process import PLAIN, Card, Switch, eventually, is_one_line

_RULE = 'rule R1 pre decline(59) "x" when amount > 1.00\nrule R2 pre declin(59) "y" when cnp\n'
_NO_RULES = '[rules]\nfile = "none"\n'
_NO_MODEL = '[scoring]\nmodel = "none"\n'


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a data folder with a card and 65 payments, of which 60 came together; stop cleanly."""
    path = tmp_path_factory.mktemp("faults")
    with Switch(path) as switch:
        switch.start()
        card = switch.open_card()
        with switch.link() as link:
            for _ in range(5):
                assert link.ask(payment(card.pan))["39"] == "00"
            link.send(*(payment(card.pan) for _ in range(60)))
            assert {link.receive()["39"] for _ in range(60)} == {"00"}
        assert switch.stop() == 0
    return path


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Iterator[Switch]:
    """Make a switch over a copy of that folder."""
    shutil.copytree(folder / "data", tmp_path / "copy" / "data")
    with Switch(tmp_path / "copy") as switch:
        yield switch


def _refused(switch: Switch, code: int) -> str:
    """Start the switch, expect its refusal, and return the line."""
    exit_code, stderr = switch.run_to_end()
    assert exit_code == code, stderr
    assert is_one_line(stderr), stderr
    (line,) = [line for line in stderr.splitlines() if line.startswith("de39: error: ")]
    return line


def test_a_data_folder_in_use_is_refused(switch: Switch, tmp_path: Path) -> None:
    """A second process on the folder exits 75 and names the first; the first is not disturbed."""
    second = Switch(tmp_path)
    second.data.symlink_to(switch.data)
    line = _refused(second, 75)
    assert str(switch.pid) in line
    code, _, stderr = de39("import", "/dev/null", "--data", switch.data)
    assert (code, str(switch.pid) in stderr) == (75, True)
    with switch.link() as link:
        assert link.is_alive()


@pytest.mark.parametrize("kind", ["listen", "http"])
def test_a_port_in_use_is_refused(tmp_path: Path, kind: str) -> None:
    """The exit code is 69 and the line has the address."""
    switch = Switch(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        text = switch.config.read_text(encoding="utf-8")
        before, section, after = text.partition(f"[{kind}]")
        switch.config.write_text(before + section + after.replace("127.0.0.1:0", address, 1))
        assert address in _refused(switch, 69)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("[rules]\nfil = 'none'\n" + _NO_MODEL, ["rules.fil", "unknown"]),
        ("[limits]\ncards_max = 0\n" + _NO_RULES + _NO_MODEL, ["limits.cards_max"]),
        ("[scorin]\n" + _NO_RULES, ["scorin"]),
        ("[rules\n", ["de39.toml", "line"]),
        ("[ledger]\nstore = 'paper'\n", ["ledger.store", "file"]),
        ("[log]\nlevel = 'loud'\n", ["log.level"]),
    ],
)
def test_a_bad_configuration_is_refused(tmp_path: Path, more: str, words: list[str]) -> None:
    """The exit code is 78; file and key are named."""
    line = _refused(Switch(tmp_path, more=more), 78)
    assert "de39.toml" in line
    assert all(word in line for word in words), line


def test_a_bad_variable_is_refused(tmp_path: Path) -> None:
    """A DE39_ variable that cannot be is named."""
    switch = Switch(tmp_path, env={"DE39_LIMITS__CARDS_MAX": "many"})
    assert "DE39_LIMITS__CARDS_MAX" in _refused(switch, 78)


def test_a_bad_rule_file_is_refused(tmp_path: Path) -> None:
    """The line says file, line and column, as an editor jumps to it."""
    (tmp_path / "my.rules").write_text(_RULE)
    line = _refused(Switch(tmp_path, more="[rules]\nfile = 'my.rules'\n" + _NO_MODEL), 78)
    assert re.search(r"my\.rules:2:\d+", line), line
    missing = Switch(tmp_path, more="[rules]\nfile = 'other.rules'\n" + _NO_MODEL)
    assert "other.rules" in _refused(missing, 78)


@pytest.mark.parametrize("content", [b"", b"not a model", bytes(4096), None])
def test_a_bad_model_file_is_refused(tmp_path: Path, content: bytes | None) -> None:
    """A file that is no model, or not there, is named."""
    if content is not None:
        (tmp_path / "my.model").write_bytes(content)
    more = "[scoring]\nmodel = 'my.model'\n" + _NO_RULES
    assert "my.model" in _refused(Switch(tmp_path, more=more), 78)


@pytest.mark.parametrize(
    ("before", "after", "word"),
    [
        ('max = 12, sensitivity = "public", use = "amount"', "max = twelve", "line"),
        ("min_bytes = 12", "min_bytes = 1", "framing"),
        ('39 = { name = "response code", format = "an"', '39 = { name = "x", format = "b"', "39"),
        ("echo = [2, 3, 4, 7,", "echo = [52, 3, 4, 7,", "52"),
        ('[messages."0100"]', '[messages."0110"]', "0110"),
    ],
)
def test_behaviour_63_a_bad_dialect_file_is_refused(
    tmp_path: Path, before: str, after: str, word: str
) -> None:
    """The line names the file and the place in it."""
    text = (DIALECT_FOLDER / "iso87-bin.toml").read_text(encoding="utf-8")
    assert before in text
    (tmp_path / "own.toml").write_text(text.replace(before, after, 1))
    line = _refused(Switch(tmp_path, ('dialect = "own.toml"',)), 78)
    assert "own.toml" in line
    assert word in line


def test_behaviour_63_dialects_are_apart(tmp_path: Path) -> None:
    """A dialect of one's own is served beside a shipped one, each by its own rules."""
    text = (DIALECT_FOLDER / "iso87-bin.toml").read_text(encoding="utf-8")
    own = text.replace("[response_codes]", '[response_codes]\nNOT_ENOUGH_FUNDS = "61"', 1)
    own = own.replace('name = "iso87-bin"', 'name = "iso87-bin-own"', 1)
    (tmp_path / "own.toml").write_text(own)
    with Switch(tmp_path, ('dialect = "iso87-bin"', 'dialect = "own.toml"')) as switch:
        switch.start()
        switch.ports[1] = ("iso87-bin", switch.ports[1][1])  # the same codec for the client
        card = switch.open_card(limit_minor=100)
        with switch.link(0) as shipped, switch.link(1) as other:
            assert shipped.ask(payment(card.pan, 200))["39"] == "51"
            ask = payment(card.pan, 200)
            assert other.ask(ask)["39"] == "61"
            assert shipped.ask(changed(ask, t="0101"))["39"] == "61"  # what was answered first
        assert switch.stop() == 0


def test_a_key_that_others_can_read_is_refused(copy: Switch) -> None:
    """The vault's key with mode 0644 ends the start with 77."""
    (copy.data / "vault.key").chmod(0o644)
    line = _refused(copy, 77)
    assert "vault.key" in line
    assert "chmod 600" in line


def test_an_admin_token_that_others_can_read_is_refused(copy: Switch) -> None:
    """So does the operators' token."""
    (copy.data / "admin.token").chmod(0o644)
    assert "admin.token" in _refused(copy, 77)


def _forget_snapshots(switch: Switch) -> None:
    """Remove what would keep the journal's beginning from being read."""
    for snapshot in switch.data.glob("snapshot*"):
        shutil.rmtree(snapshot) if snapshot.is_dir() else snapshot.unlink()


def _spoil(switch: Switch, offset: int, to: bytes) -> None:
    with segment_path(switch.data, 1).open("r+b") as file:
        file.seek(offset)
        file.write(to)


def _batches(switch: Switch) -> list[tuple[int, int]]:
    """Return (offset, bytes on disk) of each batch, by walking the headers."""
    content = segment_path(switch.data, 1).read_bytes()
    found, at = [], PAGE_BYTES
    while content[at : at + 7] == b"DE39bat":
        body = struct.unpack_from("<8sHHHH16s4Q4I", content, at)[12]
        size = -(-(HEADER_BYTES + body) // PAGE_BYTES) * PAGE_BYTES
        found.append((at, size))
        at += size
    return found


def test_a_damaged_journal_is_refused_by_batch(copy: Switch) -> None:
    """One flipped bit in an old batch: no start, the batch is named, verify says the same."""
    _forget_snapshots(copy)
    at, _ = _batches(copy)[2]
    place = at + HEADER_BYTES + RECORD_BYTES // 2
    flipped = segment_path(copy.data, 1).read_bytes()[place] ^ 1
    _spoil(copy, place, bytes([flipped]))
    content = segment_path(copy.data, 1).read_bytes()
    assert "batch 3" in _refused(copy, 74)
    code, out, _ = de39("ledger", "verify", "--data", copy.data)
    assert code == 1
    assert "batch 3" in out
    assert segment_path(copy.data, 1).read_bytes() == content


def test_a_torn_tail_is_cut(copy: Switch) -> None:
    """A last batch whose end was never written is cut with a note, and work goes on."""
    _forget_snapshots(copy)
    shutil.rmtree(copy.data / "proof")  # its checkpoint knows the batch: of a crash it would not
    at, size = _batches(copy)[-1]
    _spoil(copy, at + 512, bytes(size - 512))
    copy.start()
    assert eventually(lambda: "cut off" in copy.log())
    card = Card("S1", test_pan(900_001), 1)  # the one that the folder has
    assert copy.held(card) < 65_000
    with copy.link() as link:
        assert link.ask(payment(card.pan))["39"] == "00"
    assert copy.stop() == 0
    assert de39("ledger", "verify", "--data", copy.data)[0] == 0


def test_a_lost_journal_is_refused(copy: Switch) -> None:
    """A snapshot without its journal is not a start from nothing."""
    shutil.rmtree(copy.data / "journal")
    assert "journal" in _refused(copy, 74)


def test_a_journal_that_cannot_be_written_stops_the_switch(tmp_path: Path) -> None:
    """When a write fails, the process ends with 74, and nothing is answered that is not kept."""
    more = PLAIN + "[ledger]\nsegment_bytes = 1048576\n"
    with Switch(tmp_path, more=more) as switch:
        switch.start()
        card = switch.open_card(limit_minor=10**12)
        # Any file may grow no more: the next segment cannot be made.
        limits = (PAGE_BYTES, PAGE_BYTES)
        resource.prlimit(switch.pid, resource.RLIMIT_FSIZE, limits)
        answered = []
        with contextlib.suppress(ConnectionError), switch.link() as link:
            for _ in range(2_000):
                ask = payment(card.pan)
                link.send(ask)
                if not link.receive_bytes():
                    break
                answered.append(ask)
        assert switch.wait() == 74
        assert eventually(lambda: "ledger.failed" in switch.log())
        assert is_one_line(switch.log())
        rows = {row["rrn"] for row in switch.records()}
        assert {ask["37"] for ask in answered} <= rows
        assert len(answered) < 2_000
        switch.start()  # with the limit gone, it goes on where it was
        assert switch.held(card) == 1_000 * sum(
            row["kind"] == "authorize" for row in switch.records()
        )
        assert switch.stop() == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a file system of 8 MiB, where that is allowed."""
    place = tmp_path / "disk"
    place.mkdir()
    if os.geteuid() != 0 or os.system(f"mount -t tmpfs -o size=8m none {place} 2>/dev/null"):
        pytest.skip("needs root and a mount of tmpfs to have a small disk")
    yield place
    eventually(lambda: os.system(f"umount {place} 2>/dev/null") == 0)


def test_a_full_disk_stops_the_switch(small_disk: Path) -> None:
    """With no room for the next segment, what was answered is kept and the exit code is 74."""
    more = PLAIN + "[ledger]\nsegment_bytes = 1048576\n"
    with Switch(small_disk, more=more) as switch:
        switch.start()
        card = switch.open_card(limit_minor=10**12)
        answered = 0
        with contextlib.suppress(ConnectionError, AssertionError), switch.link() as link:
            while answered < 200_000:
                asks = [payment(card.pan, 1) for _ in range(400)]
                link.send(*asks)
                for _ in asks:
                    assert link.receive_bytes()
                    answered += 1
        assert switch.wait() == 74
        assert is_one_line(switch.log())
        assert answered < 200_000
        assert sum(row["kind"] == "authorize" for row in switch.records()) >= answered > 0


def test_a_bad_import_file_changes_nothing(copy: Switch, tmp_path: Path) -> None:
    """A file with one bad row is refused with its line, and no row of it was applied."""
    header = "account,customer,product,currency,limit_minor,pan,expiry_yymm,status\n"
    pan = test_pan(1)
    wrong = pan[:-1] + str((int(pan[-1]) + 1) % 10)
    good = f"N1,M1,standard,840,5000,{pan},3012,active\n"
    file = tmp_path / "cards.csv"
    file.write_text(header + good + f"N2,M2,standard,840,5000,{wrong},3012,active\n")
    code, out, stderr = de39("import", file, "--data", copy.data)
    assert (code, out, is_one_line(stderr)) == (1, "", True)
    assert "line 3" in stderr
    assert wrong not in stderr
    copy.start()
    assert copy.call("GET", "/v1/accounts/N1").status == 404
    assert copy.stop() == 0
