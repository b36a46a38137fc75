"""What an operator gets wrong is refused in one line, before a kernel is compiled or kept.

Each start has a folder for compiled kernels of its own, which stays empty of them.
"""

import os
import socket
from pathlib import Path

import pytest

from engine.wire.dialect import DIALECT_FOLDER
from ledger.stores.file import lock_folder
from tests.system.process import PLAIN, Switch, is_one_line

_KEYS = '[security]\nstore = "file"\n'
_TLS = 'dialect = "iso87-bin"\ntls_certificate = "own.pem"\ntls_key = "own.key"'


def _refused(switch: Switch, cache: Path, code: int) -> str:
    """Start the switch with nothing compiled; expect its refusal and return the line."""
    switch._env["DE39_KERNEL_CACHE"] = str(cache)
    exit_code, stderr = switch.run_to_end()
    assert exit_code == code, stderr
    assert is_one_line(stderr), stderr
    assert "compiling" not in stderr
    assert list(cache.rglob("*.nb[ci]")) == [], "a kernel was compiled"
    (line,) = [line for line in stderr.splitlines() if line.startswith("de39: error: ")]
    return line


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """Return the folder for compiled kernels, not there yet."""
    return tmp_path / "kernels"


@pytest.mark.parametrize(
    ("more", "code", "words"),
    [
        ("[rules]\nfile = 'my.rules'\n", 78, ["my.rules"]),
        ("[scoring]\nmodel = 'my.model'\n", 78, ["my.model"]),
        ("[authorization]\nterms = 'my.toml'\n", 78, ["my.toml"]),
        (_KEYS, 74, ["keys.master", "de39 key init"]),
        ("[[dial]]\nname = 'n'\naddress = '127.0.0.1:9'\ntls_ca = 'ca.pem'\n", 78, ["ca.pem"]),
    ],
)
def test_what_the_configuration_names_is_tried_first(
    tmp_path: Path, cache: Path, more: str, code: int, words: list[str]
) -> None:
    """Rules, model, terms, keys and certificates that are not there are named."""
    line = _refused(Switch(tmp_path, more=more), cache, code)
    assert all(word in line for word in words), line


def test_a_wrong_configuration_is_refused_before_anything_is_imported(
    tmp_path: Path, cache: Path
) -> None:
    """Not even the folder of the kernels is made, nor the data folder; the key is named."""
    switch = Switch(tmp_path, more="[ledger]\nfsync = 1\n")
    assert "ledger.fsync" in _refused(switch, cache, 78)
    assert not cache.exists()
    assert not switch.data.exists()


@pytest.mark.parametrize("kind", ["listen", "http"])
def test_a_port_in_use(tmp_path: Path, cache: Path, kind: str) -> None:
    """The line has the key and the address."""
    switch = Switch(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        _set_address(switch, kind, address)
        line = _refused(switch, cache, 69)
    key = "listen[0].address" if kind == "listen" else "http.address"
    assert f"{key}: cannot listen on {address}: address already in use" in line


def test_one_port_by_two_names(tmp_path: Path, cache: Path) -> None:
    """A name and a number of the same address are seen to be one port."""
    switch = Switch(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    _set_address(switch, "listen", f"localhost:{port}")
    _set_address(switch, "http", f"127.0.0.1:{port}")
    line = _refused(switch, cache, 69)
    assert f"127.0.0.1:{port} is the port of listen[0].address too" in line


def test_a_data_folder_in_use(tmp_path: Path, cache: Path) -> None:
    """The process that has it is named, whatever else is wrong with what this one would need."""
    switch = Switch(tmp_path, more=PLAIN + _KEYS)
    lock = lock_folder(switch.data)
    try:
        assert f"in use by process {os.getpid()}" in _refused(switch, cache, 75)
    finally:
        os.close(lock)


@pytest.mark.parametrize("place", ["data", "data/inner"])
def test_a_data_folder_that_is_a_file(tmp_path: Path, cache: Path, place: str) -> None:
    """The file that is in the way is named."""
    switch = Switch(tmp_path)
    switch.config.write_text(
        switch.config.read_text(encoding="utf-8").replace('data = "data"', f'data = "{place}"')
    )
    switch.data.touch()
    assert f"data: {switch.data} is a file" in _refused(switch, cache, 78)


def test_a_folder_that_cannot_be_made(tmp_path: Path, cache: Path) -> None:
    """A place where nobody can write is an input or output error that names it."""
    switch = Switch(tmp_path, env={"DE39_DATA": "/proc/de39"})
    assert "/proc/de39" in _refused(switch, cache, 74)


@pytest.mark.parametrize(
    ("env", "mode", "code", "word"),
    [
        ({"DE39_ADMIN_TOKEN": "short"}, 0o600, 78, "DE39_ADMIN_TOKEN"),
        ({}, 0o644, 77, "admin.token"),
    ],
)
def test_an_admin_token_that_cannot_be_taken(
    tmp_path: Path, cache: Path, env: dict[str, str], mode: int, code: int, word: str
) -> None:
    """Too short a token, or one that others can read."""
    switch = Switch(tmp_path, env=env)
    switch.data.mkdir(mode=0o700)
    (switch.data / "admin.token").write_text("0123456789abcdef")
    (switch.data / "admin.token").chmod(mode)
    assert word in _refused(switch, cache, code)


def test_a_vault_without_its_key(tmp_path: Path, cache: Path) -> None:
    """What a vault was closed with is not made anew."""
    switch = Switch(tmp_path)
    switch.data.mkdir(mode=0o700)
    (switch.data / "vault.db").write_bytes(b"x")
    assert "vault.key is missing" in _refused(switch, cache, 74)


def test_a_certificate_that_is_not_there(tmp_path: Path, cache: Path) -> None:
    """The file of a listener is named."""
    assert "own.pem" in _refused(Switch(tmp_path, (_TLS,)), cache, 78)


def test_too_many_dialects(tmp_path: Path, cache: Path) -> None:
    """Each needs a row of the table that is compiled against; the line says how many there are."""
    text = (DIALECT_FOLDER / "iso87-bin.toml").read_text(encoding="utf-8")
    for i in range(65):
        (tmp_path / f"d{i}.toml").write_text(text)
    listen = tuple(f'dialect = "d{i}.toml"' for i in range(64))
    dial = '[[dial]]\nname = "n"\naddress = "127.0.0.1:9"\ndialect = "d64.toml"\n'
    assert "1 to 64" in _refused(Switch(tmp_path, listen, PLAIN + dial), cache, 78)


def _set_address(switch: Switch, section: str, address: str) -> None:
    text = switch.config.read_text(encoding="utf-8")
    before, name, after = text.partition(f"[{section}]")
    switch.config.write_text(before + name + after.replace("127.0.0.1:0", address, 1))
