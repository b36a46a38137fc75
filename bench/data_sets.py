"""Where the public data sets lie: they are not part of the project.

``DE39_DATA_SETS`` names the folder; without it, it is ``shared/data`` beside the clone. Each set
has a folder of its own name (fdh_simulated, ulb_creditcard, uci_taiwan_default).
"""

import os
from pathlib import Path

from engine.errors import UsageError


def data_set(place: str) -> Path:
    """Return where a file such as ``fdh_simulated/transactions.parquet`` should lie."""
    folder = os.environ.get("DE39_DATA_SETS")
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    return (Path(folder) if folder else beside) / place


def needed(given: Path | None, place: str, option: str) -> Path:
    """Return the file ``given``, or that of the data set; UsageError names the option if absent."""
    path = data_set(place) if given is None else given
    if not path.is_file():
        raise UsageError(f"{path}: no such file; name one with {option}, or set DE39_DATA_SETS")
    return path
