"""SHELL: one running switch, from opening the data folder to the last answer.

Start: recover, warm the kernels, listen. Stop on SIGTERM or SIGINT: accept nothing more, answer
what was taken in, sync, snapshot, exit 0. A journal that fails stops the process at once: what was
not acknowledged never leaves.
"""

import asyncio
import os
import platform
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import msgspec
import uvloop

from engine import __version__, warm
from engine.admin.http import AdminServer
from engine.admin.token import load_token
from engine.authorize import Authorizer, Settings, Workspace
from engine.config import NONE, SHIPPED, Config
from engine.errors import StorageFailure
from engine.limits import ARENA_BYTES
from engine.metrics import BuildInfo, Counter, Gauge, Metrics, Queue, Table
from engine.observe import Fields, Log
from engine.operations import EngineOperations
from engine.partition import Partition, bounds_of, choice_of, open_partition
from engine.pipeline import Pipeline, event_job
from engine.registrar import Registrar
from engine.rule_desk import EngineRuleDesk
from engine.rules.program import Program, default_rules_path, load_rules, no_rules
from engine.security.opening import make_guard, number_of_profile, open_store
from engine.server import Server
from engine.store_health import can_commit, durability_of, note_store, trouble_of
from engine.upkeep import Upkeep
from engine.wire.dialect import Dialect, load_builtin, load_dialect
from engine.wire.table import compile_dialects
from ledger.authorizations import Cursor
from ledger.commit import CommitJob, Committer
from ledger.stores.place import Store
from scoring.registry import Model, default_model_path, load_model

_TICK_S = 0.25  # timers, gauges and expiries
_HOUR_S = 3600

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Parts:
    """What decides: read and checked before anything is opened."""

    dialects: list[Dialect]
    program: Program
    model: Model | None


def load_parts(config: Config) -> Parts:
    """Read dialects, rules and model; their errors name file and place."""
    rules, model = _rules_path(config), config.scoring.model
    dialects = [_load(name, most) for name, most in _dialect_rows(config)]
    program = no_rules() if rules is None else load_rules(rules)
    scorer = None
    if model != NONE:
        scorer = load_model(default_model_path() if model == SHIPPED else Path(model))
    return Parts(dialects, program, scorer)


def _dialect_rows(config: Config) -> list[tuple[str, int]]:
    """Return what needs a row of the dialect table: each dialect with each bound of a frame."""
    return sorted({(listen.dialect, listen.frame_bytes_max) for listen in config.listen})


def _load(name: str, frame_bytes_max: int) -> Dialect:
    dialect = load_dialect(Path(name)) if name.endswith(".toml") else load_builtin(name)
    framing = dialect.framing
    most = max(min(framing.max_bytes, frame_bytes_max), framing.min_bytes)
    return replace(dialect, framing=msgspec.structs.replace(framing, max_bytes=most))


