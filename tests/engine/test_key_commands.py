"""``de39 key``: every verb on a real key file, four eyes, and what is never printed."""

import json
from pathlib import Path

import psec.des
import psec.tr31
import pytest

from tests.support.commands import de39
from tests.system.process import is_one_line

pytestmark = pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
_ONE, _TWO = "0123456789ABCDEFFEDCBA9876543210", "1A2B3C4D5E6F708192A3B4C5D6E7F809"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder with a master key."""
    code, _, err = de39("key", "init", "--data", tmp_path)
    assert code == 0, err
    assert (tmp_path / "keys.master").stat().st_mode & 0o777 == 0o600
    return tmp_path


def _kcv(value: str) -> str:
    return str(psec.des.generate_kcv(bytes.fromhex(value), 3).hex().upper())


def test_a_key_in_two_components(data: Path) -> None:
    """Each custodian sees the check value of theirs; the key itself is nowhere."""
    words = ("key", "import", "a.kek", "--usage", "kek", "--data", data, "--json")
    code, out, err = de39(*words, stdin=f"{_ONE}\n{_TWO}\n")

    both = bytearray(a ^ b for a, b in zip(bytes.fromhex(_ONE), bytes.fromhex(_TWO), strict=True))
    odd = bytes((b & 0xFE) | (((b >> 1).bit_count() + 1) & 1) for b in both)
    assert code == 0, err
    assert json.loads(out)[0]["kcv"] == _kcv(odd.hex())
    assert f"component 1: check value {_kcv(_ONE)}" in err
    assert f"component 2: check value {_kcv(_TWO)}" in err
    shown = (out + err).upper()
    assert not any(secret.upper() in shown for secret in (_ONE, _TWO, odd.hex()))
    assert odd not in (data / "keys.bin").read_bytes()


@pytest.mark.parametrize(
    ("lines", "more", "told"),
    [
        ((_ONE,), (), "component 2"),
        ((_ONE, _ONE), (), "given already"),
        ((_ONE, "0" * 32), (), "only zeros"),
        ((_ONE, _TWO[:16]), (), "another length"),
        ((_ONE[:16], _TWO[:16]), (), "16 or 24 bytes"),
        ((_ONE, "XYZ"), (), "not hex"),
        ((_ONE, _TWO), ("--components", "1"), "nobody alone"),
    ],
)
def test_components_that_are_not_right(
    data: Path, lines: tuple[str, ...], more: tuple[str, ...], told: str
) -> None:
    """One line says what is wrong, without the component; nothing is kept."""
    words = ("key", "import", "a.kek", "--usage", "kek", "--data", data, *more)
    code, _, err = de39(*words, stdin="".join(f"{line}\n" for line in lines))

    assert code != 0
    assert told in err
    assert is_one_line(err)
    assert _ONE not in err
    assert json.loads(de39("key", "show", "--data", data, "--json")[1]) == []


def test_generate_rotate_export_import_remove(data: Path) -> None:
    """A key's life; what goes out in a block comes back with the same check value."""
    at = ("--data", data, "--json")
    assert de39("key", "generate", "kbpk", "--usage", "key-block", *at)[0] == 0
    code, out, err = de39("key", "generate", "a.mac", "--usage", "mac-3", "--exportable", *at)
    assert code == 0, err
    first = json.loads(out)[0]
    code, block, err = de39("key", "export", "a.mac", "--under", "kbpk", "--data", data)
    assert (code, block[0]) == (0, "D"), err

    code, out, err = de39("key", "rotate", "a.mac", "--grace-s", "60", *at)
    assert (code, json.loads(out)[0]["version"]) == (0, 2), err
    old, new = json.loads(de39("key", "show", "a.mac", *at)[1])
    assert old["kcv"] == first["kcv"]
    assert old["not_after_s"] == new["not_before_s"] + 60

    code, out, err = de39("key", "import", "copy", "--under", "kbpk", *at, stdin=block)
    assert (code, json.loads(out)[0]["kcv"]) == (0, first["kcv"]), err
    bent = block.strip()[:-1] + ("0" if block.strip()[-1] != "0" else "1")
    code, _, err = de39("key", "import", "bent", "--under", "kbpk", *at, stdin=bent + "\n")
    assert code == 1
    assert "altered" in err

    assert de39("key", "remove", "a.mac", "1", "--data", data)[0] == 0
    names = [key["name"] for key in json.loads(de39("key", "show", *at)[1])]
    assert names == ["a.mac", "copy", "kbpk"]


def test_a_block_of_an_old_version_is_taken_and_said_to_be_weak(data: Path) -> None:
    """Version A under a TDES key; the check value shows that the key is right."""
    words = ("key", "import", "zmk", "--usage", "key-block", "--data", data)
    assert de39(*words, stdin=f"{_ONE}\n{_TWO}\n")[0] == 0
    mixed = bytes(a ^ b for a, b in zip(bytes.fromhex(_ONE), bytes.fromhex(_TWO), strict=True))
    protection = bytes((b & 0xFE) | (((b >> 1).bit_count() + 1) & 1) for b in mixed)
    block = psec.tr31.wrap(protection, "A0000M3TC00N0000", bytes.fromhex(_TWO))

    at = ("--under", "zmk", "--data", data, "--json")
    code, out, err = de39("key", "import", "old.mac", *at, stdin=block + "\n")

    assert code == 0, err
    assert json.loads(out)[0]["kcv"] == _kcv(_TWO)
    assert "MAC of 4 bytes only" in err


def test_dry_runs_keep_nothing(data: Path) -> None:
    """Everything is checked, nothing is written."""
    words = ("key", "generate", "a.mac", "--usage", "mac-3", "--data", data)
    assert de39(*words, "--dry-run")[0] == 0
    assert not (data / "keys.bin").exists()
    assert de39(*words)[0] == 0
    before = (data / "keys.bin").read_bytes()
    for again in (
        ("key", "rotate", "a.mac", "--data", data, "--dry-run"),
        ("key", "remove", "a.mac", "1", "--data", data, "--dry-run"),
    ):
        assert de39(*again)[0] == 0
    assert (data / "keys.bin").read_bytes() == before


def test_mistakes_are_one_line(data: Path, tmp_path: Path) -> None:
    """Unknown usages and names, a second master key, a master key that is missing."""
    at = ("--data", data)
    empty = tmp_path / "other"
    for words, code, told in (
        (("key", "generate", "a", "--usage", "nonsense", *at), 2, "mac-cmac"),
        (("key", "generate", "a", "--usage", "cvk", "--size-bytes", "24", *at), 1, "double"),
        (("key", "show", "nobody", *at), 1, "nobody"),
        (("key", "rotate", "nobody", *at), 1, "nobody"),
        (("key", "init", *at), 1, "already"),
        (("key", "show", "--data", empty), 74, "key init"),
    ):
        found, _, err = de39(*words)
        assert (found, is_one_line(err)) == (code, True), (words, err)
        assert told in err


def test_the_master_key_may_come_from_the_environment(tmp_path: Path) -> None:
    """DE39_MASTER_KEY goes before the file, and is never shown."""
    words = ("key", "generate", "a", "--usage", "pin", "--data", tmp_path)
    assert de39(*words, DE39_MASTER_KEY="ab" * 32)[0] == 0
    assert de39("key", "show", "--data", tmp_path, DE39_MASTER_KEY="ab" * 32)[0] == 0
    code, _, err = de39("key", "show", "--data", tmp_path, DE39_MASTER_KEY="abc")
    assert (code, "abc" in err) == (74, False)
