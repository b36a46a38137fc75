"""The HTTP server of the operators, on a thread and an event loop of its own.

Scrapes and operators' calls never share the loop that carries card traffic. What goes wrong before
a request exists (bytes that are not HTTP) is answered in the same JSON shape and is not logged,
since such bytes may hold anything.
"""

import asyncio
import logging
import os
import threading
from collections.abc import Mapping
from concurrent.futures import Future

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from engine.admin.api import EventSink, make_application
from engine.admin.bodies import error_response
from engine.admin.link_operations import LinkOperations
from engine.admin.models_api import ModelDesk
from engine.admin.operations import Operations
from engine.admin.rules_api import RuleDesk
from engine.errors import ConfigError, UnavailableError
from engine.metrics import Metrics

CONNECTIONS_MAX = 128


def no_events(_name: str, _fields: Mapping[str, object]) -> None:
    """Drop an event."""


def address_from_text(text: str) -> tuple[str, int]:
    """Return host and port of ``127.0.0.1:8580`` or ``[::1]:8580``; port 0 = any free one."""
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not port.isdecimal() or int(port) > 65_535:
        raise ConfigError(f"{text}: an address is HOST:PORT, such as 127.0.0.1:8580")
    return host, int(port)


class AdminServer:
    """Serves metrics, health and /v1 between ``start`` and ``stop``.

    Parameters: ``address`` as HOST:PORT, ``token`` of the operators, ``metrics`` to show and whose
    ``beat`` tells that the engine lives, ``operations`` (and ``links``) to call,
    ``on_event(name, fields)`` called on the HTTP thread for ``http.request`` and ``http.failed``;
    ``path`` is the pattern that matched, never what was typed, and no field holds a body.
    """

    def __init__(
        self,
        address: str,
        token: str,
        metrics: Metrics,
        operations: Operations,
        desk: RuleDesk | None = None,
        models: ModelDesk | None = None,
        *,
        on_event: EventSink = no_events,
        links: LinkOperations | None = None,
    ) -> None:
        self._host, self._port = address_from_text(address)
        self._token = token
        self._metrics = metrics
        self._operations = operations
        self._desk = desk
        self._links = links
        self._models = models
        self._on_event = on_event
        self._bound: Future[tuple[str, int]] = Future()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._thread = threading.Thread(target=self._run, name="de39-http", daemon=True)

    def start(self) -> tuple[str, int]:
        """Start serving; return host and port. UnavailableError when the address cannot be had."""
        self._thread.start()
        return self._bound.result()

    def stop(self, timeout_s: float = 5.0) -> None:
        """Stop serving; requests under way get two seconds. Harmless when called twice."""
        if self._loop is not None and self._stopping is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join(timeout_s)

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except (OSError, UnicodeError) as error:
            where = f"{self._host}:{self._port}"
            text = f"{where}: cannot serve HTTP there: {_reason(error)}"
            self._bound.set_exception(UnavailableError(text))

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        application = make_application(
            self._token,
            self._metrics,
            self._operations,
            self._on_event,
            self._desk,
            self._links,
            self._models,
        )
        runner = web.AppRunner(application, shutdown_timeout=2.0)
        await runner.setup()
        try:
            listener = await self._loop.create_server(
                lambda: _connection(runner), self._host, self._port
            )
            try:
                self._bound.set_result(listener.sockets[0].getsockname()[:2])
                await self._stopping.wait()
            finally:
                listener.close()
        finally:
            await runner.cleanup()


def _silent_logger() -> logging.Logger:
    """Return a logger that never speaks: aiohttp's lines quote what a peer sent."""
    logger = logging.getLogger("de39.http.silent")
    logger.disabled = True
    logger.propagate = False
    return logger


def _connection(runner: web.AppRunner) -> asyncio.Protocol:
    server = runner.server
    assert server is not None, "the runner is set up before it listens"
    return _JsonConnection(server)


class _JsonConnection(RequestHandler):
    """An aiohttp connection whose own errors are JSON too and quote nothing."""

    __slots__ = ("_server",)

    def __init__(self, server: web.Server) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            logger=_silent_logger(),
            access_log=_silent_logger(),
            auto_decompress=False,
            keepalive_timeout=75.0,
            lingering_time=1.0,
        )
        self._server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection, or close it at once when there are too many."""
        super().connection_made(transport)
        if len(self._server.connections) > CONNECTIONS_MAX:
            transport.abort()  # type: ignore[attr-defined]  # every stream transport has it

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,  # noqa: ARG002  (may quote what a peer sent)
        message: str | None = None,  # noqa: ARG002
    ) -> web.StreamResponse:
        """Answer what is not HTTP, or what failed outside every handler."""
        if request.writer.output_size > 0:
            raise ConnectionError("the answer has begun already")
        code = "internal" if status >= 500 else "bad_request"
        response = error_response(status, code, "this cannot be read as an HTTP request")
        response.force_close()
        return response


def _reason(error: OSError | UnicodeError) -> str:
    number = error.errno if isinstance(error, OSError) else None
    # Resolver errors have negative numbers, bad names none.
    return os.strerror(number) if number is not None and number > 0 else "no such host"
