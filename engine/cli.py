"""Composition root: every command of ``de39``, loaded only when it is called.

Commands that live in bench/ are registered by name, so nothing here imports upward.
"""

import atexit
import os
import re
import sys
import threading
from pathlib import Path
from typing import Any

from cyclopts import App, CycloptsError, CycloptsPanel

from engine import __version__, kernel_cache
from engine.errors import Exit
from ledger.pan import hide_pans


def _panel(error: CycloptsError) -> Any:
    """Return what is shown of a command line that was not understood; it may hold a card number."""
    return CycloptsPanel(hide_pans(str(error)))


app = App(
    name="de39",
    help="A payment authorization engine: ISO 8583 in over TCP, durable decisions out.",
    version=__version__,
    help_format="plaintext",
    error_formatter=_panel,
)
_GROUPS = {
    "account": "Open, show and change accounts of a running engine.",
    "card": "Issue and change cards of a running engine.",
    "rules": "Rule files, and the rules of a running engine.",
    "rules list": "Lists that rules read, of a running engine.",
    "model": "Fraud models.",
    "credit": "Credit scores of accounts.",
    "ledger": "The journal of a data folder.",
    "config": "The configuration.",
    "line": "Lines that a running engine opens to networks itself.",
    "bench": "Measure one part against a named baseline in the same run.",
    "msg": "ISO 8583 messages, masked.",
    "key": "Keys of MAC, PIN and card checks, by name; only check values are shown.",
}
_COMMANDS = {
    "demo": "bench.demo:run",
    "serve": "engine.serve_commands:serve",
    "doctor": "engine.doctor_commands:run",
    "import": "engine.import_commands:import_file",
    "clearing": "engine.clearing_commands:clearing",
    "repayment": "engine.clearing_commands:repayment",
    "load": "bench.load:run",
    "labels": "engine.model_commands:labels",
    "account open": "engine.client_commands:account_open",
    "account show": "engine.client_commands:account_show",
    "account set": "engine.client_commands:account_set",
    "card issue": "engine.client_commands:card_issue",
    "card set": "engine.client_commands:card_set",
    "msg explain": "engine.message_commands:explain",
    "msg doctor": "engine.message_commands:doctor",
    "msg build": "engine.message_commands:build",
    "msg convert": "engine.message_commands:convert",
    "key init": "engine.key_commands:init",
    "key show": "engine.key_commands:show",
    "key generate": "engine.key_commands:generate",
    "key rotate": "engine.key_commands:rotate",
    "key import": "engine.key_commands:import_key",
    "key export": "engine.key_commands:export",
    "key remove": "engine.key_commands:remove",
    "conformance": "bench.conformance.run:run",
    "rules check": "engine.rules.commands:check",
    "rules fmt": "engine.rules.commands:fmt",
    "rules diff": "engine.rules.commands:diff",
    "rules backtest": "bench.backtest:run",
    "rules explain": "bench.rule_history:explain",
    "rules report": "bench.rule_history:report",
    "rules show": "engine.rule_commands:show",
    "rules apply": "engine.rule_commands:apply",
    "rules approve": "engine.rule_commands:approve",
    "rules reload": "engine.rule_commands:reload",
    "rules promote": "engine.rule_commands:promote",
    "rules demote": "engine.rule_commands:demote",
    "rules snooze": "engine.rule_commands:snooze",
    "rules list add": "engine.rule_commands:list_add",
    "rules list remove": "engine.rule_commands:list_remove",
    "rules list load": "engine.rule_commands:list_load",
    "rules list show": "engine.rule_commands:list_show",
    "model train": "bench.model:train",
    "model show": "bench.model:show",
    "model list": "engine.model_commands:show",
    "model promote": "engine.model_commands:promote",
    "model challenge": "engine.model_commands:challenge",
    "model withdraw": "engine.model_commands:withdraw",
    "model rollback": "engine.model_commands:rollback",
    "model replay": "engine.model_history:replay",
    "model drift": "engine.model_history:drift",
    "model explain": "engine.explain_commands:explain",
    "model evaluate": "bench.evaluate:evaluate",
    "credit train": "bench.credit:train",
    "credit score": "bench.credit:score",
    "ledger verify": "engine.ledger_commands:verify",
    "ledger audit": "engine.ledger_commands:audit",
    "ledger tail": "engine.ledger_commands:tail",
    "ledger export": "engine.ledger_commands:export",
    "ledger books": "engine.books_commands:books",
    "ledger replay": "engine.upkeep_commands:replay",
    "ledger backup": "engine.upkeep_commands:backup",
    "ledger restore": "engine.upkeep_commands:restore",
    "ledger archive": "engine.upkeep_commands:archive",
    "ledger prove": "engine.proof_commands:prove",
    "ledger snapshot": "engine.client_commands:ledger_snapshot",
    "line list": "engine.line_commands:line_list",
    "line send": "engine.line_commands:line_send",
    "line messages": "engine.line_commands:line_messages",
    "config reload": "engine.line_commands:config_reload",
    "config check": "engine.config_commands:config_check",
    "config show": "engine.config_commands:config_show",
    "config schema": "engine.config_commands:config_schema",
    "bench core": "bench.core:run",
    "bench codec": "bench.codec:run",
    "bench score": "bench.score:run",
    "bench rules": "bench.rules:run",
    "bench journal": "bench.journal:run",
    "bench switch": "bench.switch:run",
    "bench mac": "bench.mac:run",
    "bench changes": "bench.changes:run",
}


