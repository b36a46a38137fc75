"""``de39 import``."""

import sys
import time
from pathlib import Path

from engine.command_options import DATA_DEFAULT, Flag, Progress, print_json
from engine.config import Config
from engine.errors import ConfigError, ProblemFoundError, run_command
from engine.importing import read_import
from engine.partition import bounds_of, choice_of, open_partition
from engine.registrar import Registrar, RegistrarError
from engine.serve_commands import read_config, report


@run_command
def import_file(
    file: Path,
    /,
    *,
    data: Path | None = None,
    http: str | None = None,
    config: Path | None = None,
    dry_run: Flag = False,
    json: Flag = False,
) -> None:
    """Import accounts and cards in bulk: whole, or not at all.

    Parameters
    ----------
    file
        CSV with the header account,customer,product,currency,limit_minor,pan,expiry_yymm,status
        and, where cards have zones of their own, zone behind it.
    data
        Into the data folder of a stopped engine.
    http
        Into a running engine, such as http://127.0.0.1:8580.
    config
        The TOML file of the engine, for its bounds.
    dry_run
        Check the file and change nothing.
    json
        Print one JSON object.
    """
    if http is not None:
        from engine.client_commands import import_over_http  # noqa: PLC0415 - one of two ways

        if dry_run:
            counts = _checked_only(file)
        else:
            result = import_over_http(file, http=http, data=data or DATA_DEFAULT)
            counts = {name: int(result[name]) for name in ("rows", "accounts", "cards")}
    elif dry_run:
        counts = _checked_only(file)
    else:
        counts = _import_offline(file, read_config(config, data))
    if json:
        print_json(counts)
    else:
        verb = "checked" if dry_run else "imported"
        sys.stdout.write(f"{verb} {counts['cards']} cards of {counts['accounts']} accounts\n")


def _checked_only(file: Path) -> dict[str, int]:
    batch = read_import(file, first_serial=1, on_progress=Progress(_rows_read))
    return {"rows": len(batch.pans), "accounts": len(batch.accounts), "cards": len(batch.pans)}


def _import_offline(file: Path, config: Config) -> dict[str, int]:
    """Import into a stopped engine's folder; the journal is durable when this returns."""
    partition = open_partition(
        Path(config.data), bounds_of(config), choice=choice_of(config), note=report
    )
    try:
        _, cards, _ = partition.vault.last_numbers()
        batch = read_import(file, first_serial=cards + 1, on_progress=Progress(_rows_read))
        registrar = Registrar(partition.vault, partition.tokenizer, partition.state)
        try:
            registration = registrar.register(batch, time.time_ns())
        except RegistrarError as problem:
            if "limits." in str(problem):
                raise ConfigError(str(problem)) from None
            raise ProblemFoundError(f"{file}: {problem}; nothing was imported") from None
        partition.append(registration.records, b"import")
        partition.snapshot()
    finally:
        partition.close()
    return {"rows": len(batch.pans), "accounts": len(batch.accounts), "cards": len(batch.pans)}


def _rows_read(rows: int, read_bytes: int, all_bytes: int) -> str:
    return f"{rows:,} rows read, {100 * read_bytes // max(all_bytes, 1)} %"
