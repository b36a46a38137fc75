"""What the pages say is so: links lead somewhere, tables match, commands exist."""

import re
from pathlib import Path

import pytest

from engine import cli
from engine.decision import DEFAULT_RESPONSE, Decision
from engine.errors import Exit
from ledger import journal, segment
from ledger.record import RECORD, RECORD_BYTES, Kind

ROOT = Path(__file__).resolve().parent.parent
PAGES = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
_TYPES = {"u1": "|u1", "u2": "<u2", "u4": "<u4", "u8": "<u8", "i8": "<i8"}


def text_of(name: str) -> str:
    """Return the text of a page."""
    return (ROOT / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page: Path) -> None:
    """Every link between pages, and every source that a page names, is there."""
    text = page.read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#:\s]+)\)", text)
    named = re.findall(r"`((?:engine|scoring|ledger|bench|tests|docs)/[\w./-]+)`", text)
    lost = [link for link in links if not (page.parent / link).exists()]
    lost += [name for name in named if not (ROOT / name).exists()]
    assert lost == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_exist(page: Path) -> None:
    """A command in a page can be typed: it is one of the command line's."""
    first = {words.split()[0] for words in cli._COMMANDS}
    wrong = []
    for line in re.findall(r"de39 ([a-z][a-z |]*)", page.read_text(encoding="utf-8")):
        words = re.sub(r"\s*\|\s*", "|", line).split()
        group = words[0]
        if "|" in group or group not in first:
            continue
        if group in cli._GROUPS and len(words) > 1:
            known = {w.split()[1] for w in cli._COMMANDS if w.startswith(f"{group} ")}
            wrong += [f"{group} {verb}" for verb in words[1].split("|") if verb not in known]
    assert wrong == []


def test_readme_names_every_command() -> None:
    """The list of commands in the README is the command line's."""
    block = text_of("README.md").partition("## Commands")[2].partition("Each has")[0]
    told = set(re.findall(r"[a-z]+", block))
    assert {word for words in cli._COMMANDS for word in words.split()} <= told


def test_readme_names_every_exit_code() -> None:
    """The exit codes of the README are those of the program, but for Ctrl-C's."""
    sentence = text_of("README.md").partition("Exit codes:")[2].partition("\n\n")[0]
    told = {int(number) for number in re.findall(r"\b(\d+) ", sentence)}
    assert told == set(map(int, Exit)) - {Exit.INTERRUPTED}


def test_ledger_page_has_the_record() -> None:
    """Place, name and type of every field, in order."""
    rows = re.findall(
        r"^\| (\d+)(?:-(\d+))? \| `(\w+)` \| ([ui]\d) \|", text_of("docs/ledger.md"), re.MULTILINE
    )
    told = [
        (name, int(first), int(last or first), _TYPES[kind]) for first, last, name, kind in rows
    ]
    fields = [(name, *RECORD.fields[name][:2]) for name in RECORD.names or ()]
    so = [(name, at, at + kind.itemsize - 1, kind.str) for name, kind, at in fields]
    assert told == so
    assert f"{RECORD_BYTES} bytes, fixed" in text_of("docs/ledger.md")


def test_ledger_page_has_every_kind() -> None:
    """The numbers of the kinds and their names."""
    sentence = text_of("docs/ledger.md").partition("Kinds: ")[2].partition("\n\n")[0]
    numbers = {int(number) for number in re.findall(r"\b(\d+)\b", sentence)}
    assert set(map(int, Kind)) <= numbers


def test_ledger_page_has_the_headers() -> None:
    """Offsets in the tables are those of the structures."""
    text = text_of("docs/ledger.md").partition("| byte | batch header |")[2].partition("\n\n")[0]
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()[2:]]
    batch = {row[1].split(",")[0]: int(row[0]) for row in cells}
    segments = {row[4].split(",")[0]: int(row[3]) for row in cells if row[3]}
    writer = journal.Writer(b"C" * 16, 7, 0x0808, b"W" * 16)
    data = journal.BatchEncoder(writer).encode([], journal.Position(9, 10, 3, b"H" * 32), 11)
    page = segment.segment_page(b"C" * 16, 7, b"U" * 16, journal.Position(9, 10, 3, b"H" * 32), 0)
    assert data[batch["cluster"] :][:17] == b"C" * 16 + b"\x08"
    assert data[batch["number of the batch u8"]] == 9
    assert data[batch["number of its first record u8"]] == 10
    assert data[batch["engine time u8"]] == 11
    assert data[batch["`prev_head`"] :][:32] == b"H" * 32
    assert data[batch["writer"] :][:17] == b"W" * 16 + b"\0"
    assert page[segments["id of the segment"] :][:16] == b"U" * 16
    assert page[segments["number of its first batch u8"]] == 9
    assert page[segments["head before its first batch"] :][:33] == b"H" * 32 + b"\0"


def test_wire_page_has_every_response_code() -> None:
    """Each code that a shipped dialect may answer with is explained."""
    text = text_of("docs/wire.md")
    unused = {Decision.OVERLOADED}
    codes = {code for decision, code in DEFAULT_RESPONSE.items() if decision not in unused}
    told = set(re.findall(r"\b([0-9][0-9A-Z])\b", text))
    assert codes <= told
