"""SHELL: what operators ask about links, done on the event loop: see ``engine.admin``."""

import asyncio
import re
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

from engine.admin import link_operations as api
from engine.admin.operations import Conflict, Invalid, NotFound, Unavailable
from engine.dialer import Desk, Line
from engine.metrics import Metrics
from engine.originate import Answered, Exchange, Purpose
from engine.outbox import check
from engine.reload import Reloader

T = TypeVar("T")
_REQUEST = re.compile(r"\A[0-9][1-8][0-9][0-9]\Z")
_SECRET = ("track", "pin", "cvv")


class ShellOperations:
    """Implements ``engine.admin.link_operations.LinkOperations``; any thread may call."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        desk: Desk | None,
        reloader: Reloader,
        metrics: Metrics,
    ) -> None:
        self._loop = loop
        self._desk = desk
        self._reloader = reloader
        self._metrics = metrics

    def lines(self) -> Future[list[api.LineView]]:
        """Return every line."""
        return self._run(self._lines())

    def send(self, line: str, request: api.SendMessage, operator: str) -> Future[api.SentView]:
        """Send a message on a line."""
        return self._run(self._send(line, request, operator))

    def messages(self, state: str | None, most: int) -> Future[list[api.MessageView]]:
        """Return the newest messages of the outbox."""
        return self._run(self._messages(state, most))

    def reload(self, operator: str) -> Future[api.ReloadView]:
        """Read the configuration again."""
        return self._run(self._reload(operator))

    def _run(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    async def _lines(self) -> list[api.LineView]:
        lines = self._desk.lines.values() if self._desk is not None else ()
        return [
            api.LineView(
                line.dial.name, line.dial.address, line.dial.dialect, line.state, line.connects
            )
            for line in lines
        ]

    async def _messages(self, state: str | None, most: int) -> list[api.MessageView]:
        if self._desk is None:
            return []
        desk, views = self._desk, []
        for stored in await desk.on_disk(desk.outbox.listed, most, state):
            line = desk.lines.get(stored.line)
            shown = line.exchanges.codec.shown(stored.mti, stored.fields) if line else stored.mti
            views.append(
                api.MessageView(
                    stored.id,
                    stored.line,
                    stored.mti,
                    stored.state,
                    stored.tries,
                    stored.code,
                    stored.operator,
                    shown,
                )
            )
        return views

    async def _send(self, name: str, request: api.SendMessage, operator: str) -> api.SentView:
        line = self._desk.lines.get(name) if self._desk is not None else None
        if line is None or self._desk is None:
            raise NotFound("no such line; lines are the [[dial]] blocks of the configuration")
        if (
            not _REQUEST.match(request.mti)
            or int(request.mti[2:]) % 10 % 2
            or int(request.mti[2]) % 2
        ):
            raise Invalid("mti", "mti: expected the type of a first request, such as 0620")
        fields = _numbered(request.fields)
        try:
            if request.mti[2] == "0":
                return await self._ask(line, request.mti, fields)
            if (reason := check(line.exchanges.codec.dialect, fields)) is not None:
                raise Invalid("fields", f"fields: {reason}")
            number = await self._desk.keep(line, request.mti, fields, operator)
        except ValueError as problem:
            raise Invalid("fields", f"fields: {problem}") from None
        if number is None:
            raise Unavailable("the outbox is full (outbox.messages_max)")
        return api.SentView("kept", number)

    async def _ask(self, line: Line, mti: str, fields: dict[int, str]) -> api.SentView:
        """Ask once and wait; nothing of it is kept."""
        dialect = line.exchanges.codec.dialect
        for number in fields:
            field = dialect.fields.get(number)
            if field is not None and field.sensitivity in _SECRET[:2]:
                raise Invalid("fields", f"fields: DE{number} is {field.sensitivity} data")
        assert self._desk is not None, "the line is one of its"
        numbered = line.exchanges.numbered(fields, self._desk.clock_ns())
        exchange = Exchange(Purpose.MESSAGE, mti, numbered, line.until_ns())
        future: asyncio.Future[Answered | None] = self._loop.create_future()
        exchange.done = lambda answered: None if future.done() else future.set_result(answered)
        if not line.ask(exchange):
            return api.SentView("not_sent")
        answered = await future
        if answered is None:
            return api.SentView("no_answer")
        return api.SentView("answered", response_code=answered.code)

    async def _reload(self, operator: str) -> api.ReloadView:
        reason = await self._reloader.reload(operator)
        if reason is not None:
            raise Conflict(f"not taken, all stays as it is: {reason}")
        build = self._metrics.build
        return api.ReloadView(build.ruleset_sha256, build.model_sha256)


def _numbered(fields: dict[str, str]) -> dict[int, str]:
    """Return the fields by number; the host writes 7 and 11 itself."""
    found = {}
    for name, value in fields.items():
        if not re.fullmatch(r"[1-9][0-9]{0,2}", name) or not 2 <= int(name) <= 128:
            raise Invalid("fields", "fields: expected numbers of data elements, 2 to 128")
        if int(name) in (7, 11):
            raise Invalid("fields", f"fields: DE{name} is written by the host")
        if not value.isascii():
            raise Invalid("fields", f"fields: DE{name} must be ASCII, binary fields in hex")
        found[int(name)] = value
    return found
