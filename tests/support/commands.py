"""Commands of ``de39`` run in this process: words in, exit code and both outputs out.

What runs is what the program runs, from the reading of the words to the exit code; only the start
of a process is left out, most of the time of a short command. ``tests.system.process`` starts real
ones where the process itself is what is tested.
"""

import functools
import io
import sys
from unittest import mock

from cyclopts import App

from engine import cli


@functools.cache
def registered_app() -> App:
    """Return the application with its commands, registered once: ``main`` does it at each start."""
    cli._register()
    return cli.app


def de39(*words: object, stdin: str | None = None, **env: str) -> tuple[int, str, str]:
    """Run a command; return exit code, stdout and stderr. ``env`` is added to the environment."""
    app = registered_app()
    given, out, err = _Pipe(stdin or ""), _Pipe(), _Pipe()
    code = 0
    with (
        mock.patch.dict("os.environ", env),
        mock.patch.multiple(sys, stdin=given, stdout=out, stderr=err),
    ):
        try:
            app(list(map(str, words)))
        except SystemExit as end:
            code = int(end.code or 0)
    return code, out.text(), err.text()


class _Pipe(io.TextIOWrapper):
    """A stream of text over bytes, as a process has them; no terminal."""

    def __init__(self, text: str = "") -> None:
        super().__init__(io.BytesIO(text.encode()), encoding="utf-8", newline="")

    def text(self) -> str:
        """Return what was written."""
        self.flush()
        return self.buffer.getvalue().decode()
