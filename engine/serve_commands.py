"""``de39 serve``. What serves is imported once the configuration is known to be right."""

import os
import resource
import sys
from pathlib import Path

from engine.command_options import Flag
from engine.config import Config, load_config, show
from engine.errors import run_command
from engine.observe import Log


@run_command
def serve(
    *,
    config: Path | None = None,
    data: Path | None = None,
    print_config: Flag = False,
) -> None:
    """Run the switch until SIGTERM or SIGINT; then drain and exit 0.

    Parameters
    ----------
    config
        The TOML file; without one, defaults and DE39_ variables.
    data
        The data folder; goes before the file's ``data``.
    print_config
        Print the configuration in force, secrets hidden, and exit.
    """
    settings = read_config(config, data)
    if print_config:
        sys.stdout.write(show(settings))
        return
    from engine.switch import Switch  # noqa: PLC0415 - a refusal waits for no import

    # Memory holds card numbers: a crash must not write it to a file.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    log = Log(level=settings.log.level, style=settings.log.format)
    try:
        Switch(settings, log, report, lambda: read_config(config, data)).run()
    finally:
        log.close()


def read_config(config: Path | None, data: Path | None) -> Config:
    """Return the configuration in force; ``data`` goes before the file's."""
    overrides = {"data": None if data is None else str(data)}
    return load_config(config, os.environ, overrides)


def report(text: str) -> None:
    """Tell an operator one line."""
    sys.stderr.write(f"de39: {text}\n")
    sys.stderr.flush()
