"""What every key store does: usage, versions, validity, check values; and the file's own rules."""

import os
from pathlib import Path

import psec.des
import pytest

from engine.security.errors import (
    KeyBlockError,
    KeyMissingError,
    KeyStoreBusyError,
    KeyStoreError,
    KeyStoreModeError,
    KeyUsageError,
)
from engine.security.file_store import FileStore, fresh_value, read_master_key
from engine.security.keys import Usage, current, valid_versions
from engine.security.store import KeyStore, draft, named, replaced, retire_older
from tests.support.keys import put

pytestmark = pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
_KEY, _OTHER = bytes(range(16)), bytes(range(100, 116))


def test_usage_is_enforced(store: KeyStore) -> None:
    """A key works for its own usage only, and a working key does only what that usage needs."""
    mac = put(store, "a.mac", Usage.MAC_3, _KEY)
    pin = put(store, "a.pin", Usage.PIN, _OTHER)

    with pytest.raises(KeyUsageError, match=r"a\.mac is a MAC_3 key and not for PIN"):
        store.cipher(mac, Usage.PIN)
    with pytest.raises(KeyUsageError, match="decrypt"):
        store.cipher(mac, Usage.MAC_3).decrypt(bytes(8))
    with pytest.raises(KeyUsageError, match="derive"):
        store.cipher(pin, Usage.PIN).derive(bytes(16))
    with pytest.raises(KeyUsageError, match="left"):
        store.cipher(pin, Usage.PIN).encrypt_left(bytes(8))


def test_check_values_equal_psec_and_are_checked(store: KeyStore) -> None:
    """The check value is that of an independent library; a key that does not fit is not kept."""
    key = put(store, "a.mac", Usage.MAC_3, _KEY)
    assert key.kcv == psec.des.generate_kcv(_KEY, 3).hex().upper()

    wrong = draft(store, "b.mac", Usage.MAC_3, "T", 16)
    value = bytearray(_KEY)
    with pytest.raises(KeyBlockError, match="check value"):
        store.add(wrong, value)
    assert value == bytes(16), "overwritten all the same"
    assert [k.name for k in store.infos()] == ["a.mac"]


def test_aes_check_value_of_the_standard() -> None:
    """FIPS 197's key of bytes 0 to 15: CMAC of a zero block, first five bytes."""
    from cryptography.hazmat.primitives.ciphers.algorithms import AES
    from cryptography.hazmat.primitives.cmac import CMAC

    from engine.security.ciphers import kcv_of

    whole = CMAC(AES(_KEY))
    whole.update(bytes(16))
    assert kcv_of(bytearray(_KEY), "A") == whole.finalize()[:5].hex().upper()


def test_a_change_keeps_the_old_version_for_its_grace(store: KeyStore) -> None:
    """The newest valid version writes; older ones are read until their grace period is over."""
    put(store, "a.mac", Usage.MAC_3, _KEY)
    newest = put(store, "a.mac", Usage.MAC_3, _OTHER)
    retire_older(store, newest, 1_000)

    assert [k.version for k in valid_versions(store.infos(), "a.mac", 999)] == [2, 1]
    assert [k.version for k in valid_versions(store.infos(), "a.mac", 1_000)] == [2]
    store.change(replaced(newest, not_after_s=2_000))
    with pytest.raises(KeyMissingError, match=r"a\.mac"):
        current(store.infos(), "a.mac", 2_000)
    store.remove(named(store, "a.mac", 1))
    with pytest.raises(KeyMissingError):
        named(store, "a.mac", 1)


def test_what_cannot_be_a_key_is_refused(store: KeyStore) -> None:
    """Algorithm, length, name and a second usage of one name."""
    put(store, "a", Usage.MAC_3, _KEY)
    for name, usage, algorithm, size, told in (
        ("b", Usage.MAC_3, "A", 16, "TDES"),
        ("b", Usage.MAC_CMAC, "A", 20, "16 or 24 or 32"),
        ("b", Usage.CVK, "T", 24, "double length"),
        ("", Usage.PIN, "T", 16, "name"),
        ("a", Usage.PIN, "T", 16, "MAC_3"),
    ):
        with pytest.raises(KeyUsageError, match=told):
            draft(store, name, usage, algorithm, size)


def test_generated_keys_work_and_differ(store: KeyStore) -> None:
    """Random keys of every usage can be made and used."""
    for usage in Usage:
        algorithm = usage.algorithms[-1]
        made = store.generate(draft(store, usage.name, usage, algorithm, 16))
        assert len(made.kcv) == (6 if algorithm == "T" else 10)
    assert len({key.kcv for key in store.infos()}) == len(Usage)
    cipher = store.cipher(named(store, "PIN"), Usage.PIN)
    assert cipher.decrypt(cipher.encrypt(bytes(range(32)))) == bytes(range(32))


