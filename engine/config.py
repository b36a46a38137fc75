"""What an operator may choose: one TOML file, typed, with errors that name the key.

Precedence: defaults, then the file, then ``DE39_SECTION__KEY`` variables, then command-line flags.
Relative paths in the file count from the file's folder, all others from the working folder. Only
``load_config`` reads a file; the environment is passed in. Secrets never print (``show``).
"""

import ipaddress
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from engine import config_tree, limits
from engine.authorization_config import Authorization
from engine.errors import ConfigError
from engine.link_config import Dial, Links, Listen, OutboxSection, Peer, Section
from engine.scoring_config import Scoring
from engine.security.settings import Issuer, Security, SecurityProfile, faults_of
from ledger.postgres.dsn import hosts_of

ENV_PREFIX: Final = "DE39_"
PLAIN_KEYS: Final = frozenset({"data"})  # of the top level; the others are tables
SHIPPED: Final = "default"
NONE: Final = "none"
DIALECT_FOLDER: Final = Path(__file__).parent / "wire" / "dialects"


class Http(Section, frozen=True):
    """Metrics, health and the /v1 API."""

    address: Annotated[str, Meta(description="HOST:PORT; keep it on a loopback address")] = (
        "127.0.0.1:8580"
    )


class Rules(Section, frozen=True):
    """The rule set."""

    file: Annotated[
        str,
        Meta(description='path of a rule file; "default" = the shipped one; "none" = no rules'),
    ] = SHIPPED
    watch_s: Annotated[
        int,
        Meta(ge=0, le=3600, description="how often the file is looked at; 0 = only on SIGHUP"),
    ] = 0
    four_eyes: Annotated[
        bool, Meta(description="a set, a reload or a promotion over HTTP needs a second operator")
    ] = False


class Ledger(Section, frozen=True):
    """The journal."""

    store: Annotated[
        Literal["file", "postgres"],
        Meta(description="where the journal is kept"),
    ] = "file"
    dsn: Annotated[
        str,
        Meta(
            description="of the database; a secret, set it by DE39_LEDGER__DSN; "
            "empty = an embedded PostgreSQL in the data folder"
        ),
    ] = ""
    replica_count: Annotated[
        int,
        Meta(ge=0, le=8, description="standbys of the database that must have a commit"),
    ] = 0
    commit_timeout_s: Annotated[
        Annotated[int, Meta(ge=1, le=60)],
        Meta(description="wait for one answer of the database, after which it is unknown"),
    ] = 5
    retry_s: Annotated[
        Annotated[int, Meta(ge=1, le=3600)],
        Meta(description="wait for a database that can tell, after which the engine stops"),
    ] = 30
    segment_bytes: Annotated[
        int,
        Meta(
            ge=limits.MIB,
            le=1024 * limits.MIB,
            description="a journal file, written ahead; of a database, what is archived at a time",
        ),
    ] = 64 * limits.MIB
    reserve_bytes: Annotated[
        int,
        Meta(ge=0, le=1 << 40, description="with less free where the data lies, /readyz says no"),
    ] = 192 * limits.MIB
    snapshot_interval_s: Annotated[
        float, Meta(ge=0, le=86_400, description="between snapshots while running; 0 = not by time")
    ] = 600.0
    snapshot_record_count: Annotated[
        int,
        Meta(
            ge=0,
            le=1 << 40,
            description="records after which one is taken anyway; 0 = not by records",
        ),
    ] = 5_000_000
    checkpoint_interval_s: Annotated[
        float, Meta(ge=0, le=3600, description="between signed checkpoints; 0 = no proofs")
    ] = 1.0
    witness_file: Annotated[
        str,
        Meta(description="file that gets the last acknowledged record, best on another disk"),
    ] = ""
    witnesses: Annotated[
        tuple[str, ...],
        Meta(max_length=64, description="witness files that the journal must not be behind"),
    ] = ()
    archive_folder: Annotated[
        str, Meta(description="where old segments are moved, by age or size; empty = they stay")
    ] = ""
    archive_age_s: Annotated[
        int, Meta(ge=0, le=1 << 32, description="segments that ended before go; 0 = not by age")
    ] = 0
    archive_bytes: Annotated[
        int, Meta(ge=0, le=1 << 50, description="the oldest go above this; 0 = not by size")
    ] = 0