def settings_of(config: Config) -> Settings:
    """Return the decision settings of a configuration; a hold lives whole hours."""
    return Settings(
        hold_life_h=-(-config.authorization.hold_life_s // _HOUR_S),
        duplicate_window_s=config.authorization.duplicate_window_s,
        clock_from_messages=config.clock.source == "message",
        pin_tries_max=config.security.pin_tries_max,
    )


def make_authorizer(config: Config, parts: Parts, partition: Partition) -> Authorizer:
    """Put the core together over an open partition."""
    start = config.clock.start
    if start is not None:
        cursor = partition.state.cursor
        cursor[Cursor.LAST_TS_NS] = max(
            int(cursor[Cursor.LAST_TS_NS]), int(start.timestamp()) * 1_000_000_000
        )
    # What the journal says decides until a record says otherwise.
    journaled = partition.state.rules.is_journaled
    authorizer = Authorizer(
        partition.state,
        compile_dialects(parts.dialects),
        partition.state.rules.program if journaled else parts.program,
        parts.model,
        partition.tables,
        partition.tokenizer,
        partition.hash_key,
        settings_of(config),
        Workspace(config.limits.batch_max_frames, ARENA_BYTES),
    )
    if config.security.store != NONE:
        authorizer.guard = make_guard(
            open_store(config.security, partition.data, os.environ),
            authorizer.table,
            config.security_profile,
            config.issuer,
            partition.vault.load_pin_values(),
            len(partition.state.chips),
        )
    return authorizer


class Switch:
    """One process that serves a data folder."""

    def __init__(self, config: Config, log: Log, report: Report) -> None:
        self.config = config
        self.log = log
        self._report = report
        self._failure: Exception | None = None
        self._stop = asyncio.Event()
        self._is_ready = False

    def run(self) -> None:
        """Serve until a signal; raise ``StorageFailure`` when the journal fails."""
        parts = load_parts(self.config)
        data = Path(self.config.data)
        self._report(f"opening {data}")
        partition = open_partition(
            data,
            bounds_of(self.config),
            choice=choice_of(self.config),
            witnesses=[Path(name) for name in self.config.ledger.witnesses],
            note=self._note,
        )
        try:
            warm.compile_all(self._report)
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(self._serve(parts, partition))
        finally:
            partition.close()
            self.log.info("switch.stopped", msg="the switch has stopped")
        if self._failure is not None:
            trouble = trouble_of(partition.store)
            more = f" (last: {trouble})" if trouble else ""
            raise StorageFailure(
                f"the journal failed, nothing more was answered: {self._failure}{more}"
            )

    async def _serve(self, parts: Parts, partition: Partition) -> None:
        loop = asyncio.get_running_loop()
        metrics = Metrics(_build_info(parts))
        links = self.config.links
        authorizer = make_authorizer(self.config, parts, partition)
        pipeline = Pipeline(authorizer, metrics, loop, queue_bytes_max=links.queue_bytes_max)

        def failed(error: Exception) -> None:
            loop.call_soon_threadsafe(self._fail, error, pipeline)

        committer = Committer(partition.store, pipeline.on_durable, failed)
        pipeline.committer = committer
        server = Server(pipeline, metrics, self.log, links.slow_reader_timeout_s)
        upkeep = Upkeep(partition, self.config.ledger, self._note)
        registrar = Registrar(partition.vault, partition.tokenizer, partition.state)
        operations = EngineOperations(
            pipeline,
            partition.vault,
            registrar,
            loop,
            partition.data,
            lambda: {
                **self._readiness(committer, partition.store),
                **upkeep.readiness(committer, metrics),
            },
            upkeep,
        )
        desk = EngineRuleDesk(
            pipeline,
            metrics,
            loop,
            _rules_path(self.config),
            four_eyes=self.config.rules.four_eyes,
            on_event=self._log_rules,
        )
        desk.start(parts.program)
        for name in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(name, self._on_signal, name)
        loop.add_signal_handler(signal.SIGHUP, desk.signalled)
        token = load_token(partition.data, os.environ)
        http = AdminServer(
            self.config.http.address, token, metrics, operations, desk, on_event=self._log_http
        )
        ticker: asyncio.Task[None] | None = None
        watcher: asyncio.Task[None] | None = None
        try:
            await self._open_ports(parts, server, http, partition)
            ticker = asyncio.create_task(self._tick(pipeline, server, metrics, partition, upkeep))
            watcher = asyncio.create_task(self._watch(desk))
            await self._stop.wait()
            await self._drain(server, pipeline, committer, partition)
        finally:
            self._is_ready = False
            pipeline.stop()
            for task in (ticker, watcher):
                if task is not None:
                    task.cancel()
            await loop.run_in_executor(None, http.stop)
            desk.close()
            operations.close()
            server.close_links()
            committer.close(drain=False)
            if authorizer.guard is not None:
                authorizer.guard.close()
            upkeep.close()

    async def _open_ports(
        self, parts: Parts, server: Server, http: AdminServer, partition: Partition
    ) -> None:
        rows = _dialect_rows(self.config)
        ports = []
        for listen in self.config.listen:
            row = rows.index((listen.dialect, listen.frame_bytes_max))
            security = number_of_profile(self.config.security_profile, listen.security)
            host, port = await server.listen(listen, row, security)
            ports.append(f"{parts.dialects[row].name} on {host}:{port}")
            self.log.info(
                "listener.open", address=f"{host}:{port}", dialect=parts.dialects[row].name
            )
        host, port = http.start()
        self._is_ready = True
        position = partition.store.position
        self.log.info(
            "switch.ready",
            version=__version__,
            seq=partition.state.next_seq - 1,
            head=position.head.hex()[:12],
            records=partition.replayed_count,
            accounts=partition.state.account_count,
            cards=partition.state.card_count,
            durability=durability_of(partition.store),
        )
        self._report(f"ready: {', '.join(ports)}; http on {host}:{port}")

    async def _tick(
        self,
        pipeline: Pipeline,
        server: Server,
        metrics: Metrics,
        partition: Partition,
        upkeep: Upkeep,
    ) -> None:
        """Refresh gauges, apply timers, expire holds; never long."""
        last_group = 0
        while True:
            wanted_ns = time.monotonic_ns() + int(_TICK_S * 1e9)
            await asyncio.sleep(_TICK_S)
            now_ns = time.monotonic_ns()
            metrics.beat(now_ns, max(0, now_ns - wanted_ns))
            server.check_timers(time.time_ns())
            server.count_links()
            last_group = _note_commits(pipeline, metrics, last_group)
            _note_tables(partition, metrics, self.log)
            note_store(partition.store, metrics)
            metrics.gauges[Gauge.IN_FLIGHT] = pipeline.in_flight
            await upkeep.tick(metrics)
            metrics.queues[Queue.RECEIVED_BYTES] = pipeline.waiting_bytes
            if self.config.clock.source == "system" and pipeline.holds_are_due():
                pipeline.submit(lambda: _expire(pipeline))

    async def _watch(self, desk: EngineRuleDesk) -> None:
        """Reload the rule file when it changes, if the configuration says so."""
        path, every_s = _rules_path(self.config), self.config.rules.watch_s
        if path is None or not every_s:
            return
        seen = _stamp(path)
        while True:
            await asyncio.sleep(every_s)
            now = _stamp(path)
            if now != seen:
                seen = now
                desk.signalled()

    async def _drain(
        self, server: Server, pipeline: Pipeline, committer: Committer, partition: Partition
    ) -> None:
        """Answer what was taken in, sync, snapshot."""
        if self._failure is not None:
            return
        started = time.monotonic()
        self.log.info("switch.draining", msg="no new links and requests are taken")
        await server.stop_accepting()
        try:
            await asyncio.wait_for(pipeline.wait_idle(), self.config.links.stop_timeout_s)
        except TimeoutError:
            self.log.warning("switch.drain_late", msg="some requests were not answered in time")
        await asyncio.get_running_loop().run_in_executor(None, committer.close)
        await asyncio.sleep(0)  # the last answers are handed to their links
        if self._failure is None and partition.replayed_count + committer.stats.record_count:
            await asyncio.get_running_loop().run_in_executor(None, partition.snapshot)
        duration_us = int((time.monotonic() - started) * 1e6)
        self.log.info("switch.drained", duration_us=duration_us, seq=partition.state.next_seq - 1)

    def _readiness(self, committer: Committer, store: Store) -> dict[str, bool]:
        return {
            "listening": self._is_ready,
            "ledger_can_commit": committer.failure is None and committer.has_room,
            "ledger_store": can_commit(store),
            "not_draining": not self._stop.is_set(),
        }

    def _note(self, text: str) -> None:
        self.log.warning("ledger.note", msg=text)

    def _log_http(self, event: str, fields: Mapping[str, object]) -> None:
        """Write what the HTTP thread has to say; its field names are those of the log."""
        put = self.log.error if event == "http.failed" else self.log.info
        put(event, **cast("Fields", fields))

    def _log_rules(self, event: str, fields: Mapping[str, object]) -> None:
        """Write what the rule desk has to say; a tripped breaker and a refused file are loud."""
        loud = event in ("rules.breaker", "rules.refused")
        (self.log.error if loud else self.log.info)(event, **cast("Fields", fields))

    def _on_signal(self, number: signal.Signals) -> None:
        if self._stop.is_set():
            self.log.warning("switch.signal_again", signal=number.name)
            os._exit(0 if self._failure is None else 74)
        self.log.info("switch.signal", signal=number.name)
        self._stop.set()

    def _fail(self, error: Exception, pipeline: Pipeline) -> None:
        """The journal failed: nothing is answered any more, the process ends."""
        self._failure = error
        pipeline.stop()
        self.log.error("ledger.failed", error=error)
        self._stop.set()


def _expire(pipeline: Pipeline) -> CommitJob | None:
    records = pipeline.authorizer.expire(pipeline.now_ns())
    if not len(records):
        return None
    return event_job(records, pipeline.now_ns(), [], None)


def _note_commits(pipeline: Pipeline, metrics: Metrics, done: int) -> int:
    """Add the commit groups since ``done`` to the metrics; return how far they are."""
    committer = pipeline.committer
    assert committer is not None, "the journal is open while the timer runs"
    stats = committer.stats
    count = stats.group_count
    size = len(stats.append_ns)
    for group in range(max(done, count - size), count):
        at = group % size
        metrics.observe_commit(int(stats.group_records[at]), int(stats.append_ns[at]))
    return count


def _note_tables(partition: Partition, metrics: Metrics, log: Log) -> None:
    state, bounds = partition.state, partition.state.bounds
    head = int(state.cursor[Cursor.HEAD])
    metrics.set_table(Table.CARDS, state.card_count, bounds.cards_max)
    metrics.set_table(Table.ACCOUNTS, state.account_count, bounds.accounts_max)
    merchants = int(state.cursor[Cursor.MERCHANTS])
    metrics.set_table(Table.MERCHANTS, merchants, bounds.merchants_max)
    ring = min(head, bounds.authorizations_max)
    metrics.set_table(Table.AUTHORIZATIONS, ring, bounds.authorizations_max)
    metrics.table_growths[Table.CARDS] = state.card_index.growths
    metrics.table_growths[Table.MERCHANTS] = state.merchant_index.growths
    metrics.table_growths[Table.AUTHORIZATIONS] = state.id_index.growths
    facts = os.statvfs(partition.data)
    metrics.gauges[Gauge.FREE_BYTES] = facts.f_bavail * facts.f_frsize
    metrics.counters[Counter.LOG_LINES_DROPPED] = log.dropped_count


def _rules_path(config: Config) -> Path | None:
    """Return the configured rule file; None = no rules."""
    name = config.rules.file
    if name == NONE:
        return None
    return default_rules_path() if name == SHIPPED else Path(name)


def _stamp(path: Path) -> tuple[int, int, int]:
    """Return what changes when a file does; zeros while it is not there."""
    try:
        facts = path.stat()
    except OSError:
        return (0, 0, 0)
    return (facts.st_mtime_ns, facts.st_size, facts.st_ino)


def _build_info(parts: Parts) -> BuildInfo:
    model = "" if parts.model is None else parts.model.sha256
    return BuildInfo(__version__, platform.python_version(), parts.program.sha256, model)