def _register(*, is_list: bool = False) -> None:
    """Register every command by name; a list of commands says of each what it does."""
    groups = {
        name: App(name=name.split()[-1], help=text, version_flags=())
        for name, text in _GROUPS.items()
    }
    for name, group in groups.items():
        above = name.rpartition(" ")[0]
        (groups[above] if above else app).command(group)
    for words, place in _COMMANDS.items():
        first, _, name = words.rpartition(" ")
        summary = _summary(place) if is_list else None
        (groups[first] if first else app).command(place, name=name, help=summary)


def _names_a_command(arguments: list[str]) -> bool:
    """Whether ``arguments`` go to one command; else a list of commands is what will be shown."""
    words = [word for word in arguments if not word.startswith("-")]
    return any(" ".join(words[:count]) in _COMMANDS for count in (1, 2, 3))


def _summary(place: str) -> str:
    """Return the first line of a command's docstring; its module is read, not imported.

    A list of commands would else import all of them, Numba and the trainer among them.
    """
    module, _, name = place.partition(":")
    path = Path(__file__).resolve().parents[1].joinpath(*module.split(".")).with_suffix(".py")
    text = path.read_text(encoding="utf-8")
    found = re.search(rf'^def {name}\(.*?"""(.*?)("""|\n)', text, re.MULTILINE | re.DOTALL)
    assert found is not None, f"{place} has a docstring"
    return found[1]


def main() -> None:
    """Run the command line."""
    if not __debug__:
        sys.stderr.write(
            "de39: error: python -O removes assertions that guard money; run without\n"
        )
        raise SystemExit(Exit.USAGE)
    is_list = not _names_a_command(sys.argv[1:])
    if not is_list:
        kernel_cache.configure()
    _register(is_list=is_list)
    try:
        app()
    except SystemExit as end:
        _end_at_once(end.code)
        raise


def _end_at_once(code: object) -> None:
    """End the process here when it holds compiled kernels and nothing else is left to do.

    The command has closed what it had open. To take the machine code apart again costs Python a
    third of a second, for which a restart, and everyone who waits for a command, would wait.
    """
    others = [t for t in threading.enumerate() if t is not threading.main_thread()]
    if "numba" not in sys.modules or not isinstance(code, int) or any(not t.daemon for t in others):
        return
    atexit._run_exitfuncs()  # noqa: SLF001 - os._exit leaves them out
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code & 0xFF)


if __name__ == "__main__":
    main()
