"""An echo server: the load generator's own ceiling, and the baseline of the switch.

The same shell as the switch's (uvloop, one kernel call a chunk) without anything behind it: every
0100 gets its 0110 with DE39 = 00. ``python -m bench.echo --port 0`` prints the port it took.
"""

if __name__ == "__main__":  # before Numba is imported
    from engine import kernel_cache

    kernel_cache.configure()

import argparse
import asyncio
import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import uvloop

from bench.echo_kernels import echo
from bench.reply_kernels import reply_widths

_BUFFER_BYTES = 1 << 20


class Echo(asyncio.BufferedProtocol):
    """One connection: bytes in, one kernel call, one write."""

    def __init__(self, dialect: str = "iso87-bin") -> None:
        self._widths = reply_widths(dialect)
        self._data = np.zeros(_BUFFER_BYTES, dtype=np.uint8)
        self._view = self._data.data
        self._out = np.zeros(_BUFFER_BYTES * 5 // 4, dtype=np.uint8)
        self._out_view = self._out.data
        self._end = 0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = transport  # type: ignore[assignment] # a stream's transport is one

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002
        """Return the room behind the bytes that are there."""
        return self._view[self._end :]

    def buffer_updated(self, nbytes: int) -> None:
        """Answer every whole frame; close when one cannot be read."""
        end = self._end + nbytes
        taken, written = echo(self._data, end, self._widths, self._out)
        if self._transport is None:
            return
        if written:
            self._transport.write(bytes(self._out_view[:written]))
        if taken < 0:
            self._transport.close()
            return
        self._data[: end - taken] = self._data[taken:end].copy()
        self._end = end - taken

    def eof_received(self) -> None:
        """Let the transport close."""

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """Forget the transport."""
        self._transport = None


async def serve(host: str, port: int, dialect: str) -> None:
    """Serve until SIGTERM or SIGINT; print the port first."""
    loop = asyncio.get_running_loop()
    echo(np.zeros(2, np.uint8), 0, reply_widths(dialect), np.zeros(2, np.uint8))  # compile
    server = await loop.create_server(lambda: Echo(dialect), host, port, backlog=1024)
    done = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, done.set)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await done.wait()
    server.close()


@contextlib.contextmanager
def echo_process(dialect: str = "iso87-bin") -> Iterator[int]:
    """Run the server as its own process and yield its port; RuntimeError when it does not start."""
    command = [sys.executable, "-m", "bench.echo", "--dialect", dialect]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            line = process.stdout.readline() if process.stdout else ""
            if not line.strip().isdigit():
                raise RuntimeError("the echo server did not start")
            yield int(line)
        finally:
            process.terminate()


def main() -> None:
    """Run the server from the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.echo", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 = any free one; it is printed")
    parser.add_argument("--dialect", default="iso87-bin", choices=["iso87-bin", "iso87-hex"])
    given = parser.parse_args()
    uvloop.run(serve(given.host, given.port, given.dialect))


if __name__ == "__main__":
    main()
