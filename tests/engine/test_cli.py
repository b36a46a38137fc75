"""The command line: every command is there, helps, and says what it did not understand."""

import importlib
import inspect
import subprocess
import sys
import types
from pathlib import Path
from typing import Union, get_args, get_origin, get_type_hints

import pytest

from engine import cli
from tests.support.commands import registered_app


def run(words: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Run a command line in this process; return its exit code and all it wrote."""
    with pytest.raises(SystemExit) as ended:
        registered_app()(words.split())
    told = capsys.readouterr()
    return int(ended.value.code or 0), told.out + told.err


def run_process(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python with ``arguments`` as a process of its own."""
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, check=False, timeout=60
    )


@pytest.mark.parametrize("words", sorted(cli._COMMANDS))
def test_every_command_loads_and_helps(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    """``--help`` imports the command, names it and says in a sentence what it does."""
    with pytest.raises(SystemExit) as ended:
        registered_app()([*words.split(), "--help"])
    usage, _, text = capsys.readouterr().out.partition("\n\n")
    assert ended.value.code in (0, None)
    assert usage.startswith(f"Usage: de39 {words}")
    assert text[0].isupper()
    assert ". " in text.partition("╭")[0].replace("\n", " ")


@pytest.mark.parametrize("group", sorted(cli._GROUPS))
def test_every_group_lists_its_commands(group: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A group alone shows what there is in it."""
    code, told = run(f"{group} --help", capsys)
    names = [words.split()[1] for words in cli._COMMANDS if words.startswith(f"{group} ")]
    assert code == 0
    assert names
    assert all(name in told for name in names)


@pytest.mark.parametrize("words", ["", *sorted(cli._GROUPS)])
def test_a_list_of_commands_says_what_each_does(words: str) -> None:
    """``de39 --help`` and each group's give every command a sentence, and import none of them."""
    done = run_process("-m", "engine.cli", *words.split(), "--help")
    lines = [line.strip("│ ") for line in done.stdout.partition("Commands")[2].splitlines()]
    told = {line.split()[0]: line.split()[1:] for line in lines if line}
    names = [key.rpartition(" ") for key in cli._COMMANDS]
    wanted = {name for group, _, name in names if group == words}
    assert wanted
    assert [name for name in wanted if len(told.get(name, [])) < 2] == []


@pytest.mark.parametrize(
    ("words", "meant"), [("ledgr", "ledger"), ("ledger verfy", "verify"), ("bench cor", "core")]
)
def test_unknown_command_is_met_with_a_suggestion(
    words: str, meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A slip of the pen names the command that was meant; exit code 2."""
    code, told = run(words, capsys)
    assert code == 2
    assert f'Did you mean "{meant}"' in " ".join(told.split())


@pytest.mark.parametrize(
    "words",
    ["ledger verify --bogus", "load", "ledger tail --count many", "rules check", "serve --config"],
)
def test_misuse_is_exit_code_2_without_a_stack(
    words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A wrong option, value or missing argument is told in words."""
    code, told = run(words, capsys)
    assert code == 2
    assert "Traceback" not in told


def test_optimized_python_is_refused() -> None:
    """``python -O`` would drop the assertions that guard money: one line, exit code 2."""
    done = run_process("-O", "-m", "engine.cli", "--version")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("de39: error: python -O")
    assert done.stderr.count("\n") == 1


def test_version_and_help_need_no_numba() -> None:
    """The command line answers at once: Numba is imported by the commands that compile."""
    code = (
        "import sys; sys.argv = ['de39', '--version']; from engine import cli\n"
        "try:\n    cli.main()\n"
        "except SystemExit as ended:\n    assert not ended.code\n"
        "assert 'numba' not in sys.modules, 'imported'\n"
        "assert 'xgboost' not in sys.modules, 'imported'\n"
    )
    done = run_process("-c", code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == cli.app.version


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("serve --config bad.toml", 78),
        ("config show", 0),
        ("config check bad.toml", 78),
        ("rules fmt good.rules", 0),
        ("account show A1 --http http://127.0.0.1:9", 69),
    ],
)
def test_light_commands_and_refusals_import_no_compiler(
    tmp_path: Path, words: str, code: int
) -> None:
    """What decides nothing answers at once: a wrong configuration, a rule file, a call."""
    (tmp_path / "bad.toml").write_text("[http]\nadress = 1\n", encoding="utf-8")
    (tmp_path / "good.rules").write_text(
        'rule R1 pre decline(59) "x"\n  when amount > 1.00\n', encoding="utf-8"
    )
    program = (
        f"import sys, os; os.chdir({str(tmp_path)!r}); from engine import cli\n"
        "os.environ['DE39_ADMIN_TOKEN'] = '0' * 16\n"
        f"sys.argv = {['de39', *words.split()]!r}\n"
        "try:\n    cli.main()\n"
        "except SystemExit as ended:\n"
        "    print('numba' in sys.modules, ended.code or 0, file=sys.stderr)\n"
    )
    done = run_process("-c", program)
    assert done.stderr.splitlines()[-1] == f"False {code}", done.stdout + done.stderr


def test_a_process_with_kernels_ends_whole(tmp_path: Path) -> None:
    """Output is flushed, what waits for the end of the process is run, the exit code is kept."""
    (tmp_path / "bad.rules").write_text("rule R1 pre declin", encoding="utf-8")
    left = tmp_path / "left"
    code = (
        "import sys, atexit, pathlib; from engine import cli\n"
        f"atexit.register(pathlib.Path({str(left)!r}).touch)\n"
        f"sys.argv = ['de39', 'rules', 'check', {str(tmp_path / 'bad.rules')!r}]; cli.main()"
    )
    done = run_process("-c", code)
    assert (done.returncode, left.exists()) == (78, True)
    assert "bad.rules:1:" in done.stdout + done.stderr


@pytest.mark.parametrize("words", sorted(w for w in cli._COMMANDS if not w.startswith("bench ")))
def test_whole_numbers_are_read_strictly(words: str) -> None:
    """No option takes a number as Python or a float would: 10.5 cents were 10."""
    module, _, name = cli._COMMANDS[words].partition(":")
    command = inspect.unwrap(getattr(importlib.import_module(module), name))
    hints = get_type_hints(command, include_extras=True)
    hints.pop("return", None)
    parts = {key: get_args(hint) if _is_choice(hint) else (hint,) for key, hint in hints.items()}
    assert [key for key, hints in parts.items() if int in hints] == []


def _is_choice(hint: object) -> bool:
    return get_origin(hint) in (Union, types.UnionType)


@pytest.mark.parametrize(
    "words",
    [
        "card issue A1 {pan}",
        "card set {pan}x",
        "{pan}",
        "ledger export --format {pan}",
        "account open --limit-minor {pan}.5 A1 --customer C1",
        "msg build 0100 2={pan}",
    ],
)
def test_a_card_number_in_the_wrong_place_is_not_repeated(
    words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever is wrong with the line, what it says of it is fit for a log."""
    code, told = run(words.format(pan="4111111111111111"), capsys)
    assert (code, "Error" in told) == (2, True)
    assert "4111111111111111" not in told


def test_a_place_that_takes_a_number_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """By the name that the help gives it."""
    assert "Invalid value for CARD" in run("card set 1.5 --status active", capsys)[1]


@pytest.mark.parametrize("words", ["key remove m1 --version 9", "model promote --version 9d1f0a22"])
def test_a_version_that_is_meant_for_a_key_is_no_question(
    words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """It printed the program's version, exit 0, and the key stayed."""
    code, told = run(words, capsys)
    assert (code, "Unknown option: --version" in told) == (2, True)
