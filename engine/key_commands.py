"""``de39 key ...``: the keys of a store, by name. Only check values are shown, never a key.

The store is the one of the configuration; where that names none, the encrypted file of the data
folder. A switch that runs holds its key file: stop it first, or change keys by message.
"""

import getpass
import json as json_text
import os
import secrets
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from engine.command_options import Flag, Whole
from engine.config import load_config
from engine.errors import ProblemFoundError, UsageError, run_command
from engine.security.ciphers import kcv_of, wipe
from engine.security.errors import KeyBlockError
from engine.security.file_store import MASTER_KEY_BYTES, replace_file, set_odd_parity
from engine.security.key_blocks import OLD_VERSIONS, unwrap, wrap
from engine.security.keys import KeyInfo, Usage, current
from engine.security.opening import MASTER_KEY_VARIABLE, open_store
from engine.security.settings import Security
from engine.security.store import KeyStore, draft, named, retire_older

_USAGES = {usage.name.lower().replace("_", "-"): usage for usage in Usage}
_ALGORITHMS = {"tdes": "T", "aes": "A"}
_COMPONENTS_MIN, _COMPONENTS_MAX = 2, 3


@run_command
def init(*, config: Path | None = None, data: Path | None = None, dry_run: Flag = False) -> None:
    """Make the master key of the encrypted key file, once.

    Parameters
    ----------
    config
        The TOML file of the switch.
    data
        The data folder, instead of the configuration's.
    dry_run
        Say what would be made, make nothing.
    """
    security, folder = _place(config, data)
    path = folder / security.master_key_file
    if security.store != "file":
        raise UsageError("only the encrypted file has a master key of its own")
    if path.exists() or MASTER_KEY_VARIABLE in os.environ:
        raise ProblemFoundError(f"there is a master key already: {path} or {MASTER_KEY_VARIABLE}")
    if (folder / security.file).exists():
        raise ProblemFoundError(f"{folder / security.file} has keys under another master key")
    if not dry_run:
        folder.mkdir(parents=True, exist_ok=True)
        replace_file(path, secrets.token_hex(MASTER_KEY_BYTES).encode("ascii") + b"\n")
    _say(f"{path}: {'would be made' if dry_run else 'made'}; whoever reads it reads every key")


@run_command
def show(
    name: str | None = None,
    /,
    *,
    config: Path | None = None,
    data: Path | None = None,
    json: Flag = False,
) -> None:
    """List keys: usage, version, validity and check value.

    Parameters
    ----------
    name
        Only the versions of this key.
    config, data
        As for key init.
    json
        Print a JSON list.
    """
    with _store(config, data, is_read_only=True) as store:
        keys = [key for key in store.infos() if name in (None, key.name)]
    if name is not None and not keys:
        raise ProblemFoundError(f"no key {name!r}")
    _print(keys, as_json=json)


@run_command
def generate(
    name: str,
    /,
    *,
    usage: str,
    algorithm: str = "",
    size_bytes: Whole = 0,
    exportable: Flag = False,
    config: Path | None = None,
    data: Path | None = None,
    dry_run: Flag = False,
    json: Flag = False,
) -> None:
    """Make a random key where keys are kept; a name that stands gets a further version.

    Parameters
    ----------
    name
        Of the key, such as acquirer-a.mac.
    usage
        kek, key-block, mac-1, mac-3, mac-cmac, pin, pvk-ibm, pvk-visa, cvk or imk-ac.
    algorithm
        tdes or aes; what the usage has when left out, AES where it has both.
    size_bytes
        16, 24 or 32; 16 when left out.
    exportable
        Let it go out in a key block.
    config, data
        As for key init.
    dry_run
        Check everything, make nothing.
    json
        Print a JSON list.
    """
    kind = _usage(usage)
    with _store(config, data) as store:
        new = draft(
            store, name, kind, _algorithm(algorithm, kind), size_bytes or 16, exportable=exportable
        )
        if not dry_run:
            new = store.generate(new)
    _print([new], as_json=json)


