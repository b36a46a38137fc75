"""The codec against pyiso8583: a 0100 with chip data decoded, its 0110 encoded, in every dialect.

Both read and write the same bytes on one core in the same run. pyiso8583 takes a message at a
time and makes dictionaries; the kernels take a batch and fill columns, checks and hash included.
"""

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.figures import Figure, print_figures, rate_figure, seconds_of_runs
from bench.messages import authorization
from engine.decision import Decision
from engine.wire.columns import FIELD_COUNT, REPLY, REQUEST
from engine.wire.dialect import BUILTIN_DIALECTS, Dialect, load_builtin
from engine.wire.encode_kernels import REPLY_OVERHEAD_BYTES, encode_batch
from engine.wire.kernels import decode_batch
from engine.wire.table import SEGMENT, compile_dialects, response_number
from engine.wire.text import add_header, build_message

BATCHES = (256, 1024, 64, 1)  # of the default dialect; the headline first, the others take it alone
_WORK_FRAMES = 32_768  # in one run, whatever the batch size
_BASELINE_FRAMES = 1_000
DEFAULT = "iso87-bin"
_ECHO = (2, 3, 4, 7, 11, 12, 13, 32, 33, 37, 41, 42, 49)  # what the default dialect returns on 0100


@dataclass(frozen=True, slots=True)
class CodecRig:
    """Arrays of one batch, made once; each call then decodes, or encodes, all its frames."""

    arena: NDArray[np.uint8]
    segments: NDArray[Any]
    request: NDArray[Any]
    spans: NDArray[np.uint16]
    pan_block: NDArray[np.uint8]
    reply: NDArray[Any]
    extra: NDArray[np.uint8]
    out: NDArray[np.uint8]
    out_end: NDArray[np.int64]
    hash_key: NDArray[np.uint64]
    table: Any

    def decode(self) -> int:
        """Decode the batch; return its rows."""
        return decode_batch(
            self.arena,
            self.segments,
            1,
            self.table,
            self.hash_key,
            self.request,
            self.spans,
            self.pan_block,
        )

    def encode(self) -> int:
        """Encode an answer to each row; return the bytes written."""
        return encode_batch(
            self.arena,
            self.request,
            self.spans,
            self.reply,
            len(self.reply),
            self.table,
            self.extra,
            self.out,
            self.out_end,
        )

    def both(self) -> None:
        """Decode the batch and answer it."""
        self.decode()
        self.encode()


def sample_message(dialect: Dialect) -> bytes:
    """Return the authorization that all figures are about, from its MTI on."""
    return build_message(dialect, *authorization(dialect))


def make_rig(batch: int, name: str = DEFAULT) -> CodecRig:
    """Make the arrays of a batch of equal requests and approvals."""
    dialect = load_builtin(name)
    frames = add_header(dialect, sample_message(dialect)) * batch
    segments = np.zeros(1, SEGMENT)
    segments[0]["end"] = len(frames)
    reply = np.zeros(batch, REPLY)
    reply["request"], reply["mti"] = np.arange(batch), 110
    reply["response"], reply["has_approval"] = response_number("00"), 1
    reply["approval"] = int.from_bytes(b"A1B2C3", "little")
    reply["decision"] = Decision.APPROVED
    return CodecRig(
        arena=np.array(bytearray(frames), np.uint8),
        segments=segments,
        request=np.zeros(batch, REQUEST),
        spans=np.zeros((batch, FIELD_COUNT, 2), np.uint16),
        pan_block=np.zeros((batch, 16), np.uint8),
        reply=reply,
        extra=np.zeros(1, np.uint8),
        out=np.zeros(len(frames) + batch * REPLY_OVERHEAD_BYTES, np.uint8),
        out_end=np.zeros(batch, np.int64),
        hash_key=np.array([1, 2], np.uint64),
        table=compile_dialects([dialect]),
    )


