"""SHELL: another configuration for a switch that works: checked whole, then taken between batches.

A file, a rule set, a model, a dialect or a certificate that cannot be used is refused with its one
line, and everything stays as it is. Links stay connected; what they send next is read and decided
by what is new. Keys that need a restart are refused by name.
"""

import asyncio
from collections.abc import Callable

from engine.admin.operations import AdminError
from engine.admin.rules_api import ReloadRules
from engine.config import Config
from engine.errors import Exit, OperatingError, error_text, exit_code_of
from engine.metrics import Counter, Metrics
from engine.observe import Log
from engine.parts import Prepared, places_of, prepare
from engine.pipeline import Pipeline
from engine.rule_desk import EngineRuleDesk
from engine.server import Server
from scoring.errors import ModelError

LIVE = ("listen", "peer", "links", "scoring", "authorization")
Read = Callable[[], Config]


class Reloader:
    """Reads the configuration again and puts it in force; loop thread only."""

    def __init__(
        self,
        read: Read,
        config: Config,
        pipeline: Pipeline,
        server: Server,
        rules: EngineRuleDesk,
        metrics: Metrics,
        log: Log,
    ) -> None:
        self.config = config
        self._read = read
        self._pipeline = pipeline
        self._server = server
        self._rules = rules
        self._metrics = metrics
        self._log = log
        self._lock = asyncio.Lock()

    async def reload(self, operator: str, *, with_rules: bool = True) -> str | None:
        """Put what is in the files now in force; return why not, or None when it is.

        A rule set that is another one becomes a record of the ledger under the name of
        ``operator``; without ``with_rules`` that is left to the desk of the rules.
        """
        async with self._lock:
            try:
                await self._reload(operator, with_rules=with_rules)
            except (OperatingError, ModelError, ValueError, OSError, AdminError) as problem:
                code = exit_code_of(problem)
                code = Exit.CONFIG if code == Exit.INTERNAL else Exit(code)
                reason = error_text(Exception(str(problem)), code).removeprefix("de39: error: ")
                self._metrics.counters[Counter.RELOADS_REFUSED] += 1
                self._log.warning("reload.refused", reason=reason)
                return reason
            self._metrics.counters[Counter.RELOADS] += 1
            self._log.info("reload.taken", operator=operator)
            return None

    async def _reload(self, operator: str, *, with_rules: bool) -> None:
        loop = asyncio.get_running_loop()
        config, prepared = await loop.run_in_executor(None, self._prepare)
        book = self._pipeline.authorizer.state.rules
        if with_rules and prepared.parts.program.sha256 != book.file_sha256:
            await asyncio.wrap_future(self._rules.reload(ReloadRules("reload"), operator))
        taken: asyncio.Future[None] = loop.create_future()
        self._pipeline.submit(lambda: self._take(config, prepared, taken))
        await taken
        await self._server.accept_anew(prepared.contexts)
        if prepared.parts.lost:
            self._log.error("scorer.lost", reason=prepared.parts.lost)
        self.config = config

    def _prepare(self) -> tuple[Config, Prepared]:
        config = self._read()
        refused = needs_restart(self.config, config)
        if refused is not None:
            raise OperatingError(refused)
        return config, prepare(config)

    def _take(self, config: Config, prepared: Prepared, taken: asyncio.Future[None]) -> None:
        """Between two batches: the next one is read and decided by what is new."""
        parts = prepared.parts
        self._pipeline.authorizer.change(prepared.table, parts.model, prepared.settings)
        self._pipeline.watch.choose(config.scoring)
        if self._pipeline.explaining is not None:
            self._pipeline.explaining.bytes_max = config.scoring.reasons_bytes_max
        self._pipeline.queue_bytes_max = config.links.queue_bytes_max
        self._server.slow_reader_ns = config.links.slow_reader_timeout_s * 1_000_000_000
        self._server.set_dialects(parts.dialects)
        self._server.change(config.listen, config.peer, places_of(config))
        model = "" if parts.model is None else parts.model.sha256
        self._metrics.build = self._metrics.build._replace(model_sha256=model)
        taken.set_result(None)


def needs_restart(old: Config, new: Config) -> str | None:
    """Return which change cannot be taken by a running switch, as one line, or None."""
    for name in Config.__struct_fields__:
        if name not in LIVE and getattr(old, name) != getattr(new, name):
            return f"{name}: cannot change while the switch runs; restart it"
    addresses = [[listen.address for listen in config.listen] for config in (old, new)]
    if addresses[0] != addresses[1]:
        return "listen: addresses cannot change while the switch runs; restart it"
    return None
