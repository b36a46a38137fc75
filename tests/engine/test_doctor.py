"""The doctor finds what is wrong with a machine, and only that."""

import json
import os
import resource
import socket
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from engine import doctor
from engine.config import Config, Http, Listen, load_config
from engine.doctor_files import examine_files
from ledger.stores.file import lock_folder
from tests.support.commands import de39


def findings(config: Config) -> dict[str, doctor.Finding]:
    """Return the findings by the name of their check."""
    return {finding.check: finding for finding in doctor.examine(config)}


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """Return a configuration of free ports and a folder that is not there yet."""
    return Config(
        data=str(tmp_path / "data"),
        listen=(Listen(address="127.0.0.1:0", max_connections=10),),
        http=Http(address="127.0.0.1:0"),
    )


def test_a_fit_machine_has_nothing_that_fails(config: Config) -> None:
    """On the machine that runs the suite the switch runs, so nothing fails."""
    found = findings(config)
    kinds = {"tmpfs", "ramfs"}  # where the test folder lies in memory the doctor is right to fail
    failed = {name for name, finding in found.items() if finding.level == "fail"}
    assert failed <= ({"file system"} if any(k in str(found) for k in kinds) else set())
    assert found["listen[0].address"].level == "ok"
    assert "median" in found["disk sync"].seen
    assert " ms" in found["disk sync"].seen


def test_a_taken_port_is_named(config: Config) -> None:
    """A port that another process listens on fails by its key, address and what to do."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        found = findings(msgspec.structs.replace(config, http=Http(address=address)))
    assert found["http.address"].level == "fail"
    assert address in found["http.address"].seen
    assert found["http.address"].advice


def test_files_open_to_others_fail(config: Config) -> None:
    """A data folder or key file that others may read is named with its mode."""
    data = Path(config.data)
    data.mkdir(mode=0o700)
    (data / "vault.key").touch(mode=0o600)
    assert findings(config)["file modes"].level == "ok"
    (data / "vault.key").chmod(0o640)
    found = findings(config)["file modes"]
    assert found.level == "fail"
    assert "vault.key is 0640" in found.seen


def test_too_few_open_files_fail(config: Config) -> None:
    """More connections than the process may hold open is a failure that names both numbers."""
    limit, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    listens = tuple(
        Listen(address="127.0.0.1:0", max_connections=65_536) for _ in range(1 + limit // 65_536)
    )
    found = findings(msgspec.structs.replace(config, listen=listens))["open files"]
    assert found.level == ("fail" if limit != resource.RLIM_INFINITY else "ok")
    assert f"{limit:,}" in found.seen


def test_the_worst_level_counts() -> None:
    """One failure makes the whole a failure; a warning is less than that."""
    ok, warn = doctor.Finding("a", "ok", ""), doctor.Finding("b", "warn", "")
    fail = doctor.Finding("c", "fail", "")
    assert doctor.worst_of([ok]) == "ok"
    assert doctor.worst_of([ok, warn]) == "warn"
    assert doctor.worst_of([warn, fail, ok]) == "fail"


def test_the_command_prints_json_and_an_exit_code(config: Config, tmp_path: Path) -> None:
    """``--json`` is one object; something that fails is exit code 1 and one line that names it."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        file = tmp_path / "de39.toml"
        port = taken.getsockname()[1]
        file.write_text(
            f'data = "{config.data}"\n[[listen]]\naddress = "127.0.0.1:{port}"\n'
            '[http]\naddress = "127.0.0.1:0"\n',
            encoding="utf-8",
        )
        done = subprocess.run(
            [sys.executable, "-m", "engine.cli", "doctor", "--config", str(file), "--json"],
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
    told = json.loads(done.stdout)
    assert done.returncode == 1
    assert told["level"] == "fail"
    assert {"check", "level", "seen", "advice"} == set(told["findings"][0])
    assert "listen[0].address" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("more", "check", "words"),
    [
        ("[rules]\nfile = 'my.rules'\n", "files", ["my.rules"]),
        ("[scoring]\nmodel = 'my.model'\n", "files", ["my.model"]),
        ('[security]\nstore = "file"\n', "keys", ["keys.master", "de39 key init"]),
    ],
)
def test_what_a_start_would_be_refused_for_fails(
    tmp_path: Path, more: str, check: str, words: list[str]
) -> None:
    """The line is the one that the start would end with, and nothing is made."""
    found = looked_at(tmp_path, more)[check]
    assert found.level == "fail"
    assert all(word in found.seen for word in words), found
    assert not (tmp_path / "data").exists()


def test_a_folder_in_use_and_an_open_token_are_both_told(tmp_path: Path) -> None:
    """One wrong thing does not hide the next."""
    lock = lock_folder(tmp_path / "data")
    try:
        (tmp_path / "data" / "admin.token").write_text("0123456789abcdef")
        (tmp_path / "data" / "admin.token").chmod(0o644)
        found = looked_at(tmp_path, "")
    finally:
        os.close(lock)
    assert f"in use by process {os.getpid()}" in found["data folder"].seen
    assert "0644" in found["admin token"].seen
    assert found["files"].level == "ok"
    assert looked_at(tmp_path, "")["data folder"].level == "ok"


def test_a_named_key_that_is_not_in_the_store_is_a_warning(tmp_path: Path) -> None:
    """It may come by message, so the switch would start; the key and the name are told."""
    assert de39("key", "init", "--data", tmp_path / "data")[0] == 0
    more = '[security]\nstore = "file"\n[[security_profile]]\nname = "a"\nmac_key = "mc"\n'
    found = looked_at(tmp_path, more + '[[listen]]\nsecurity = "a"\n')["keys"]
    assert (found.level, "security_profile[0].mac_key (mc)" in found.seen) == ("warn", True)


def looked_at(folder: Path, more: str) -> dict[str, doctor.Finding]:
    """Return the findings about the files of a configuration in ``folder``, by name."""
    file = folder / "de39.toml"
    file.write_text('data = "data"\n' + more, encoding="utf-8")
    return {finding.check: finding for finding in examine_files(load_config(file))}
