"""``de39 doctor``: what a configuration names, tried as a start tries it; nothing is made or held.

Each finding goes on where a start would end, so that all that is wrong is told at once.
"""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from engine.admin.token import TOKEN_FILE, find_token
from engine.config import NONE, Config
from engine.doctor import Finding
from engine.errors import OperatingError
from engine.parts import prepare
from engine.rules.errors import RuleError
from engine.security.opening import missing_keys, open_store
from engine.wire.dialect import DialectError
from ledger.stores.file import holder_of
from scoring.errors import ModelError


def examine_files(config: Config) -> Iterator[Finding]:
    """Look at the files of the configuration, and at those of the data folder that a start needs.

    Compiles nothing. An error that is our own is raised.
    """
    data = Path(config.data)
    yield _tried("files", lambda: _files(config))
    yield _tried("data folder", lambda: _folder(data))
    yield _tried("admin token", lambda: _token(data))
    if config.security.store != NONE:
        yield _tried("keys", lambda: _keys(config, data))


def _tried(check: str, look: Callable[[], Finding]) -> Finding:
    try:
        return look()
    except (OperatingError, ModelError, RuleError, DialectError, OSError) as problem:
        return Finding(check, "fail", str(problem), "a start would be refused with this line")


def _files(config: Config) -> Finding:
    prepared = prepare(config)
    names = ", ".join(sorted({dialect.name for dialect in prepared.parts.dialects}))
    if prepared.parts.lost:
        advice = "it starts all the same: scoring.required is false"
        return Finding("files", "warn", prepared.parts.lost, advice)
    return Finding("files", "ok", f"{names}, rules, model and certificates can be used")


def _folder(data: Path) -> Finding:
    holder = holder_of(data)
    if holder is not None:
        advice = "stop that process, or choose another folder"
        return Finding("data folder", "fail", f"{data} is in use by process {holder}", advice)
    return Finding("data folder", "ok", f"no process has {data}")


def _token(data: Path) -> Finding:
    if find_token(data, os.environ) is None:
        return Finding("admin token", "ok", f"{data / TOKEN_FILE} is made at the first start")
    return Finding("admin token", "ok", "can be used")


def _keys(config: Config, data: Path) -> Finding:
    store = open_store(config.security, data, os.environ, is_read_only=True)
    try:
        missing = missing_keys(store, config.security_profile, config.issuer, int(time.time()))
    finally:
        store.close()
    if missing:
        advice = "what needs them is declined: `de39 key import`, or a key change by message"
        return Finding("keys", "warn", f"no valid key for {', '.join(missing)}", advice)
    return Finding("keys", "ok", "every key that is named is there")
