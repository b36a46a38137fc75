"""What decides and what is spoken: dialects, rules and model of a configuration, read and checked.

At the start and at each reload, before anything is opened or changed.
"""

import platform
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from engine import limits
from engine.authorize import Settings
from engine.config import NONE, SHIPPED, Config
from engine.errors import ConfigError
from engine.gate import Places, merged
from engine.items import StandIn
from engine.link_config import Dial, Listen
from engine.metrics import BuildInfo
from engine.rules.program import Program, default_rules_path, load_rules, no_rules, require_rules
from engine.terms import DEFAULT_PATH, TermsError, load_terms
from engine.tls import client_context, server_context
from engine.wire.dialect import Dialect, load_builtin, load_dialect
from engine.wire.profile import Profile
from engine.wire.table import DialectTable, compile_dialects
from ledger.deadlines import LIFE_H_MAX
from scoring.errors import ModelError
from scoring.model_folder import ModelFolder
from scoring.registry import Model, default_model_path, load_model

_HOUR_S = 3600
assert limits.HOLD_LIFE_H_MAX == LIFE_H_MAX, "what may be configured is what the wheel holds"


@dataclass(frozen=True, slots=True)
class Parts:
    """What decides: ``dialects`` are the rows of the dialect table.

    ``model`` is the one promoted over HTTP, if any since ``configured`` was configured, else that.
    """

    dialects: list[Dialect]
    program: Program
    model: Model | None
    configured: Model | None
    lost: str = ""  # why there is no model although there should be one


class Prepared(NamedTuple):
    """What a switch goes by, made of files that were read and found right."""

    parts: Parts
    table: DialectTable
    settings: Settings
    contexts: list[ssl.SSLContext | None]  # of each listener, in order


def prepare(config: Config) -> Prepared:
    """Read everything that a configuration names, so that what cannot be used is refused now.

    Nothing is opened, changed or compiled. The errors are one line with file and place.
    """
    _check_folder(Path(config.data))
    parts = load_parts(config)
    try:
        table = compile_dialects(parts.dialects)
    except ValueError as problem:
        raise ConfigError(f"listen, peer and dial: {problem}") from None
    settings = settings_of(config, scorer_lost=bool(parts.lost))
    for dial in config.dial:
        client_context(dial)
    return Prepared(parts, table, settings, [server_context(listen) for listen in config.listen])


def _check_folder(data: Path) -> None:
    """Refuse a data folder that cannot be one, before its files are called unreadable."""
    found = next(place for place in (data.absolute(), *data.absolute().parents) if place.exists())
    if not found.is_dir():
        raise ConfigError(f"data: {found} is a file; expected a folder, or a place to make one")


def load_parts(config: Config) -> Parts:
    """Read dialects, rules and model; their errors name file and place."""
    rules, model = rules_path(config), config.scoring.model
    dialects = [_load(name, most) for name, most in _dialect_rows(config)]
    _check_macs(config, dialects)
    program = no_rules() if rules is None else require_rules(load_rules(rules), str(rules))
    scorer = champion = None
    lost = ""
    if model != NONE:
        try:
            scorer = load_model(default_model_path() if model == SHIPPED else Path(model))
            champion = ModelFolder(Path(config.data) / "models").champion(scorer)
        except ModelError as problem:
            if config.scoring.required:
                raise
            lost = str(problem)
    return Parts(dialects, program, champion, scorer, lost)


def _dialect_rows(config: Config) -> list[tuple[str, int]]:
    """Return what needs a row of the dialect table: each dialect with each bound of a frame."""
    links: list[Listen | Dial] = [*config.listen, *config.dial]
    links += [
        merged(listen, peer)
        for listen in config.listen
        for peer in config.peer
        if peer.listener in ("", listen.address)
    ]
    return sorted({(link.dialect, link.frame_bytes_max) for link in links})


def _check_macs(config: Config, dialects: Sequence[Dialect]) -> None:
    """Refuse links of a dialect that demands authentication codes and have no key for them."""
    rows = dict(zip(_dialect_rows(config), dialects, strict=True))
    with_key = {profile.name for profile in config.security_profile if profile.mac_key}
    links: list[tuple[str, Listen | Dial]] = [
        *((f"listen[{i}]", listen) for i, listen in enumerate(config.listen)),
        *((f"dial[{i}]", dial) for i, dial in enumerate(config.dial)),
    ]
    for listen in config.listen:
        links += [
            (f"peer[{i}]", merged(listen, peer))
            for i, peer in enumerate(config.peer)
            if peer.listener in ("", listen.address)
        ]
    for key, link in links:
        dialect = rows[link.dialect, link.frame_bytes_max]
        if dialect.profile[Profile.MAC_REQUIRED] and link.security not in with_key:
            raise ConfigError(
                f"{key}.security: expected a [[security_profile]] with a mac_key:"
                f" dialect {dialect.name} demands message authentication"
            )


def places_of(config: Config) -> Places:
    """Return where the dialects and security profiles of a configuration stand."""
    rows = {key: row for row, key in enumerate(_dialect_rows(config))}
    names = [profile.name for profile in config.security_profile]
    return Places(rows, {"": 0} | {name: number for number, name in enumerate(names, 1)})


def _load(name: str, frame_bytes_max: int) -> Dialect:
    dialect = load_dialect(Path(name)) if name.endswith(".toml") else load_builtin(name)
    framing = dialect.framing
    most = max(min(framing.max_bytes, frame_bytes_max), framing.min_bytes)
    return replace(dialect, framing=msgspec.structs.replace(framing, max_bytes=most))


def settings_of(config: Config, *, scorer_lost: bool = False) -> Settings:
    """Return the decision settings of a configuration; a hold lives whole hours.

    Raises ``ConfigError`` for a terms file that cannot be taken.
    """
    chosen = config.authorization
    try:
        terms = load_terms(DEFAULT_PATH if chosen.terms == SHIPPED else Path(chosen.terms))
    except TermsError as problem:
        raise ConfigError(str(problem)) from None
    if chosen.hold_life_s:
        terms = terms._replace(life_h=np.full_like(terms.life_h, -(-chosen.hold_life_s // _HOUR_S)))
    return Settings(
        terms=terms,
        duplicate_window_s=config.authorization.duplicate_window_s,
        clock_from_messages=config.clock.source == "message",
        pin_tries_max=config.security.pin_tries_max,
        stand_in_after_ms=config.scoring.stand_in_after_ms,
        stand_in=StandIn[config.scoring.stand_in.upper()],
        floor_minor=config.scoring.floor_minor,
        scorer_lost=scorer_lost,
    )


def rules_path(config: Config) -> Path | None:
    """Return the configured rule file; None = no rules."""
    name = config.rules.file
    if name == NONE:
        return None
    return default_rules_path() if name == SHIPPED else Path(name)


def build_info(parts: Parts, version: str) -> BuildInfo:
    """Return what ``/version`` says of these parts."""
    model = "" if parts.model is None else parts.model.sha256
    return BuildInfo(version, platform.python_version(), parts.program.sha256, model)
