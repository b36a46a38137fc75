"""SHELL: one running switch, from opening the data folder to the last answer.

Start: recover, warm the kernels, listen. Stop on SIGTERM or SIGINT: accept nothing more, answer
what was taken in, sync, snapshot, exit 0. A journal that fails stops the process at once: what was
not acknowledged never leaves.
"""

import asyncio
import gc
import os
import signal
import sys
import time
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from pathlib import Path
from random import Random
from typing import cast

import uvloop

from engine import __version__, warm
from engine.admin.http import AdminServer
from engine.authorize import Authorizer, Workspace
from engine.config import Config
from engine.dialer import Desk
from engine.errors import StorageFailure
from engine.explaining import Explaining, model_of
from engine.file_watch import FileWatch
from engine.limits import ARENA_BYTES, GIL_TURN_S
from engine.link_operations import ShellOperations
from engine.metrics import Counter, Gauge, Metrics, Queue, Table
from engine.model_desk import EngineModelDesk
from engine.observe import Fields, Log
from engine.opening import Opened, open_all
from engine.operations import EngineOperations
from engine.originate import Numbers
from engine.outbox import Outbox
from engine.partition import Partition
from engine.parts import Parts, Prepared, build_info, places_of, prepare, rules_path
from engine.pipeline import Pipeline, event_job
from engine.reason_store import ReasonStore
from engine.registrar import Registrar
from engine.reload import Reloader
from engine.rule_desk import EngineRuleDesk
from engine.security.guard import make_guard
from engine.security.opening import missing_keys
from engine.server import Server
from engine.store_health import can_commit, durability_of, note_store, trouble_of
from engine.upkeep import Upkeep
from ledger.authorizations import Cursor
from ledger.commit import CommitJob, Committer
from ledger.stores.place import Store

_TICK_S = 0.25  # timers, gauges and expiries
_HOUR_S = 3600

Report = Callable[[str], None]


def make_authorizer(config: Config, prepared: Prepared, opened: Opened) -> Authorizer:
    """Put the core together over an open partition."""
    parts, partition = prepared.parts, opened.partition
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
        prepared.table,
        partition.state.rules.program if journaled else parts.program,
        parts.model,
        partition.tables,
        partition.tokenizer,
        partition.hash_key,
        prepared.settings,
        Workspace(config.limits.batch_max_frames, ARENA_BYTES),
    )
    if opened.keys is not None:
        authorizer.guard = make_guard(
            opened.keys,
            authorizer.table,
            config.security_profile,
            config.issuer,
            partition.vault.load_pin_values(),
            len(partition.state.chips),
        )
    return authorizer