@dataclass(frozen=True, slots=True)
class Peer:
    """The same work with pyiso8583, a message at a time."""

    message: bytes
    answer: dict[str, str]
    codec: Any
    spec: Any

    def decode(self) -> object:
        """Decode the sample."""
        return self.codec.decode(self.message, self.spec)

    def encode(self) -> object:
        """Encode the answer, from a dictionary that is made already."""
        return self.codec.encode(dict(self.answer), self.spec)

    def both(self) -> None:
        """Decode the sample, pick the echoed fields, encode the answer."""
        read, _ = self.codec.decode(self.message, self.spec)
        self.codec.encode(dict(_answer(read)), self.spec)


def _answer(read: dict[str, str]) -> list[tuple[str, str]]:
    echo = [(str(n), read[str(n)]) for n in _ECHO if str(n) in read]
    return [*echo, ("t", "0110"), ("38", "A1B2C3"), ("39", "00")]


def make_peer() -> Peer:
    """Make the baseline.

    Raises
    ------
    SystemExit
        pyiso8583 is not installed: it belongs to the test requirements.
    """
    try:
        import iso8583
        from iso8583.specs import default
    except ImportError as error:
        raise SystemExit("bench codec compares with pyiso8583: pip install pyiso8583") from error
    message = sample_message(load_builtin(DEFAULT))
    read, _ = iso8583.decode(message, default)
    return Peer(message, dict(_answer(read)), iso8583, default)


def measure(
    runs: int, batches: tuple[int, ...] = BATCHES, dialects: tuple[str, ...] = BUILTIN_DIALECTS
) -> list[Figure]:
    """Measure both sides ``runs`` times; rates are frames in a second, decode + encode first.

    The default dialect at every batch size, then each dialect at the first one. The baseline is
    pyiso8583 with the default dialect: it speaks no other one but the hex variant.
    """
    peer = make_peer()
    baselines = {
        "decode + encode": _rate(peer.both, runs),
        "decode": _rate(peer.decode, runs),
        "encode": _rate(peer.encode, runs),
    }
    plan = [(DEFAULT, batch) for batch in batches]
    plan += [(name, batches[0]) for name in dialects if name != DEFAULT]
    figures = []
    for name, batch in plan:
        rig = make_rig(batch, name)
        if rig.decode() != batch or rig.request["fault"].any():
            raise SystemExit(f"bench codec: the sample is at fault in {name}")
        rounds = max(1, _WORK_FRAMES // batch // (8 if batch == 1 else 1))
        works = {"decode + encode": rig.both, "decode": rig.decode, "encode": rig.encode}
        for what, work in works.items():
            seconds = seconds_of_runs(partial(_repeat, work, rounds), runs)
            title, against = f"codec {name} {what}, batch {batch}", f"pyiso8583 {what}"
            rate = baselines[what]
            figures.append(rate_figure(title, "frames/s", rounds * batch, seconds, against, rate))
    return figures


def _rate(work: Callable[[], object], runs: int) -> float:
    seconds = seconds_of_runs(partial(_repeat, work, _BASELINE_FRAMES), runs)
    return _BASELINE_FRAMES / statistics.median(seconds)


def _repeat(work: Callable[[], object], times: int) -> None:
    for _ in range(times):
        work()


def run(*, json: bool = False, runs: int = 7, batch: int = 0, dialect: str = "") -> None:
    """Compare the codec with pyiso8583 on one core, in every dialect.

    Parameters
    ----------
    json
        Print one JSON list instead of a table.
    runs
        Runs of each figure; the median is reported.
    batch
        Frames in a call; 0 = 256, and for the default dialect 1024, 64 and 1 too.
    dialect
        One shipped dialect beside the default one; "" = all.
    """
    if runs < 1 or batch < 0:
        raise SystemExit("bench codec: --runs must be at least 1 and --batch at least 0")
    if dialect and dialect not in BUILTIN_DIALECTS:
        raise SystemExit(f"bench codec: --dialect is one of {', '.join(BUILTIN_DIALECTS)}")
    dialects = (dialect,) if dialect else BUILTIN_DIALECTS
    print_figures(measure(runs, (batch,) if batch else BATCHES, dialects), as_json=json)
