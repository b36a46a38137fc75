"""A real HTTP server on a free loopback port, in front of an engine of dictionaries."""

import http.client
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from engine.admin.http import AdminServer
from engine.metrics import BuildInfo, Metrics
from tests.engine.admin.memory import MemoryOperations

TOKEN = "a-token-only-for-tests-0123456789"


@dataclass
class Answer:
    """One HTTP answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """Return the body, decoded."""
        return json.loads(self.body)

    @property
    def error(self) -> Any:
        """Return what went wrong."""
        return self.json["error"]


@dataclass
class Desk:
    """The server, what stands behind it, and a way to call it."""

    host: str
    port: int
    metrics: Metrics
    engine: MemoryOperations
    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Return the address as the client command takes it."""
        return f"http://{self.host}:{self.port}"

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        token: str | None = TOKEN,
        **headers: str,
    ) -> Answer:
        """Send one request; ``body`` is bytes, or turned into JSON."""
        link = http.client.HTTPConnection(self.host, self.port, timeout=10)
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        try:
            link.request(method, path, body=data, headers=sent)
            answer = link.getresponse()
            return Answer(answer.status, dict(answer.getheaders()), answer.read())
        finally:
            link.close()


@pytest.fixture
def desk() -> Iterator[Desk]:
    """Return a running server whose engine beats."""
    metrics = Metrics(BuildInfo("0.1.0", "3.11.7", "ab" * 32, "cd" * 32))
    metrics.beat(time.monotonic_ns())
    engine = MemoryOperations()
    events: list[tuple[str, dict[str, Any]]] = []
    server = AdminServer(
        "127.0.0.1:0",
        TOKEN,
        metrics,
        engine,
        on_event=lambda name, fields: events.append((name, dict(fields))),
    )
    host, port = server.start()
    yield Desk(host, port, metrics, engine, events)
    server.stop()