class Switch:
    """One process that serves a data folder."""

    def __init__(
        self, config: Config, log: Log, report: Report, read: Callable[[], Config] | None = None
    ) -> None:
        self.config = config
        self._read = read or (lambda: config)  # the configuration as it stands in its files
        self._tasks: set[asyncio.Task[object]] = set()
        self.log = log
        self._report = report
        self._failure: Exception | None = None
        self._stop = asyncio.Event()
        self._is_ready = False

    def run(self) -> None:
        """Serve until a signal; raise ``StorageFailure`` when the journal fails."""
        prepared = prepare(self.config)
        self._report(f"opening {self.config.data}")
        opened = open_all(self.config, os.environ, self._note)
        try:
            warm.compile_all(self._report)
            sys.setswitchinterval(GIL_TURN_S)
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(self._serve(prepared, opened))
        finally:
            opened.close()
            self.log.info("switch.stopped", msg="the switch has stopped")
        if self._failure is not None:
            trouble = trouble_of(opened.partition.store)
            more = f" (last: {trouble})" if trouble else ""
            raise StorageFailure(
                f"the journal failed, nothing more was answered: {self._failure}{more}"
            )

    def _authorizer(self, prepared: Prepared, opened: Opened, metrics: Metrics) -> Authorizer:
        """Put the core together; count its module's calls, or say what a key file is good for."""
        authorizer = make_authorizer(self.config, prepared, opened)
        if authorizer.guard is not None:
            authorizer.guard.count_calls(metrics.key_module)
        if self.config.security.store == "file":
            self.log.warning("keys.file", msg="keys in a file are for development: use pkcs11")
        return authorizer

    async def _serve(self, prepared: Prepared, opened: Opened) -> None:
        loop = asyncio.get_running_loop()
        parts, partition = prepared.parts, opened.partition
        self._say_what_is_missing(parts, opened)
        metrics = Metrics(build_info(parts, __version__), partition.counts)
        links = self.config.links
        authorizer = self._authorizer(prepared, opened, metrics)
        pipeline = Pipeline(authorizer, metrics, loop, queue_bytes_max=links.queue_bytes_max)

        def failed(error: Exception) -> None:
            loop.call_soon_threadsafe(self._fail, error, pipeline)

        committer = Committer(partition.store, pipeline.on_durable, failed)
        pipeline.committer = committer
        numbers = Numbers(int(time.time()))
        server = Server(pipeline, metrics, self.log, links.slow_reader_timeout_s, numbers)
        server.set_dialects(parts.dialects)
        desk = self._open_desk(server, partition)
        upkeep = Upkeep(partition, self.config.ledger, self._note)
        operations = self._operations(pipeline, partition, committer, upkeep)
        rules = self._rule_desk(pipeline, parts)
        reloader = Reloader(self._read, self.config, pipeline, server, rules, metrics, self.log)
        models = EngineModelDesk(
            pipeline, metrics, loop, partition, parts.configured, self._log_http
        )
        for name in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(name, self._on_signal, name)
        loop.add_signal_handler(signal.SIGHUP, lambda: self._hang_up(rules, reloader))
        http = AdminServer(
            self.config.http.address,
            opened.token,
            metrics,
            operations,
            rules,
            models,
            on_event=self._log_http,
            links=ShellOperations(loop, desk, reloader, metrics),
        )
        ticker: asyncio.Task[None] | None = None
        watcher: asyncio.Task[None] | None = None
        _freeze()
        try:
            await self._open_ports(parts, server, http, partition)
            ticker = asyncio.create_task(
                self._tick(pipeline, server, metrics, partition, upkeep, desk)
            )
            self._dial(desk)
            watcher = asyncio.create_task(self._watch(rules))
            await self._stop.wait()
            if desk is not None:
                desk.stop()
            await self._drain(server, pipeline, committer, partition)
        finally:
            self._is_ready = False
            pipeline.stop()
            for task in (ticker, watcher):
                if task is not None:
                    task.cancel()
            await loop.run_in_executor(None, http.stop)
            rules.close()
            models.close()
            operations.close()
            pipeline.close()
            server.close_links()
            if desk is not None:
                desk.close()
            committer.close(drain=False)
            if authorizer.guard is not None:
                authorizer.guard.close()
            upkeep.close()

    def _say_what_is_missing(self, parts: Parts, opened: Opened) -> None:
        """Name what payments will be decided without."""
        if parts.lost:
            self.log.error("scorer.lost", reason=parts.lost)
        if opened.keys is not None:
            named = self.config.security_profile, self.config.issuer
            for key in missing_keys(opened.keys, *named, int(time.time())):
                self.log.warning("keys.missing", reason=f"{key}: no valid key of this name")

    def _rule_desk(self, pipeline: Pipeline, parts: Parts) -> EngineRuleDesk:
        desk = EngineRuleDesk(
            pipeline,
            pipeline.metrics,
            asyncio.get_running_loop(),
            rules_path(self.config),
            four_eyes=self.config.rules.four_eyes,
            on_event=self._log_rules,
        )
        desk.start(parts.program)
        return desk

    def _start_explaining(self, partition: Partition, metrics: Metrics) -> Explaining | None:
        """Begin to make exact reasons; without their file everything else goes on."""
        data = partition.data
        try:
            explaining = Explaining(ReasonStore(data), partial(model_of, data), metrics, self._note)
        except StorageFailure as problem:
            self._note(f"reasons: {problem}")
            return None
        explaining.bytes_max = self.config.scoring.reasons_bytes_max
        explaining.start()
        return explaining

    def _operations(
        self, pipeline: Pipeline, partition: Partition, committer: Committer, upkeep: Upkeep
    ) -> EngineOperations:
        metrics = pipeline.metrics
        pipeline.explaining = self._start_explaining(partition, metrics)
        pipeline.watch.choose(self.config.scoring)
        pipeline.watch.told = self._log_scorer
        return EngineOperations(
            pipeline,
            partition.vault,
            Registrar(partition.vault, partition.tokenizer, partition.state),
            asyncio.get_running_loop(),
            partition.data,
            lambda: {
                **self._readiness(committer, partition.store),
                **upkeep.readiness(committer, metrics),
            },
            upkeep,
        )

    async def _open_ports(
        self, parts: Parts, server: Server, http: AdminServer, partition: Partition
    ) -> None:
        places = places_of(self.config)
        ports = []
        for listen in self.config.listen:
            row = places.rows[listen.dialect, listen.frame_bytes_max]
            host, port = await server.listen(listen, self.config.peer, places)
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

    def _open_desk(self, server: Server, partition: Partition) -> Desk | None:
        """Open the outbox and describe the lines; None without any."""
        config = self.config
        if not config.dial:
            return None
        outbox = Outbox(partition.data, config.outbox.messages_max)
        desk = Desk(server, outbox, config.outbox, Random())  # noqa: S311 - jitter
        for dial in config.dial:
            desk.add(dial, places_of(config))
        return desk

    def _dial(self, desk: Desk | None) -> None:
        if desk is not None:
            desk.start()

    def _hang_up(self, rules: EngineRuleDesk, reloader: Reloader) -> None:
        """SIGHUP: rules by their own desk, everything else by the reload."""
        rules.signalled()
        self._spawn(reloader.reload("SIGHUP", with_rules=False))

    def _spawn(self, work: Coroutine[object, object, object]) -> None:
        """Run ``work`` beside everything else; it reports by itself."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _tick(
        self,
        pipeline: Pipeline,
        server: Server,
        metrics: Metrics,
        partition: Partition,
        upkeep: Upkeep,
        desk: Desk | None,
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
            if desk is not None:
                metrics.gauges[Gauge.LINES_UP] = desk.up_count
                metrics.gauges[Gauge.OUTBOX_WAITING] = desk.waiting
            if self.config.clock.source == "system" and pipeline.holds_are_due():
                pipeline.submit(lambda: _expire(pipeline))

    async def _watch(self, rules: EngineRuleDesk) -> None:
        """Reload the rule file when it changes, if the configuration says so."""
        path, every_s = rules_path(self.config), self.config.rules.watch_s
        if path is None or not every_s:
            return
        watch = FileWatch(_stamp(path))
        while True:
            await asyncio.sleep(every_s)
            if watch.look(_stamp(path)):
                rules.signalled()

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
        server.sign_off()
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

    def _log_scorer(self, event: str, reason: str) -> None:
        """Write that the scorer is out of use or tried again."""
        self.log.error(event, reason=reason)

    def _log_rules(self, event: str, fields: Mapping[str, object]) -> None:
        """Write what the rule desk has to say; a tripped breaker and a refused file are loud."""
        loud = event in ("rules.breaker", "rules.refused")
        (self.log.error if loud else self.log.info)(event, **cast("Fields", fields))

    def _on_signal(self, number: signal.Signals) -> None:
        if self._stop.is_set():
            self.log.warning("switch.signal_again", signal=number.name)
            self.log.close()  # the lines that say why are still in its queue
            os._exit(0 if self._failure is None else 74)
        self.log.info("switch.signal", signal=number.name)
        self._stop.set()

    def _fail(self, error: Exception, pipeline: Pipeline) -> None:
        """The journal failed: nothing is answered any more, the process ends."""
        self._failure = error
        pipeline.stop()
        self.log.error("ledger.failed", error=error)
        self._stop.set()


def _freeze() -> None:
    """Take what is there out of the garbage collector's sight.

    Modules and kernels are half a million objects that live as long as the process. A full
    collection that walks them holds every thread up for some 70 ms; frozen, it skips them.
    """
    gc.collect()
    gc.freeze()


def _expire(pipeline: Pipeline) -> CommitJob | None:
    records = pipeline.authorizer.expire(pipeline.now_ns())
    if not len(records):
        return None
    return event_job(records, pipeline.now_ns(), [], None)


def _note_commits(pipeline: Pipeline, metrics: Metrics, done: int) -> int:
    """Add the commit groups since ``done`` to the metrics; return how far they are."""
    committer = pipeline.committer
    assert committer is not None, "the journal is open while the timer runs"
    metrics.gauges[Gauge.WRITING_NS] = int(committer.writing_s * 1e9)
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
    metrics.note_merchants(merchants)
    ring = min(head, bounds.authorizations_max)
    metrics.set_table(Table.AUTHORIZATIONS, ring, bounds.authorizations_max)
    metrics.table_growths[Table.CARDS] = state.card_index.growths
    metrics.table_growths[Table.MERCHANTS] = state.merchant_index.growths
    metrics.table_growths[Table.AUTHORIZATIONS] = state.id_index.growths
    facts = os.statvfs(partition.data)
    metrics.gauges[Gauge.FREE_BYTES] = facts.f_bavail * facts.f_frsize
    metrics.counters[Counter.LOG_LINES_DROPPED] = log.dropped_count


def _stamp(path: Path) -> tuple[int, int, int]:
    """Return what changes when a file does; zeros while it is not there."""
    try:
        facts = path.stat()
    except OSError:
        return (0, 0, 0)
    return (facts.st_mtime_ns, facts.st_size, facts.st_ino)
