"""A model as one file: everything the scorer needs, nothing that runs.

Layout (.de39model), little-endian: 8 bytes MAGIC, u32 length of the header, the header (JSON), the
arrays in ARRAYS order, and the SHA-256 of all of it (32 bytes). Never pickle: a model file is
input, and reading it must not be able to do anything. The same model gives the same bytes.

Whatever does not fit (cut short, changed, made for other features, not finite) is a ModelError of
one line; a model is used whole or not at all.
"""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from scoring.errors import ModelError
from scoring.features import FEATURES, schema_hash
from scoring.forest import CUT_COUNT, DEPTH_MAX, Forest
from scoring.forest_kernels import COLUMN_BITS, GROUP_TREES

MAGIC = b"de39mdl3"
SUFFIX = ".de39model"
MCC_COUNT = 10_000
FILE_BYTES_MAX = 64 << 20  # 1,000 trees of depth 8 are 3 MB
_DIGEST_BYTES = 32
_MARGIN_MAX = 1e6  # log odds; real ones are under 100
_INFINITE_KEY = 0x7F800000  # bits of a float32 infinity; past it are the NaN


class Threshold(msgspec.Struct, frozen=True):
    """What acting on scores from ``score_bp`` would have done to the held-out payments."""

    score_bp: int
    flagged_share: float
    precision: float
    recall: float


class Calibration(msgspec.Struct, frozen=True):
    """Platt's line from margin to log odds, and what it was fitted on."""

    slope: float = 1.0
    offset: float = 0.0
    rows: int = 0
    frauds: int = 0


class CostThreshold(msgspec.Struct, frozen=True):
    """From which score declining pays in a segment; costs of the measured payments, major units."""

    segment: str
    score_bp: int  # 10,001 = never
    false_decline: float
    cost: float
    cost_of_nothing: float


class Spread(msgspec.Struct, frozen=True):
    """How the values of a column lay in training: the upper edges of its tenths, their shares."""

    name: str
    edges: tuple[float, ...]
    shares: tuple[float, ...]