def test_a_made_tdes_key_has_odd_parity() -> None:
    """As DES keys have, and its parts differ."""
    value = fresh_value("T", 24)

    assert all(byte.bit_count() % 2 for byte in value)
    assert len({bytes(value[at : at + 8]) for at in (0, 8, 16)}) == 3


def test_the_file_opens_with_its_master_key_alone(tmp_path: Path) -> None:
    """What was kept comes back; another key, a changed byte or an open mode does not open it."""
    master, path = os.urandom(32), tmp_path / "keys.bin"
    first = FileStore(path, master)
    put(first, "a.mac", Usage.MAC_3, _KEY)
    first.close()

    again = FileStore(path, master)
    assert [key.name for key in again.infos()] == ["a.mac"]
    assert again.cipher(named(again, "a.mac"), Usage.MAC_3).encrypt(bytes(8))[:3].hex() != "000000"
    assert _KEY not in path.read_bytes()
    assert _KEY.hex().encode() not in path.read_bytes()
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(KeyStoreError, match="does not open"):
        FileStore(path, os.urandom(32), is_read_only=True)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(KeyStoreError, match="altered"):
        FileStore(path, master, is_read_only=True)
    path.chmod(0o640)
    with pytest.raises(KeyStoreModeError, match="chmod 600"):
        FileStore(path, master, is_read_only=True)


def test_closing_overwrites_the_keys(tmp_path: Path) -> None:
    """The clear values that the store holds are zeros afterwards."""
    store = FileStore(tmp_path / "keys.bin", os.urandom(32))
    key = put(store, "a.mac", Usage.MAC_3, _KEY)
    store.cipher(key, Usage.MAC_3)
    values = [value for _, value in store._keys.values()]
    values += [cipher._value for cipher in store._ciphers.values()]

    store.close()

    assert len(values) == 2
    assert all(value == bytes(16) for value in values)


def test_a_file_that_cannot_be_written_keeps_the_old_keys(tmp_path: Path) -> None:
    """A failed write leaves the keys in memory and on disk as they were."""
    path, master = tmp_path / "sub" / "keys.bin", os.urandom(32)
    with pytest.raises(KeyStoreError, match="cannot be written"):
        FileStore(path, master)
    path.parent.mkdir()
    store = FileStore(path, master)
    (path.parent / "keys.bin.new").mkdir()

    with pytest.raises(KeyStoreError, match="cannot be written"):
        put(store, "a.mac", Usage.MAC_3, _KEY)

    assert store.infos() == []


def test_one_process_at_a_time_changes_the_file(tmp_path: Path) -> None:
    """A second writer is refused; a reader sees what stands and changes nothing."""
    path, master = tmp_path / "keys.bin", os.urandom(32)
    first = FileStore(path, master)
    put(first, "a.mac", Usage.MAC_3, _KEY)

    with pytest.raises(KeyStoreBusyError, match="in use"):
        FileStore(path, master)
    reader = FileStore(path, master, is_read_only=True)
    assert [key.name for key in reader.infos()] == ["a.mac"]
    with pytest.raises(KeyStoreError, match="reading only"):
        reader.remove(reader.infos()[0])
    first.close()
    FileStore(path, master).close()


def test_export_needs_leave(tmp_path: Path) -> None:
    """A key comes out of the file only when it was made exportable."""
    store = FileStore(tmp_path / "keys.bin", os.urandom(32))
    kept = put(store, "a.mac", Usage.MAC_3, _KEY)
    free = store.generate(draft(store, "b.mac", Usage.MAC_3, "T", 16, exportable=True))

    assert len(store.reveal(free)) == 16
    with pytest.raises(KeyUsageError, match="without leave"):
        store.reveal(kept)


def test_master_key_file(tmp_path: Path) -> None:
    """A missing, open or misspelt file is named with what would be right."""
    path = tmp_path / "master.key"
    with pytest.raises(KeyStoreError, match="de39 key init"):
        read_master_key(path)
    path.write_text("00" * 31)
    path.chmod(0o600)
    with pytest.raises(KeyStoreError, match="64 hex digits"):
        read_master_key(path)
    path.write_text("ab" * 32)
    assert read_master_key(path) == b"\xab" * 32
    path.chmod(0o644)
    with pytest.raises(KeyStoreModeError, match="chmod 600"):
        read_master_key(path)
