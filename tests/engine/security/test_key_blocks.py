"""X9.143 key blocks against psec both ways, and blocks that are not right."""

import psec.tr31
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.security.errors import KeyBlockError, KeyUsageError
from engine.security.key_blocks import unwrap, wrap
from engine.security.keys import KeyInfo, Usage
from engine.security.store import KeyStore, draft
from tests.support.effort import examples
from tests.support.keys import put

pytestmark = pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
_B, _D = bytes(range(16)), bytes(range(32))
_HEADER = {"T": "B0000{usage}T{mode}00E0000", "A": "D0000{usage}{algorithm}{mode}00E0000"}


def _protection(store: KeyStore, kind: str) -> KeyInfo:
    value = _B if kind == "T" else _D
    return put(store, f"kbpk-{kind}", Usage.KEY_BLOCK, value, kind)


@pytest.mark.parametrize("kind", ["T", "A"])
def test_blocks_of_psec_are_read(store: KeyStore, kind: str) -> None:
    """Each usage and length, wrapped by an independent library, optional header blocks too."""
    protection = _protection(store, kind)
    for usage, algorithm, mode, size in (
        (Usage.MAC_3, "T", "C", 16),
        (Usage.PIN, "T", "B", 24),
        (Usage.PIN, "A", "N", 16),
        (Usage.IMK_AC, "T", "X", 16),
        (Usage.CVK, "T", "C", 16),
    ):
        header = psec.tr31.Header(
            "B" if kind == "T" else "D", usage.value, algorithm, mode, "00", "N"
        )
        header.blocks["KS"] = "00604B120F9292800000"
        value = bytes(range(100, 100 + size))
        block = psec.tr31.wrap(_B if kind == "T" else _D, header, value)

        found = unwrap(store, protection, block)

        assert (found.usage, found.algorithm, bytes(found.value)) == (usage, algorithm, value)
        assert not found.exportable


_OLD = (
    (Usage.MAC_3, "T", "C", 16),
    (Usage.PIN, "T", "B", 24),
    (Usage.PIN, "A", "N", 16),
    (Usage.IMK_AC, "T", "X", 16),
)


@pytest.mark.parametrize("version", ["A", "C"])
@pytest.mark.parametrize("blocks", [0, 1])
@given(case=st.sampled_from(_OLD), key=st.binary(min_size=16, max_size=24), seed=st.binary())
@settings(
    max_examples=examples(20),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_old_blocks_of_psec_are_read(
    tmp_path_factory: pytest.TempPathFactory,
    version: str,
    blocks: int,
    case: tuple[Usage, str, str, int],
    key: bytes,
    seed: bytes,
) -> None:
    """Versions A and C under keys of two and of three parts; any change is refused."""
    from engine.security.file_store import FileStore

    usage, algorithm, mode, size = case
    store = FileStore(tmp_path_factory.mktemp("keys") / "keys.bin", bytes(32))
    protection = put(store, "old", Usage.KEY_BLOCK, key[: len(key) // 8 * 8])
    header = psec.tr31.Header(version, usage.value, algorithm, mode, "00", "E")
    if blocks:
        header.blocks["KS"] = "00604B120F9292800000"
    value = (seed + bytes(range(100, 132)))[:size]
    block = psec.tr31.wrap(key[: len(key) // 8 * 8], header, value)

    found = unwrap(store, protection, block)

    assert (found.usage, found.algorithm, bytes(found.value)) == (usage, algorithm, value)
    assert found.exportable
    for at in range(0, len(block), 5):
        bent = block[:at] + ("1" if block[at] != "1" else "2") + block[at + 1 :]
        with pytest.raises(KeyBlockError):
            unwrap(store, protection, bent)
    store.close()


def test_a_module_opens_no_old_blocks(token: KeyStore) -> None:
    """Its keys cannot be mixed; an AES key opens none of them either."""
    block = psec.tr31.wrap(_B, "A0000M3TC00N0000", bytes(16))
    with pytest.raises(KeyUsageError, match="no variants"):
        unwrap(token, _protection(token, "T"), block)


def test_old_blocks_need_a_key_of_tdes(store: KeyStore) -> None:
    """Versions A to C are of TDES; the message says what an AES key opens."""
    block = psec.tr31.wrap(_B, "C0000M3TC00N0000", bytes(16))
    with pytest.raises(KeyBlockError, match="version 'C', and this key opens D"):
        unwrap(store, _protection(store, "A"), block)


@pytest.mark.parametrize("kind", ["T", "A"])
@given(usage=st.sampled_from(list(Usage)), data=st.data())
@settings(
    max_examples=examples(20),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_psec_reads_what_is_written(
    tmp_path_factory: pytest.TempPathFactory, kind: str, usage: Usage, data: st.DataObject
) -> None:
    """What comes out of the file store is a block that another library opens."""
    from engine.security.file_store import FileStore

    store = FileStore(tmp_path_factory.mktemp("keys") / "keys.bin", bytes(32))
    protection = _protection(store, kind)
    algorithm = data.draw(st.sampled_from(usage.algorithms))
    key = store.generate(draft(store, "k", usage, algorithm, 16, exportable=True))

    block = wrap(store, protection, key)

    header, value = psec.tr31.unwrap(_B if kind == "T" else _D, block)
    assert bytes(store.reveal(key)) == value
    assert (header.key_usage, header.algorithm, header.exportability) == (
        usage.value, algorithm, "E",
    )  # fmt: skip
    assert bytes(unwrap(store, protection, block).value) == value


@pytest.mark.parametrize("kind", ["T", "A"])
def test_any_change_of_a_block_is_refused(store: KeyStore, kind: str) -> None:
    """Every character counts: header, key and MAC; so does the key that opens it."""
    protection = _protection(store, kind)
    other = put(
        store, "other", Usage.KEY_BLOCK, bytes(range(1, 1 + len(_B if kind == "T" else _D))), kind
    )
    header = psec.tr31.Header("B" if kind == "T" else "D", "M3", "T", "C", "00", "N")
    block = psec.tr31.wrap(_B if kind == "T" else _D, header, bytes(range(16)))

    for at in [*range(16), *range(16, len(block), 7)]:
        bent = block[:at] + ("1" if block[at] != "1" else "2") + block[at + 1 :]
        with pytest.raises(KeyBlockError):
            unwrap(store, protection, bent)
    for wrong in ("", block[:-2], block + "00", block[:16], "X" * 40):
        with pytest.raises(KeyBlockError):
            unwrap(store, protection, wrong)
    with pytest.raises(KeyBlockError, match="altered, or is under another key"):
        unwrap(store, other, block)


def test_usage_guards_blocks(store: KeyStore) -> None:
    """A block is opened by a key for key blocks only, and a kept key does not go out."""
    kek = put(store, "kek", Usage.KEK, _B)
    kept = put(store, "mac", Usage.MAC_3, _B)
    with pytest.raises(KeyUsageError, match="KEK"):
        unwrap(store, kek, psec.tr31.wrap(_B, "B0000M3TC00N0000", bytes(16)))
    with pytest.raises(KeyUsageError):
        wrap(store, _protection(store, "T"), kept)
