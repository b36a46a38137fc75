"""HTTP routes about links: lines to networks, their outbox, and a reload."""

import re
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import Any

from aiohttp import web

from engine.admin import link_operations as links
from engine.admin.bodies import json_response
from engine.admin.operations import Invalid

Call = Callable[[Callable[[], Future[Any]], float], Awaitable[Any]]
Body = Callable[[web.Request, type[Any]], Awaitable[Any]]
Operator = Callable[[web.Request], str]
_SEND_TIMEOUT_S = 70.0  # the longest wait for an answer, and a little
_RELOAD_TIMEOUT_S = 60.0
_STATES = ("waiting", "delivered", "refused", "given_up")


class LinkApi:
    """The handlers; ``call`` waits for the engine, ``body`` decodes, ``operator`` says who asks."""

    def __init__(
        self, operations: links.LinkOperations, call: Call, body: Body, operator: Operator
    ) -> None:
        self._operations = operations
        self._call = call
        self._body = body
        self._operator = operator

    def routes(self) -> list[web.RouteDef]:
        """Return the routes of this file."""
        return [
            web.get("/v1/lines", self.lines),
            web.post("/v1/lines/{line}/messages", self.send),
            web.get("/v1/messages", self.messages),
            web.post("/v1/reload", self.reload),
        ]

    async def lines(self, _request: web.Request) -> web.Response:
        """GET /v1/lines."""
        return json_response({"lines": await self._call(self._operations.lines, 10.0)})

    async def send(self, request: web.Request) -> web.Response:
        """POST /v1/lines/{line}/messages."""
        body = await self._body(request, links.SendMessage)
        line, operator = request.match_info["line"], self._operator(request)
        sent = await self._call(
            lambda: self._operations.send(line, body, operator), _SEND_TIMEOUT_S
        )
        return json_response(sent, status=201 if sent.state == "kept" else 200)

    async def messages(self, request: web.Request) -> web.Response:
        """GET /v1/messages?state=&limit=."""
        state = request.query.get("state")
        if state is not None and state not in _STATES:
            raise Invalid("state", f"state: expected {', '.join(_STATES)}")
        text = request.query.get("limit", "50")
        if not re.fullmatch(r"[0-9]{1,4}", text) or not 1 <= int(text) <= links.MESSAGES_MAX:
            raise Invalid("limit", f"limit: must be 1 to {links.MESSAGES_MAX}")
        found = await self._call(lambda: self._operations.messages(state, int(text)), 10.0)
        return json_response({"messages": found})

    async def reload(self, request: web.Request) -> web.Response:
        """POST /v1/reload."""
        operator = self._operator(request)
        return json_response(
            await self._call(lambda: self._operations.reload(operator), _RELOAD_TIMEOUT_S)
        )
