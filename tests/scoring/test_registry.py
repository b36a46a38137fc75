"""A model file is used whole or refused with one line."""

import hashlib
from pathlib import Path

import msgspec
import numpy as np
import pytest

from scoring.errors import ModelError
from scoring.features import FEATURES, schema_hash
from scoring.forest import Forest, node_of, sigmoid_cuts
from scoring.registry import (
    MAGIC,
    MCC_COUNT,
    Model,
    ModelMeta,
    load_model,
    model_bytes,
    model_from_bytes,
    save_model,
)

META = ModelMeta(
    name="test",
    feature_names=tuple(feature.name for feature in FEATURES),
    schema_hash=schema_hash(),
    trained_from_s=1,
    trained_to_s=2,
    rows=10,
    frauds=1,
    seed=3,
    metrics={"roc_auc": 0.5},
)


def _forest() -> Forest:
    rng = np.random.default_rng(3)
    thresholds = rng.normal(size=32).astype(np.float32)
    nodes = node_of(thresholds, rng.integers(0, 30, 32))
    return Forest(
        nodes,
        rng.normal(size=32).astype(np.float32),
        2,
        0.25,
        5,
        len(FEATURES),
        np.zeros(32, np.float32),
    )


def _bytes(forest: Forest | None = None, meta: ModelMeta = META) -> bytes:
    risk = np.full(MCC_COUNT, 0.01, np.float32)
    return model_bytes(forest or _forest(), sigmoid_cuts(), risk, meta)


def _sealed(data: bytes) -> bytes:
    return data + hashlib.sha256(data).digest()


def test_round_trip(tmp_path: Path) -> None:
    """What is saved is what is loaded, and the same model is the same bytes."""
    model = model_from_bytes(_bytes())
    path = tmp_path / "m.de39model"
    save_model(model, path)
    found = load_model(path)
    assert path.read_bytes() == _bytes()
    assert found.meta == META
    assert (found.sha256, found.version) == (model.sha256, model.version)
    assert found.version == int(hashlib.sha256(_bytes()[:-32]).hexdigest()[:8], 16)
    assert found.forest.nodes.tolist() == _forest().nodes.tolist()
    assert found.forest.leaves.tolist() == _forest().leaves.tolist()
    assert found.forest.nodes.flags.writeable
    assert [p.name for p in tmp_path.iterdir()] == ["m.de39model"]


def test_every_cut_is_refused() -> None:
    """A file that ends early is refused wherever it ends."""
    data = _bytes()
    for length in (0, 5, 8, 11, 12, 40, 44, 500, len(data) // 2, len(data) - 1):
        with pytest.raises(ModelError):
            model_from_bytes(data[:length])


def test_every_flipped_byte_is_refused() -> None:
    """A changed byte anywhere is seen."""
    data = _bytes()
    for place in (0, 9, 30, 700, len(data) // 2, len(data) - 40, len(data) - 1):
        changed = bytearray(data)
        changed[place] ^= 1
        with pytest.raises(ModelError):
            model_from_bytes(bytes(changed))


def test_header_longer_than_file_is_refused() -> None:
    """A length that points past the end is no reason to read there."""
    with pytest.raises(ModelError, match="longer than the file"):
        model_from_bytes(_sealed(MAGIC + (10**6).to_bytes(4, "little") + b"{}"))


def test_unknown_header_is_refused() -> None:
    """A sealed file with another header names the key at fault."""
    with pytest.raises(ModelError, match="header cannot be read"):
        model_from_bytes(_sealed(MAGIC + (2).to_bytes(4, "little") + b"{}"))


def test_missing_arrays_are_refused() -> None:
    """A sealed file with too few array bytes says how many are asked for."""
    with pytest.raises(ModelError, match="bytes of arrays"):
        model_from_bytes(_sealed(_bytes()[:-100]))


def test_other_features_are_refused() -> None:
    """A model of another feature list names the first difference."""
    names = ("something", *META.feature_names[1:])
    meta = msgspec.structs.replace(META, schema_hash="0" * 64, feature_names=names)
    with pytest.raises(ModelError, match="'something' where this build has 'amount'"):
        model_from_bytes(_bytes(meta=meta))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"leaves": np.full(32, np.inf, np.float32)}, "leaf"),
        ({"leaves": np.full(32, 3e38, np.float32)}, "margins could reach"),
        ({"shares": np.full(32, 1.5, np.float32)}, "share of training"),
        ({"shares": np.full(32, np.nan, np.float32)}, "share of training"),
        ({"nodes": np.full(32, len(FEATURES), np.int64)}, "feature that does not exist"),
        ({"nodes": np.full(32, 0x7F800000 << 7, np.int64)}, "threshold"),
        ({"base": float("inf")}, "header cannot be read|base margin"),
        ({"depth": 9}, "depth 9"),
        ({"tree_count": 10**9}, "trees"),
        ({"tree_count": 100}, "bytes of arrays"),
        ({"feature_count": 29}, "29 features"),
    ],
)
def test_bad_numbers_are_refused(change: dict[str, object], message: str) -> None:
    """Numbers that kernels must not meet are refused although the seal is right."""
    forest = _forest()
    for name, value in change.items():
        object.__setattr__(forest, name, value)  # as a file may hold it
    with pytest.raises(ModelError, match=message):
        model_from_bytes(_bytes(forest))


def test_another_format_is_named() -> None:
    """A file of an older layout is told from one that is no model at all."""
    with pytest.raises(ModelError, match="another format than de39mdl3; train it again"):
        model_from_bytes(_sealed(b"de39mdl2" + _bytes()[8:-32]))


def test_cuts_and_risks_are_checked() -> None:
    """Scores must rise and risks be shares."""
    risk = np.zeros(MCC_COUNT, np.float32)
    with pytest.raises(ModelError, match="rising"):
        model_from_bytes(model_bytes(_forest(), sigmoid_cuts()[::-1], risk, META))
    with pytest.raises(ModelError, match="between 0 and 1"):
        model_from_bytes(model_bytes(_forest(), sigmoid_cuts(), risk - 1, META))


def test_errors_name_the_file(tmp_path: Path) -> None:
    """A missing or foreign file is one line with its name."""
    path = tmp_path / "other.de39model"
    with pytest.raises(ModelError, match=r"other[.]de39model: cannot be read"):
        load_model(path)
    path.write_bytes(b"pickle")
    with pytest.raises(ModelError, match=r"other[.]de39model: is not a model file"):
        load_model(path)


def test_failed_save_leaves_nothing(tmp_path: Path) -> None:
    """A folder that cannot be written to is one line and no half file."""
    model: Model = model_from_bytes(_bytes())
    with pytest.raises(ModelError, match="cannot be written"):
        save_model(model, tmp_path / "missing" / "m.de39model")
