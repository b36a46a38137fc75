"""Compiles the kernels of this package before the first request, on a few bytes."""

import numpy as np

from engine.card_checks import CHECK
from engine.items import LINK
from engine.security.des_kernels import SP, passes, table_macs
from engine.security.des_slices import SCRATCH_WORDS, sliced_macs
from engine.security.lay_kernels import lay_blocks, put_macs, read_track2, take_bytes
from engine.security.mac_kernels import (
    Asked,
    ask_for_macs,
    find_key_changes,
    find_macs,
    find_rooms,
    refuse_unchecked,
    room_for,
    settle_macs,
)
from engine.wire.columns import FIELD_COUNT, REPLY, REQUEST
from engine.wire.elements import Code
from engine.wire.table import FIELD

_BYTES = 64


def compile_kernels() -> None:
    """Run each kernel once, on arrays of the kinds that batches have."""
    data = np.zeros(_BYTES, np.uint8)
    starts, sizes = np.zeros(1, np.int64), np.full(1, 8, np.int64)
    codes = np.full(1, Code.RAW, np.uint8)
    values = np.zeros((1, 8), np.uint8)
    take_bytes(data, starts, sizes, codes, values)
    put_macs(values, starts, sizes, codes, data)
    read_track2(data, starts, sizes, codes, 0, np.zeros((1, 3), np.int64))
    _compile_macs(data, starts, sizes, values)
    _compile_finding(data, values)


def _compile_macs(
    data: np.ndarray, starts: np.ndarray, sizes: np.ndarray, values: np.ndarray
) -> None:
    tails, rounds = np.zeros((2, 1), np.uint64), passes(bytes(16))
    blocks, running = np.zeros((2, 1, 1), np.uint64), np.zeros(3, np.int64)
    lay_blocks(data, starts, sizes, starts, 0, tails, blocks, running)
    table_macs(data, starts, sizes, starts, 0, 1, rounds, tails[:, 0].byteswap(), SP, values)
    scratch = np.empty(SCRATCH_WORDS, np.uint64)
    sliced_macs(data, starts, sizes, starts, 0, 1, rounds, tails[:, 0].byteswap(), scratch, values)


def _compile_finding(data: np.ndarray, values: np.ndarray) -> None:
    request, replies, links = np.zeros(1, REQUEST), np.zeros(1, REPLY), np.zeros(1, LINK)
    checks, fields = np.zeros(1, CHECK), np.zeros((1, FIELD_COUNT), FIELD)
    spans, found = np.zeros((1, FIELD_COUNT, 2), np.uint16), room_for(1)
    asked, must_have = Asked(0, 0, 0, 0), np.zeros(1, np.uint8)
    find_key_changes(request, 1, found.rows)
    find_macs(request, 0, 1, links, asked, must_have, fields, spans, checks, found)
    refuse_unchecked(request, 0, 1, links, asked, must_have, 0, checks)
    settle_macs(values, data, 0, 0, checks, found)
    ask_for_macs(checks, 1, replies)
    find_rooms(replies, 1, 0, request, fields, found)