@run_command
def rotate(
    name: str,
    /,
    *,
    grace_s: Whole = 600,
    config: Path | None = None,
    data: Path | None = None,
    dry_run: Flag = False,
    json: Flag = False,
) -> None:
    """Make the next version of a key; the version before it is taken until the grace ends.

    Parameters
    ----------
    name
        Of the key.
    grace_s
        Seconds for which the old version is taken.
    config, data
        As for key init.
    dry_run
        Check everything, change nothing.
    json
        Print a JSON list: the new version.
    """
    if grace_s < 0:
        raise UsageError("--grace-s must be 0 or more")
    now_s = int(time.time())
    with _store(config, data) as store:
        old = current(store.infos(), name, now_s)
        new = draft(
            store,
            name,
            old.usage,
            old.algorithm,
            old.size_bytes,
            not_before_s=now_s,
            exportable=old.exportable,
        )
        if not dry_run:
            new = store.generate(new)
            retire_older(store, new, now_s + grace_s)
    _print([new], as_json=json)


@run_command
def import_key(
    name: str,
    /,
    *,
    usage: str = "",
    algorithm: str = "tdes",
    components: Whole = 2,
    under: str = "",
    exportable: Flag = False,
    config: Path | None = None,
    data: Path | None = None,
    dry_run: Flag = False,
    json: Flag = False,
) -> None:
    """Take a key as clear components, or as an X9.143 key block with --under.

    Each component is typed by its own custodian (on a terminal without echo), or is a line of
    standard input; its check value is shown, so that each can check theirs. The key is the
    exclusive or of all. A key block is one line of standard input: version B or D, or one of before
    (A and C, under a TDES key of the file store).

    Parameters
    ----------
    name
        Of the key.
    usage
        Of the key, as for key generate; a key block says its own.
    algorithm
        tdes or aes.
    components
        2 or 3.
    under
        Name of the key that protects the key block.
    exportable
        Let the key go out again in a key block.
    config, data
        As for key init.
    dry_run
        Check everything, keep nothing.
    json
        Print a JSON list.
    """
    with _store(config, data) as store:
        if under:
            block = _line("key block: ")
            found = unwrap(store, named(store, under), block)
            if block[0] in OLD_VERSIONS:
                _say(f"a key block of version {block[0]} has a MAC of 4 bytes only: ask for B or D")
            kind, letter, value = found.usage, found.algorithm, found.value
            exportable = exportable and found.exportable
            if usage and _usage(usage) is not kind:
                wipe(value)
                raise KeyBlockError(f"the key block holds a {kind.name} key, not {usage}")
        else:
            kind = _usage(usage)
            letter = _algorithm(algorithm, kind)
            value = _combined(components, letter)
        try:
            new = draft(store, name, kind, letter, len(value), exportable=exportable)
            new = msgspec.structs.replace(new, kcv=kcv_of(value, letter))
            if not dry_run:
                store.add(new, value)
        finally:
            wipe(value)
    _print([new], as_json=json)


@run_command
def export(
    name: str, /, *, under: str, config: Path | None = None, data: Path | None = None
) -> None:
    """Print an exportable key as an X9.143 key block, version B under TDES, D under AES.

    Parameters
    ----------
    name
        Of the key.
    under
        Name of the key-block key that protects it.
    config, data
        As for key init.
    """
    with _store(config, data, is_read_only=True) as store:
        sys.stdout.write(wrap(store, named(store, under), named(store, name)) + "\n")


@run_command
def remove(
    name: str,
    version: Whole,
    /,
    *,
    config: Path | None = None,
    data: Path | None = None,
    dry_run: Flag = False,
) -> None:
    """Destroy one version of a key; it cannot be had back.

    Parameters
    ----------
    name, version
        Of the key, as key show lists them.
    config, data
        As for key init.
    dry_run
        Check that it is there, destroy nothing.
    """
    with _store(config, data) as store:
        key = named(store, name, version)
        if not dry_run:
            store.remove(key)
    _say(f"{name} version {key.version} ({key.kcv}): {'would be' if dry_run else ''} destroyed")