class Limits(Section, frozen=True):
    """Bounds of tables and batches; past one the answer is a counted decline."""

    cards_max: Annotated[int, Meta(ge=1, le=limits.CARDS_MAX, description="cards")] = 2_000_000
    accounts_max: Annotated[int, Meta(ge=1, le=limits.ACCOUNTS_MAX, description="accounts")] = (
        2_000_000
    )
    merchants_max: Annotated[
        int, Meta(ge=1, le=limits.MERCHANTS_MAX, description="merchants with counters of their own")
    ] = 1_000_000
    bins_max: Annotated[
        int, Meta(ge=1, le=limits.BINS_MAX, description="BINs with counters of their own")
    ] = 65_536
    authorizations_max: Annotated[
        int,
        Meta(
            ge=1,
            le=limits.AUTHORIZATIONS_MAX,
            description="requests remembered: open holds, and all within the duplicate window",
        ),
    ] = 8_000_000
    clearings_max: Annotated[
        int,
        Meta(
            ge=2,
            le=limits.CLEARINGS_MAX,
            description="ids of clearing and repayment remembered; an older one would post again",
        ),
    ] = 2_000_000
    batch_max_frames: Annotated[
        int, Meta(ge=1, le=limits.BATCH_FRAMES_MAX, description="messages worked at once")
    ] = limits.BATCH_FRAMES_MAX


class Clock(Section, frozen=True):
    """Engine time."""

    source: Annotated[
        Literal["system", "message"],
        Meta(description="message = from DE7 of each message, to replay recorded traffic"),
    ] = "system"
    start: Annotated[
        Annotated[datetime, Meta(tz=True)] | None,
        Meta(description="first engine time for message: DE7 has no year; RFC 3339"),
    ] = None


class Log(Section, frozen=True):
    """Lines on stderr."""

    level: Annotated[
        Literal["debug", "info", "warning", "error"], Meta(description="least level written")
    ] = "info"
    format: Annotated[
        Literal["auto", "json", "text"],
        Meta(description="auto = text on a terminal, else one JSON object a line"),
    ] = "auto"


class Config(Section, frozen=True):
    """The whole configuration."""

    data: Annotated[
        str, Meta(description="data folder: journal, snapshots, vault, admin token")
    ] = "de39-data"
    listen: Annotated[
        tuple[Listen, ...], Meta(min_length=1, max_length=64, description="listeners")
    ] = (Listen(),)
    peer: Annotated[
        tuple[Peer, ...], Meta(max_length=4096, description="peers with terms of their own")
    ] = ()
    dial: Annotated[
        tuple[Dial, ...], Meta(max_length=64, description="lines that the host opens")
    ] = ()
    outbox: OutboxSection = OutboxSection()
    links: Links = Links()
    http: Http = Http()
    rules: Rules = Rules()
    scoring: Scoring = Scoring()
    ledger: Ledger = Ledger()
    limits: Limits = Limits()
    authorization: Authorization = Authorization()
    security: Security = Security()
    security_profile: Annotated[
        tuple[SecurityProfile, ...], Meta(max_length=255, description="what links do with keys")
    ] = ()
    issuer: Annotated[
        tuple[Issuer, ...], Meta(max_length=64, description="keys of the issuer's own cards")
    ] = ()
    clock: Clock = Clock()
    log: Log = Log()


