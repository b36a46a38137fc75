"""Card traffic from a parquet file instead of the generator.

The file has the columns t_seconds (sorted), customer_id, terminal_id, amount_cents and
fraud_scenario (0-3); what it lacks is added by the rule of ``bench.enrich``.
"""

from pathlib import Path
from typing import Any

import duckdb
import numpy as np
from numpy.typing import NDArray

from bench.traffic import Traffic
from bench.workload import START_S

_COLUMNS = ("t_seconds", "customer_id", "terminal_id", "amount_cents", "fraud_scenario")
_LIMITS = {
    "t_seconds": (0, 2**31),
    "customer_id": (0, 10**9 - 1),  # nine digits of the test card number
    "terminal_id": (0, 10**7 - 1),  # seven digits of DE41
    "amount_cents": (0, 10**12 - 1),  # twelve digits of DE4
    "fraud_scenario": (0, 3),
}


class StreamError(ValueError):
    """A stream file cannot be played: the message names the file, the column and the row."""


def load_stream(path: str | Path, *, start_s: int = START_S) -> Traffic:
    """Read the payments of a parquet file.

    Raises StreamError when the file is missing, is no parquet, lacks a column, holds a null or a
    value out of range, or is not sorted by t_seconds.
    """
    file = Path(path)
    if not file.is_file():
        raise StreamError(f"{file}: no such file")
    columns = _columns(file)
    for name, (low, high) in _LIMITS.items():
        _check_range(file, name, columns[name], low, high)
    times = columns["t_seconds"]
    falls = np.flatnonzero(np.diff(times.astype(np.int64)) < 0)
    if falls.size:
        raise StreamError(f"{file}: row {falls[0] + 1}: t_seconds falls; sort the file by it")
    if not times.size:
        raise StreamError(f"{file}: has no rows")
    return Traffic(
        times,
        columns["customer_id"],
        columns["terminal_id"],
        columns["amount_cents"],
        columns["fraud_scenario"],
        start_s,
    )


def _columns(file: Path) -> dict[str, NDArray[Any]]:
    with duckdb.connect() as connection:
        try:
            relation = connection.read_parquet(str(file))
            present = dict(zip(relation.columns, relation.dtypes, strict=True))
            for name in _COLUMNS:
                if name not in present:
                    wanted = ", ".join(_COLUMNS)
                    raise StreamError(f"{file}: column {name} is missing (wanted: {wanted})")
                if not str(present[name]).endswith("INT") and str(present[name]) != "INTEGER":
                    raise StreamError(f"{file}: column {name} is {present[name]}, not an integer")
            fetched: dict[str, NDArray[Any]] = relation.select(*_COLUMNS).fetchnumpy()
        except duckdb.Error as error:
            text = str(error).splitlines()[0]
            raise StreamError(f"{file}: not a readable parquet file ({text})") from error
    return fetched


def _check_range(file: Path, name: str, column: NDArray[Any], low: int, high: int) -> None:
    if isinstance(column, np.ma.MaskedArray) and column.mask.any():
        row = int(np.flatnonzero(column.mask)[0])
        raise StreamError(f"{file}: row {row}: {name} is null")
    wrong = np.flatnonzero((column < low) | (column > high))
    if wrong.size:
        row = int(wrong[0])
        raise StreamError(f"{file}: row {row}: {name} {column[row]} is not in {low}..{high}")
