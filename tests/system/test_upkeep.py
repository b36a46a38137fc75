"""A running engine looks after its ledger: snapshots, proofs, witnesses; commands see them."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

from ledger.snapshot import latest_seq
from tests.support.commands import de39
from tests.system.link import payment
from tests.system.process import PATIENT, PLAIN, Switch, eventually

TOOL = Path(__file__).resolve().parents[2] / "tools" / "verify_receipt.py"
_LISTEN = ('dialect = "iso87-bin"\n' + PATIENT,)
_UPKEEP = PLAIN + '[ledger]\ncheckpoint_interval_s = 0.05\nwitness_file = "seen"\n'


def _verified(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the stand-alone verifier."""
    words = [sys.executable, "-I", str(TOOL), *map(str, arguments)]
    return subprocess.run(words, capture_output=True, check=False, text=True)


def test_snapshots_proofs_and_witnesses_of_a_running_engine(tmp_path: Path) -> None:
    """On demand while it serves; a kill later the start needs the tail only, and proofs go on."""
    with Switch(tmp_path, _LISTEN, _UPKEEP) as switch:
        switch.start()
        card = switch.open_card(limit_minor=10**6)
        with switch.link() as link:
            answers = [link.ask(payment(card.pan)) for _ in range(5)]
            code, out, err = de39(
                "ledger", "snapshot", "--http", switch.http, "--data", switch.data, "--json"
            )
            assert code == 0, err
            begun = json.loads(out)
            assert begun["record"] == 7
            eventually(lambda: latest_seq(switch.data) == 7)
            assert link.ask(payment(card.pan))["39"] == "00"
        eventually(lambda: switch.call("GET", "/v1/ledger").json["checkpoint_batches"] >= 8)
        stands = switch.call("GET", "/v1/ledger").json
        assert (stands["record"], stands["snapshot_record"]) == (8, 7)
        eventually(lambda: json.loads((tmp_path / "seen").read_text())["seq"] == 8)
        receipt, key = tmp_path / "r.json", switch.data / "proof" / "verifier"
        rrn = answers[2]["37"]
        code, _, err = de39(
            "ledger", "prove", "--data", switch.data, "--rrn", rrn, "--out", receipt
        )
        assert code == 0, err
        shown = _verified("receipt", receipt, "--key", key)
        assert json.loads(shown.stdout)["record"]["rrn"] == rrn, shown.stderr
        old = tmp_path / "old"
        shutil.copy(switch.data / "proof" / "checkpoint", old)
        switch.kill()
        switch.start()
        assert eventually(lambda: '"records":1' in switch.log().replace(" ", ""))
        with switch.link() as link:
            assert link.ask(payment(card.pan))["39"] == "00"
        code, out, err = de39(
            "ledger", "backup", tmp_path / "copy", "--data", switch.data, "--json"
        )
        assert code == 0, err
        assert json.loads(out)["last_record"] == 9
        assert switch.stop() == 0
    _check_copy(tmp_path, switch.data)
    proof = tmp_path / "c.json"
    assert de39("ledger", "prove", "--data", switch.data, "--since", old, "--out", proof)[0] == 0
    assert _verified("consistency", proof, "--key", key).returncode == 0
    whole = _verified("journal", switch.data, "--key", key)
    found = json.loads(whole.stdout)
    code, out, _ = de39("ledger", "verify", "--data", switch.data, "--json")
    facts = json.loads(out)
    assert (found["records"], found["head"]) == (facts["records"], facts["head"])
    assert found["held_minor"] == 7 * 1000
    code, out, err = de39("ledger", "prove", "--data", switch.data, "--seq", "999")
    assert (code, out, "no record 999" in err) == (74, "", True)


def _check_copy(folder: Path, data: Path) -> None:
    """Restore the backup, whole and to a record, and make the state again from each."""
    new = folder / "new"
    for more, last in (((), 9), (("--until-record", "8"), 8)):
        code, out, err = de39("ledger", "restore", folder / "copy", "--data", new, *more, "--json")
        assert code == 0, err
        assert json.loads(out)["last_record"] == last
        shutil.copy(data / "vault.key", new / "vault.key")
        code, out, err = de39("ledger", "replay", "--data", new, "--json")
        assert code == 0, err
        facts = json.loads(out)
        assert (facts["last_record"], facts["ok"], len(facts["compared"])) == (last, True, 1)
        shutil.rmtree(new)
    code, _, err = de39("ledger", "restore", folder / "copy", "--data", new, "--dsn", "x")
    assert (code, "--store postgres" in err, new.exists()) == (2, True, False)
    code, _, err = de39("ledger", "restore", folder / "copy", "--data", data)
    assert (code, "is not empty" in err) == (74, True)
    code, out, err = de39("ledger", "archive", folder / "archived", "--data", data, "--json")
    assert code == 0, err
    assert json.loads(out)["archived"] == []
    code, _, err = de39("ledger", "archive", folder / "archived", "--data", folder / "nowhere")
    assert (code, "holds no journal" in err) == (1, True)
    code, _, err = de39("ledger", "archive", data / "vault.db", "--data", data)
    assert (code, "expected a folder" in err) == (2, True)


def test_a_journal_behind_its_witness_is_refused(tmp_path: Path) -> None:
    """An older copy of the journal does not open: exit 74, and the line says what is missing."""
    more = _UPKEEP + 'witnesses = ["seen"]\n'
    with Switch(tmp_path, _LISTEN, more) as switch:
        switch.start()
        card = switch.open_card()
        with switch.link() as link:
            link.ask(payment(card.pan))
        assert switch.stop() == 0
        shutil.copytree(switch.data, tmp_path / "copy")
        switch.start()
        with switch.link() as link:
            link.ask(payment(card.pan))
        assert switch.stop() == 0
        shutil.rmtree(switch.data)
        shutil.copytree(tmp_path / "copy", switch.data)
        code, stderr = switch.run_to_end()
        assert code == 74
        assert "a witness saw record 4" in stderr