class ModelMeta(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is known of a model besides its numbers; times are Unix seconds."""

    name: str
    feature_names: tuple[str, ...]
    schema_hash: str
    trained_from_s: int
    trained_to_s: int
    rows: int
    frauds: int
    seed: int
    metrics: dict[str, float] = {}
    thresholds: tuple[Threshold, ...] = ()
    calibration: Calibration = Calibration()
    costs: tuple[CostThreshold, ...] = ()
    spreads: tuple[Spread, ...] = ()  # of every feature, then of the score in basis points
    note: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """A scorer: forest, cuts f32[10000] for ``score_bp``, mcc_risk f32[10000], and its papers.

    ``sha256`` (hex) is that of the file; ``version`` its first 4 bytes as a big-endian u32, for
    ledger records.
    """

    forest: Forest
    cuts: NDArray[np.float32]
    mcc_risk: NDArray[np.float32]
    meta: ModelMeta
    sha256: str
    version: int

    def file_bytes(self) -> bytes:
        """Return the bytes of its file."""
        return model_bytes(self.forest, self.cuts, self.mcc_risk, self.meta)


class _Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    depth: int
    base: float
    tree_count: int
    feature_count: int
    meta: ModelMeta


def default_model_path() -> Path:
    """Return where the model that ships with the project lies."""
    return Path(__file__).resolve().parent / "models" / f"default{SUFFIX}"


def load_model(path: Path) -> Model:
    """Read and check a model file; ModelError names the file and what is wrong."""
    try:
        size = path.stat().st_size
        data = path.read_bytes() if size <= FILE_BYTES_MAX else b""
    except OSError as error:
        raise ModelError(f"model {path}: cannot be read ({error.strerror})") from error
    if size > FILE_BYTES_MAX:
        raise ModelError(f"model {path}: {size} bytes, at most {FILE_BYTES_MAX} are read")
    try:
        return model_from_bytes(data)
    except ModelError as error:
        raise ModelError(f"model {path}: {error}") from error


def save_model(model: Model, path: Path) -> None:
    """Write a model file whole: beside its place first, then renamed over it."""
    data = model_bytes(model.forest, model.cuts, model.mcc_risk, model.meta)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with beside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise ModelError(f"model {path}: cannot be written ({error.strerror})") from error


def model_bytes(
    forest: Forest, cuts: NDArray[np.float32], mcc_risk: NDArray[np.float32], meta: ModelMeta
) -> bytes:
    """Return the bytes of a model file."""
    header = msgspec.json.encode(
        _Header(forest.depth, forest.base, forest.tree_count, forest.feature_count, meta)
    )
    parts = (
        forest.nodes.astype("<i8"),
        forest.leaves.astype("<f4"),
        forest.shares.astype("<f4"),
        cuts.astype("<f4"),
        mcc_risk.astype("<f4"),
    )
    body = b"".join(part.tobytes() for part in parts)
    data = MAGIC + len(header).to_bytes(4, "little") + header + body
    return data + hashlib.sha256(data).digest()


def model_from_bytes(data: bytes) -> Model:
    """Return the model of the bytes of a file, checked; ModelError says what is wrong."""
    header, body, sha256 = _opened(data)
    _check_header(header)
    places = _padded_trees(header.tree_count) << header.depth
    sizes = (8 * places, 4 * places, 4 * places, 4 * CUT_COUNT, 4 * MCC_COUNT)
    if len(body) != sum(sizes):
        raise ModelError(f"holds {len(body)} bytes of arrays, its header asks for {sum(sizes)}")
    ends = np.cumsum(sizes)
    nodes = np.frombuffer(body[: ends[0]], "<i8").astype(np.int64)
    leaves = np.frombuffer(body[ends[0] : ends[1]], "<f4").astype(np.float32)
    shares = np.frombuffer(body[ends[1] : ends[2]], "<f4").astype(np.float32)
    cuts = np.frombuffer(body[ends[2] : ends[3]], "<f4").astype(np.float32)
    mcc_risk = np.frombuffer(body[ends[3] :], "<f4").astype(np.float32)
    _check_arrays(header, nodes, leaves, shares)
    _check_tables(cuts, mcc_risk)
    forest = Forest(
        nodes, leaves, header.depth, header.base, header.tree_count, header.feature_count, shares
    )
    return Model(forest, cuts, mcc_risk, header.meta, sha256, int(sha256[:8], 16))


def _opened(data: bytes) -> tuple[_Header, bytes, str]:
    """Return header, array bytes and digest of a file whose envelope is whole."""
    if data.startswith(MAGIC[:-1]) and not data.startswith(MAGIC):
        raise ModelError(f"is a model file of another format than {MAGIC.decode()}; train it again")
    if not data.startswith(MAGIC):
        raise ModelError(f"is not a model file (starts with {MAGIC.decode()!r})")
    digest = hashlib.sha256(data[:-_DIGEST_BYTES]).digest()
    start = len(MAGIC) + 4
    if len(data) < start + _DIGEST_BYTES or digest != data[-_DIGEST_BYTES:]:
        raise ModelError("SHA-256 does not match: the file was cut short or changed")
    end = start + int.from_bytes(data[len(MAGIC) : start], "little")
    if end > len(data) - _DIGEST_BYTES:
        raise ModelError("header is longer than the file")
    try:
        header = msgspec.json.decode(data[start:end], type=_Header)
    except msgspec.DecodeError as error:
        raise ModelError(f"header cannot be read: {error}") from error
    return header, data[end:-_DIGEST_BYTES], digest.hex()


def _check_header(header: _Header) -> None:
    if header.meta.schema_hash != schema_hash():
        names = tuple(feature.name for feature in FEATURES)
        pairs = zip(header.meta.feature_names, names, strict=False)
        other = next((f"{a!r} where this build has {b!r}" for a, b in pairs if a != b), "units")
        raise ModelError(f"was trained on other features ({other}); train it again")
    if header.feature_count != len(FEATURES):
        raise ModelError(f"reads {header.feature_count} features, this build has {len(FEATURES)}")
    if not 1 <= header.depth <= DEPTH_MAX:
        raise ModelError(f"has trees of depth {header.depth}, need 1 to {DEPTH_MAX}")
    if not 0 <= header.tree_count <= FILE_BYTES_MAX:
        raise ModelError(f"claims {header.tree_count} trees")
    if not np.isfinite(np.float32(header.base)):
        raise ModelError("base margin is not finite")


def _check_arrays(
    header: _Header,
    nodes: NDArray[np.int64],
    leaves: NDArray[np.float32],
    shares: NDArray[np.float32],
) -> None:
    """Refuse numbers the kernels must never meet: they do no checks of their own."""
    if not np.isfinite(leaves).all():
        raise ModelError("a leaf is not finite")
    largest = np.abs(leaves.astype(np.float64)).reshape(-1, 1 << header.depth).max(axis=1).sum()
    if largest + abs(header.base) > _MARGIN_MAX:  # a sum of float32 could end as infinity or NaN
        raise ModelError(f"margins could reach {largest:g}, at most {_MARGIN_MAX:g} is taken")
    if not ((shares >= 0) & (shares <= 1)).all():
        raise ModelError("a node's share of training is not between 0 and 1")
    if (nodes & ((1 << COLUMN_BITS) - 1)).max() >= header.feature_count:
        raise ModelError("a node reads a feature that does not exist")
    if np.abs(nodes >> COLUMN_BITS).max() >= _INFINITE_KEY:
        raise ModelError("a threshold is not finite")


def _check_tables(cuts: NDArray[np.float32], mcc_risk: NDArray[np.float32]) -> None:
    if not np.isfinite(cuts).all() or (np.diff(cuts) < 0).any():
        raise ModelError("score cuts are not finite and rising")
    if not ((mcc_risk >= 0) & (mcc_risk <= 1)).all():
        raise ModelError("a risk of the category table is not between 0 and 1")


def _padded_trees(tree_count: int) -> int:
    return max(-(-tree_count // GROUP_TREES), 1) * GROUP_TREES