def load_config(
    path: Path | None = None,
    env: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Config:
    """Return the configuration from file, environment and flags.

    Parameters
    ----------
    path
        The TOML file; None = defaults only.
    env
        Environment; None = no variables. ``DE39_LISTEN__0__ADDRESS`` sets ``listen[0].address``.
    overrides
        Flags by dotted key, such as ``{"http.address": "127.0.0.1:0"}``; None values are skipped.

    Raises
    ------
    ConfigError
        One line with file or variable, key, and what would be right.
    """
    tree: dict[str, Any] = {} if path is None else _read(path)
    origins: dict[str, str] = {}
    for name, text in sorted((env or {}).items()):
        keys = config_tree.keys_of_variable(name, ENV_PREFIX, PLAIN_KEYS)
        if keys is not None:
            value = config_tree.typed(Config, keys, text, name, variables())
            config_tree.put(tree, keys, value, name)
            origins[config_tree.joined(keys)] = name
    for dotted, value in (overrides or {}).items():
        if value is not None:
            keys = config_tree.keys_of(dotted)
            config_tree.put(tree, keys, value, "command line")
            origins[config_tree.joined(keys)] = "command line"
    default_origin = "configuration" if path is None else str(path)

    def origin(key: str) -> str:
        return config_tree.origin_of(key, origins, default_origin)

    config_tree.check_keys(Config, tree, [], origin)
    try:
        config = msgspec.convert(tree, Config)
    except msgspec.ValidationError as problem:
        key, text = config_tree.located(problem, Config)
        raise ConfigError(f"{origin(key)}: {key}: {text}") from None
    for key, text in _faults(config):
        raise ConfigError(f"{origin(key)}: {key}: {text}")
    return config


def show(config: Config) -> str:
    """Return the configuration as TOML, complete, secrets hidden."""
    return config_tree.as_toml(hidden(config))


def hidden(config: Config) -> dict[str, Any]:
    """Return the configuration as plain values, secrets hidden."""
    tree: dict[str, Any] = msgspec.to_builtins(config)
    tree["ledger"]["dsn"] = _hidden_dsn(config.ledger.dsn)
    return tree


def variables() -> list[str]:
    """Return the name of the environment variable of each key, of the first element in lists."""
    names = []
    for section, field in (config_tree.fields_of(Config) or {}).items():
        item = config_tree.list_item(field.type)
        inner = config_tree.fields_of(item or field.type)
        middle = "__0" if item is not None else ""
        keys = [f"__{key}" for key in inner] if inner else [""]
        names += [f"{ENV_PREFIX}{section}{middle}{key}".upper() for key in keys]
    return names


def schema() -> dict[str, Any]:
    """Return the JSON Schema of the file, for editors."""
    return msgspec.json.schema(Config)


def split_address(address: str) -> tuple[str, int]:
    """Return (host, port) of ``HOST:PORT`` or ``[IPV6]:PORT``; ValueError says what is wrong."""
    host, colon, port = address.rpartition(":")
    if not (colon and port.isascii() and port.isdigit() and int(port) <= 65_535):
        raise ValueError('expected HOST:PORT with a port of 0 to 65535, such as "127.0.0.1:8583"')
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError('an IPv6 host stands in brackets, such as "[::1]:8583"')
    if not host:
        raise ValueError('a host is missing before the port; "0.0.0.0" is every interface')
    return host, int(port)


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches ``host``."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _read(path: Path) -> dict[str, Any]:
    tree = config_tree.read_toml(path)
    folder = path.resolve().parent
    _from_folder(tree, "data", folder)
    _from_folder(tree.get("rules"), "file", folder)
    _from_folder(tree.get("scoring"), "model", folder)
    _from_folder(tree.get("authorization"), "terms", folder)
    ledger = tree.get("ledger")
    _from_folder(ledger, "witness_file", folder)
    _from_folder(ledger, "archive_folder", folder)
    if isinstance(ledger, dict) and isinstance(ledger.get("witnesses"), list):
        ledger["witnesses"] = [
            str(folder / Path(name).expanduser()) if isinstance(name, str) else name
            for name in ledger["witnesses"]
        ]
    for name in ("listen", "peer", "dial"):
        for block in tree[name] if isinstance(tree.get(name), list) else []:
            if isinstance(block, dict) and str(block.get("dialect", "")).endswith(".toml"):
                _from_folder(block, "dialect", folder)
            for key in ("tls_certificate", "tls_key", "tls_client_ca", "tls_ca"):
                _from_folder(block, key, folder)
    return tree


def _from_folder(table: object, key: str, folder: Path) -> None:
    if isinstance(table, dict) and isinstance(table.get(key), str):
        value = table[key]
        if value and value not in (SHIPPED, NONE):
            table[key] = str(folder / Path(value).expanduser())


def _faults(config: Config) -> Iterator[tuple[str, str]]:
    """Yield (key, what would be right) for values that have the right type and cannot be."""
    yield from _link_faults(config)
    if (fault := _address_fault(config.http.address)) is not None:
        yield "http.address", fault
    addresses = [listen.address for listen in config.listen] + [config.http.address]
    for i, address in enumerate(addresses):
        if address in addresses[:i] and not address.endswith(":0"):
            yield (
                f"listen[{i}].address" if i < len(config.listen) else "http.address",
                (f"{address} is taken by another listener; choose another port"),
            )
    yield from _ledger_faults(config.ledger)
    for key, value in (("rules.file", config.rules.file), ("scoring.model", config.scoring.model)):
        if not value:
            yield key, 'expected a path, "default" or "none"'
    if not config.data:
        yield "data", "expected a folder"
    yield from faults_of(
        config.security,
        config.security_profile,
        config.issuer,
        [listen.security for listen in config.listen],
    )
    if config.clock.source == "message" and config.clock.start is None:
        yield "clock.start", 'needed with source = "message", such as 2026-01-31T00:00:00Z'


def _ledger_faults(ledger: Ledger) -> Iterator[tuple[str, str]]:
    if bool(ledger.archive_folder) != bool(ledger.archive_age_s or ledger.archive_bytes):
        yield "ledger.archive_folder", "goes with archive_age_s or archive_bytes"
    if ledger.store != "postgres":
        for key in ("dsn", "replica_count"):
            if getattr(ledger, key):
                yield f"ledger.{key}", 'only for store = "postgres"; leave it out'
        return
    if ledger.dsn:
        try:
            hosts_of(ledger.dsn)
        except ValueError as problem:
            yield "ledger.dsn", str(problem)
    elif ledger.replica_count:
        yield "ledger.replica_count", "needs ledger.dsn: the embedded server has no standbys"


def _link_faults(config: Config) -> Iterator[tuple[str, str]]:
    for i, listen in enumerate(config.listen):
        for key, text in _listen_faults(listen):
            yield f"listen[{i}].{key}", text
    for i, peer in enumerate(config.peer):
        for key, text in _peer_faults(peer, config):
            yield f"peer[{i}].{key}", text
    for i, dial in enumerate(config.dial):
        for key, text in _dial_faults(dial, config):
            yield f"dial[{i}].{key}", text


def _listen_faults(listen: Listen) -> Iterator[tuple[str, str]]:
    if (text := _address_fault(listen.address)) is not None:
        yield "address", text
        return
    for i, network in enumerate(listen.allow):
        if (text := _network_fault(network)) is not None:
            yield f"allow[{i}]", text
    if not listen.allow and not is_loopback(split_address(listen.address)[0]):
        yield "allow", 'needed for an address that others reach, such as ["10.1.0.0/16"]'
    if (text := _dialect_fault(listen.dialect)) is not None:
        yield "dialect", text
    if bool(listen.tls_certificate) != bool(listen.tls_key):
        yield "tls_key", "certificate and key go together: give both, or neither"
    if listen.tls_client_ca and not listen.tls_certificate:
        yield "tls_client_ca", "needs tls_certificate and tls_key of this listener"


def _peer_faults(peer: Peer, config: Config) -> Iterator[tuple[str, str]]:
    if not peer.name or sum(other.name == peer.name for other in config.peer) > 1:
        yield "name", "expected a name that no other peer has"
    if not (peer.networks or peer.subject or peer.san or peer.fingerprint):
        yield "name", "names nothing to know the peer by: networks, subject, san or fingerprint"
    if peer.listener and peer.listener not in {listen.address for listen in config.listen}:
        yield "listener", "expected the address of a [[listen]] block, as it stands there"
    for i, network in enumerate(peer.networks):
        if (text := _network_fault(network)) is not None:
            yield f"networks[{i}]", text
    if peer.fingerprint and not re.fullmatch(
        r"(?i)([0-9a-f]{2}:?){31}[0-9a-f]{2}", peer.fingerprint
    ):
        yield "fingerprint", "expected the 64 hex digits of a SHA-256"
    if peer.dialect is not None and (text := _dialect_fault(peer.dialect)) is not None:
        yield "dialect", text
    if (text := _security_fault(peer.security, config)) is not None:
        yield "security", text


def _security_fault(name: str | None, config: Config) -> str | None:
    names = [profile.name for profile in config.security_profile]
    if name and name not in names:
        return f"no such security_profile; known are: {', '.join(names) or 'none'}"
    return None


def _dial_faults(dial: Dial, config: Config) -> Iterator[tuple[str, str]]:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", dial.name):
        yield "name", "expected a name of 1 to 64 characters of A-Z a-z 0-9 . _ -"
    if sum(other.name == dial.name for other in config.dial) > 1:
        yield "name", "is taken by another line"
    if (text := _address_fault(dial.address)) is not None:
        yield "address", text
    if (text := _dialect_fault(dial.dialect)) is not None:
        yield "dialect", text
    if (text := _security_fault(dial.security, config)) is not None:
        yield "security", text
    if bool(dial.tls_certificate) != bool(dial.tls_key):
        yield "tls_key", "certificate and key go together: give both, or neither"
    if dial.tls_certificate and not dial.tls_ca:
        yield "tls_ca", "needed with tls_certificate: who may sign the network's certificate"


def _dialect_fault(dialect: str) -> str | None:
    shipped = sorted(file.stem for file in DIALECT_FOLDER.glob("*.toml"))
    if not dialect.endswith(".toml") and shipped and dialect not in shipped:
        return f"expected {', '.join(shipped)} or the path of a .toml file"
    return None


def _network_fault(network: str) -> str | None:
    try:
        ipaddress.ip_network(network)
    except ValueError:
        return 'expected a network, such as "10.1.0.0/16"'
    return None


def _address_fault(address: str) -> str | None:
    try:
        split_address(address)
    except ValueError as problem:
        return str(problem)
    return None


def _hidden_dsn(dsn: str) -> str:
    """Return a DSN without its password, in either of PostgreSQL's two forms."""
    dsn = re.sub(r"(://[^:/@]*):[^@]*@", r"\1:[hidden]@", dsn)
    return re.sub(r"(?i)(password\s*=\s*)('(?:[^'\\]|\\.)*'|[^\s&]+)", r"\1[hidden]", dsn)
