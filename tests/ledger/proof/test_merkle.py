"""Trees and proofs equal the definitions of RFC 6962."""

from ledger.proof.merkle import consistency, getter, inclusion, leaf_hash, root
from tests.oracle import merkle as oracle


def data_of(count: int) -> list[bytes]:
    """Return the data of ``count`` leaves."""
    return [b"leaf %d" % number for number in range(count)]


def test_every_small_tree_and_proof() -> None:
    """Roots, inclusion of each leaf and consistency with each beginning, up to 33 leaves."""
    for size in range(34):
        data = data_of(size)
        get = getter([leaf_hash(text) for text in data])
        assert root(get, size) == oracle.mth(data)
        for index in range(size):
            assert inclusion(get, index, size) == oracle.path(index, data)
        for old in range(1, size + 1):
            assert consistency(get, old, size) == oracle.proof(old, data)
