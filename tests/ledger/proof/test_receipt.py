"""A receipt verifies with the stand-alone verifier; with any byte changed it does not."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ledger.errors import NoJournalError
from ledger.proof.log import ProofError, ProofLog, load_signer, origin_of, read_verifier
from ledger.proof.receipt import as_text, consistency_proof, receipt
from tests.ledger.journals import CLUSTER, append, opened

TOOL = Path(__file__).resolve().parents[3] / "tools" / "verify_receipt.py"


def load_tool():
    """Return the verifier as a module; it is a program on its own."""
    spec = importlib.util.spec_from_file_location("verify_receipt", TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


tool = load_tool()


def published(data: Path, counts: list[int]) -> ProofLog:
    """Return the log of a journal with batches of ``counts`` records, published."""
    store = opened(data, segment_bytes=16 * 1024)
    for count in counts:
        append(store, count)
    log = ProofLog(data, load_signer(data, origin_of(CLUSTER, 0)))
    log.advance(store.position)
    log.publish()
    store.close()
    return log


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with seven batches in several segments, published."""
    data = tmp_path_factory.mktemp("receipts")
    published(data, [3, 1, 5, 2, 4, 1, 3])
    return data


def verify(file: Path, key: str, verb: str = "receipt") -> int:
    """Return the verifier's exit code."""
    return tool.main([verb, str(file), "--key", key])


def is_refused(file: Path, key: str, verb: str = "receipt") -> bool:
    """Return whether the verifier says no; any other exception is a mistake of its own."""
    try:
        if verb == "receipt":
            tool.verify_receipt(file, key, [])
        else:
            tool.verify_consistency(file, key)
    except tool.Refused:
        return True
    return False


def test_every_record_has_a_receipt_that_verifies(
    ledger: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The verifier, run as a program without the project on its path, shows the record."""
    file = tmp_path / "r.json"
    for seq in range(1, 20):
        file.write_text(as_text(receipt(ledger, seq)), "utf-8")
        assert verify(file, read_verifier(ledger)) == 0
        shown = json.loads(capsys.readouterr().out)
        assert (shown["verified"], shown["record"]["seq"]) == (True, seq)
    result = subprocess.run(
        [sys.executable, "-I", TOOL, "receipt", file, "--key", ledger / "proof" / "verifier"],
        cwd=tmp_path,
        capture_output=True,
        check=False,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    with pytest.raises(NoJournalError, match="no record 20"):
        receipt(ledger, 20)


def is_refused_after(content: bytes, file: Path, key: str) -> bool:
    """Write ``content`` to ``file`` and return whether it is refused as a receipt."""
    file.write_bytes(content)
    return is_refused(file, key)


def test_any_changed_byte_is_refused(ledger: Path, tmp_path: Path) -> None:
    """Each byte of the file, to another value: nothing verifies, nothing breaks the program."""
    text = as_text(receipt(ledger, 8)).encode()
    file = tmp_path / "r.json"
    key = read_verifier(ledger)
    assert not is_refused_after(text, file, key)
    for at in range(len(text)):
        change = (0x01, 0x20, 0x80, 0x04)[at % 4]
        changed = text[:at] + bytes([text[at] ^ change]) + text[at + 1 :]
        assert is_refused_after(changed, file, key), (at, change)
    for cut in range(0, len(text), 17):
        assert is_refused_after(text[:cut], file, key), cut


def test_another_record_or_key_is_refused(ledger: Path, tmp_path: Path) -> None:
    """Parts of two receipts do not mix, and only the right key counts."""
    one, other = receipt(ledger, 5), receipt(ledger, 6)
    file = tmp_path / "r.json"
    for name in ("record", "record_path"):
        file.write_text(as_text({**one, name: other[name]}), "utf-8")
        assert verify(file, read_verifier(ledger)) == 1
    published(tmp_path / "else", [1])
    file.write_text(as_text(one), "utf-8")
    assert verify(file, read_verifier(tmp_path / "else")) == 1


def test_a_key_file_or_folder_that_is_not_there_is_named(
    ledger: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything is verified: a wrong place must not look like a forged receipt."""
    missing = str(tmp_path / "verifier")
    with pytest.raises(SystemExit) as ended:
        tool.main(["journal", str(ledger), "--key", missing])
    assert ended.value.code == 2
    assert f"{missing}: no such file" in capsys.readouterr().err
    assert tool.main(["journal", str(tmp_path), "--key", read_verifier(ledger)]) == 1
    assert f"no segments in {tmp_path}" in capsys.readouterr().err


def test_consistency_between_two_checkpoints(tmp_path: Path) -> None:
    """Each older checkpoint is a beginning of the newest; a changed proof is refused."""
    data = tmp_path / "data"
    store = opened(data, segment_bytes=16 * 1024)
    log = ProofLog(data, load_signer(data, origin_of(CLUSTER, 0)))
    notes = []
    for _ in range(9):
        append(store, 2)
        log.advance(store.position)
        notes.append(log.publish())
    store.close()
    file = tmp_path / "c.json"
    key = read_verifier(data)
    for note in notes:
        file.write_text(as_text(consistency_proof(data, note)), "utf-8")
        assert verify(file, key, "consistency") == 0
    text = as_text(consistency_proof(data, notes[4])).encode()
    for at in range(len(text)):
        file.write_bytes(text[:at] + bytes([text[at] ^ 1]) + text[at + 1 :])
        assert is_refused(file, key, "consistency"), at
    forged = as_text({**consistency_proof(data, notes[4]), "old": notes[3]})
    file.write_text(forged, "utf-8")
    assert verify(file, key, "consistency") == 1


def test_a_record_past_the_checkpoint_has_no_receipt_yet(tmp_path: Path) -> None:
    """The error says that the checkpoint does not cover it."""
    published(tmp_path, [2])
    store = opened(tmp_path)
    append(store, 1)
    store.close()
    with pytest.raises(ProofError, match="record 3 is in batch 2"):
        receipt(tmp_path, 3)
    rng = np.random.default_rng(1)
    assert receipt(tmp_path, int(rng.integers(1, 3)))["format"] == "de39-receipt/1"