def _place(config: Path | None, data: Path | None) -> tuple[Security, Path]:
    overrides = {} if data is None else {"data": str(data)}
    loaded = load_config(config, os.environ, overrides)
    security = loaded.security
    if security.store == "none":
        security = msgspec.structs.replace(security, store="file")
    return security, Path(loaded.data)


@contextmanager
def _store(
    config: Path | None, data: Path | None, *, is_read_only: bool = False
) -> Iterator[KeyStore]:
    security, folder = _place(config, data)
    store = open_store(security, folder, os.environ, is_read_only=is_read_only)
    try:
        yield store
    finally:
        store.close()


def _usage(text: str) -> Usage:
    if text not in _USAGES:
        raise UsageError(f"--usage: expected one of {', '.join(_USAGES)}")
    return _USAGES[text]


def _algorithm(text: str, usage: Usage) -> str:
    if not text:
        return usage.algorithms[-1]
    if text not in _ALGORITHMS:
        raise UsageError("--algorithm: expected tdes or aes")
    return _ALGORITHMS[text]


def _combined(count: int, algorithm: str) -> bytearray:
    """Return the exclusive or of the components; says the check value of each."""
    if not _COMPONENTS_MIN <= count <= _COMPONENTS_MAX:
        raise UsageError("--components: expected 2 or 3; nobody alone knows a key")
    parts: list[bytearray] = []
    for number in range(1, count + 1):
        part = _component(number)
        if parts and len(part) != len(parts[0]):
            raise KeyBlockError(f"component {number} has another length than component 1")
        if any(part == other for other in parts) or not any(part):
            raise KeyBlockError(f"component {number} is one given already, or only zeros")
        _say(f"component {number}: check value {_kcv_of_component(part, algorithm)}")
        parts.append(part)
    value = bytearray(len(parts[0]))
    for part in parts:
        for at, byte in enumerate(part):
            value[at] ^= byte
        wipe(part)
    if algorithm == "T":
        set_odd_parity(value)
    return value


def _component(number: int) -> bytearray:
    text = _line(f"component {number}, in hex: ").replace(" ", "")
    try:
        return bytearray.fromhex(text)
    except ValueError:
        raise KeyBlockError(f"component {number} is not hex") from None


def _kcv_of_component(part: bytearray, algorithm: str) -> str:
    try:
        return kcv_of(part, algorithm)
    except ValueError:
        sizes = "16 or 24" if algorithm == "T" else "16, 24 or 32"
        raise KeyBlockError(f"a component has {sizes} bytes, not {len(part)}") from None


def _line(prompt: str) -> str:
    """Return a line that nobody sees: without echo on a terminal, else of standard input."""
    text = getpass.getpass(prompt) if sys.stdin.isatty() else sys.stdin.readline()
    if not text.strip():
        raise UsageError(f"expected a line on standard input: {prompt.rstrip(': ')}")
    return text.strip()


def _print(keys: list[KeyInfo], *, as_json: bool) -> None:
    if as_json:
        shown = [{**msgspec.to_builtins(key), "usage": key.usage.name} for key in keys]
        sys.stdout.write(json_text.dumps(shown) + "\n")
        return
    row = "{:<24} {:>4} {:<9} {:<8} {:<11} {:<17} {}\n"
    sys.stdout.write(row.format("name", "ver", "usage", "kind", "check", "from", "until"))
    for key in keys:
        kind = f"{'TDES' if key.algorithm == 'T' else 'AES'}-{8 * key.size_bytes}"
        times = (_time(key.not_before_s), _time(key.not_after_s))
        sys.stdout.write(row.format(key.name, key.version, key.usage.name, kind, key.kcv, *times))


def _time(seconds: int) -> Any:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%MZ") if seconds else "-"


def _say(text: str) -> None:
    sys.stderr.write(f"de39: {text}\n")
