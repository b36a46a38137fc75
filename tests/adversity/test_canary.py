"""No card number, track, PIN block or security code in anything the switch shows or keeps.

Known numbers go in by every way there is, right and wrong; then everything that came out is
searched for them: logs, metrics, HTTP answers, journal, snapshots, vault, exports, a crash.
"""

import base64
import http.client
import os
import resource
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from ledger.pan import luhn_digit
from tests.support.commands import de39
from tests.system.link import Fields, changed, network, payment, reversal
from tests.system.process import BIN, HEX, Switch

_LISTENERS = ('dialect = "iso87-bin"', 'dialect = "iso87-hex"')
_KNOWN = "520473160001479" + luhn_digit("520473160001479")  # a good card of the vault
_UNKNOWN = "400012345678901" + luhn_digit("400012345678901")  # nobody's
_MISTYPED = _UNKNOWN[:-1] + str((int(_UNKNOWN[-1]) + 3) % 10)
_SHORT = "50180000000" + luhn_digit("50180000000")
_LONG = "675964982643845321" + luhn_digit("675964982643845321")
_PANS = (_KNOWN, _UNKNOWN, _MISTYPED, _LONG)
_DISCRETIONARY = "1017391586420"  # of the track: service code, PIN check value, CVV
_NAME = "CANARY/BIRD"
_PIN_BLOCK = "C3A7915EDB064F28"
_CODE = "CVV2:739152"
_SECRETS = (*_PANS, _DISCRETIONARY, _PIN_BLOCK, _NAME, _CODE)


class _Shown(NamedTuple):
    """Something that came out: where, and the bytes."""

    place: str
    content: bytes


def _forms(secret: str) -> dict[str, bytes]:
    """Return the ways in which a secret may lie in bytes."""
    text = secret.encode()
    forms = {
        "ASCII": text,
        "UTF-16 little": secret.encode("utf-16-le"),
        "UTF-16 big": secret.encode("utf-16-be"),
        "EBCDIC": secret.encode("cp500"),
        "hex of ASCII": text.hex().encode(),
        "HEX of ASCII": text.hex().upper().encode(),
        "base64": base64.b64encode(text)[: len(text) * 8 // 6],
        "base64, moved by 1": base64.b64encode(b"x" + text)[2 : (len(text) + 1) * 8 // 6],
        "base64, moved by 2": base64.b64encode(b"xx" + text)[3 : (len(text) + 2) * 8 // 6],
    }
    if all(c in "0123456789ABCDEF" for c in secret):
        even = secret if len(secret) % 2 == 0 else secret + "F"
        forms["BCD"] = bytes.fromhex(even)
        forms["BCD, moved by a digit"] = bytes.fromhex("0" + even[:-1])[1:]
        forms["hex of BCD, moved"] = bytes.fromhex(even).hex().encode()
        if secret.isdigit() or secret == _PIN_BLOCK:
            number = int(secret, 16 if secret == _PIN_BLOCK else 10)
            forms["number, little"] = number.to_bytes(9, "little")[:8]
    return forms


def _assert_hidden(shown: list[_Shown]) -> None:
    """Look for every secret in every form; say which and where, never the bytes around it."""
    for secret in _SECRETS:
        for form, wanted in _forms(secret).items():
            for place, content in shown:
                assert wanted not in content, f"{secret[:3]}... as {form} in {place}"


def test_the_search_finds_what_it_looks_for() -> None:
    """The search itself works: each form, hidden in other bytes, is found."""
    for secret in _SECRETS:
        for wanted in _forms(secret).values():
            with pytest.raises(AssertionError):
                _assert_hidden([_Shown("here", b"\x01\x02" + wanted + b"\x03")])
    for pad in (b"", b"1", b"12"):
        with pytest.raises(AssertionError):
            _assert_hidden([_Shown("here", base64.b64encode(pad + _KNOWN.encode() + b"78"))])


def _messages(pan: str) -> list[Fields]:
    """Return messages with ``pan`` and other secrets in right and in wrong places."""
    track = f"{pan}=3012{_DISCRETIONARY}"
    odd = payment(pan, 100)
    chip = "57" + f"{len(pan + 'D3012') // 2 + 1:02X}" + (pan + "D3012" + "F" * (1 - len(pan) % 2))
    return [
        payment(pan, 100),
        payment(pan, 99_999_999_999),
        payment(pan, 100, de35=track, de52=_PIN_BLOCK, de22="021"),
        payment(pan, 100, de2=None, de14=None, de35=track, de22="021"),
        payment(pan, 100, de45=f"B{pan}^{_NAME}^3012{_DISCRETIONARY}", de22="021"),
        payment(pan, 100, de2=_UNKNOWN, de35=track),  # they do not agree
        payment(
            pan, 100, de48=f"{_CODE} {pan}", de34=pan, de60=pan, de102=pan, de103=f"{pan}=3012"
        ),
        payment(pan, 100, de43=f"SHOP {pan} TOWN".ljust(40)[:40], de44=pan, de62=_PIN_BLOCK),
        payment(pan, 100, de55=(chip if len(chip) % 2 == 0 else chip + "0")),
        payment(pan, 100, t="0200", de120=track),
        changed(network(), de48=pan, de63=track),
        odd,
        reversal(odd),
        reversal(payment(pan, 77)),
    ]


def _play(switch: Switch) -> list[_Shown]:
    """Send all messages in both dialects, right and spoiled; return the answers."""
    shown: list[_Shown] = []
    for listener in (BIN, HEX):
        for pan in (*_PANS, _SHORT):
            with switch.link(listener) as link:
                for fields in _messages(pan):
                    _note_answer(shown, pan, link.ask(fields))
                    for spoiled in _spoiled(link.frame(fields)[2:]):
                        link.socket.sendall(len(spoiled).to_bytes(2, "big") + spoiled)
                    link.send(network())
                    while (answer := link.receive())["t"] != "0810":
                        _note_answer(shown, pan, answer)
            _hang_up(switch, listener, pan)
    return shown


def _note_answer(shown: list[_Shown], pan: str, answer: Fields) -> None:
    """Keep an answer; DE2 of the message itself is echoed by right."""
    rest = "|".join(value for name, value in answer.items() if name != "2")
    shown.append(_Shown(f"answer {answer['t']} to {pan[:3]}...", rest.encode()))


def _spoiled(message: bytes) -> Iterator[bytes]:
    yield message + b"7"
    yield message[:-3]
    yield message.replace(b"0000", b"00x0", 1)
    yield b"01x0" + message[4:]
    yield message[:4] + b"\xff" * 8 + message[12:]


def _hang_up(switch: Switch, listener: int, pan: str) -> None:
    """End links inside a frame and with a length that cannot be, the number in sight."""
    for junk in (b"\x00\xf0" + pan.encode(), pan.encode() * 3, b"\xff\xff" + pan.encode()):
        with switch.link(listener) as link:
            link.socket.sendall(junk)


def _call_http(switch: Switch) -> list[_Shown]:
    """Put card numbers wherever a caller can type; return every answer."""
    shown: list[_Shown] = []
    account = {"account": "N1", "customer": "C1", "limit_minor": 5}

    def call(*words: object, **options: object) -> None:
        answer = switch.call(*words, **options)  # type: ignore[arg-type]
        shown.append(_Shown(f"HTTP {answer.status} to {words[0]}", answer.body.encode()))

    for pan in (*_PANS, _SHORT):
        call("POST", "/v1/accounts", raw=b'{"account": ' + pan.encode())
        call("POST", "/v1/accounts", raw=pan.encode())
        call("POST", "/v1/accounts", {**account, "limit_minor": int(pan)})
        call("POST", "/v1/cards", {"account": "S1", "pan": pan, "expiry_yymm": pan})
        call("POST", "/v1/cards", {"account": "S1", "pan": int(pan)})
        call("PATCH", "/v1/cards/1", {"status": pan})
        call("GET", f"/{pan}?pan={pan}")
        call("GET", f"/v1/authorizations?limit={pan}&rrn=1")
        call("GET", "/v1/accounts/S1", headers={"Authorization": f"Bearer {pan}"})
        call("POST", "/v1/import", raw=_import_text(pan).encode())
        shown.append(_Shown("bytes that are no HTTP", _raw_http(switch, f"{pan} {pan}\r\n\r\n")))
        if pan == _MISTYPED:
            continue  # a name may be any number whose check digit does not hold
        call("GET", "/v1/accounts/S1", headers={"X-Operator": pan})
        call("POST", "/v1/accounts", {**account, "account": pan})
        call("POST", "/v1/accounts", {**account, "customer": pan})
        call("POST", "/v1/accounts", {**account, pan: pan})
        call("POST", "/v1/cards", {"account": pan, "pan": pan})
        call("PATCH", f"/v1/cards/{pan}", {"status": pan})
        call("PATCH", f"/v1/accounts/{pan}", {"limit_minor": 1})
        call("GET", f"/v1/accounts/{pan}")
        call("GET", f"/v1/authorizations?rrn={pan}&account={pan}&{pan}={pan}")
    for page in ("/metrics", "/readyz", "/healthz", "/version", "/v1/accounts/S1"):
        call("GET", page)
    call("GET", "/v1/authorizations?account=S1&limit=1000")
    return shown


def _raw_http(switch: Switch, text: str) -> bytes:
    host, _, port = switch.http.removeprefix("http://").partition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=10)
    connection.connect()
    connection.sock.sendall(text.encode())
    content = connection.sock.recv(65_536)
    connection.close()
    return bytes(content)


def _import_text(pan: str) -> str:
    """Return an import file with the number in the right and in all wrong columns."""
    rows = [
        f"I1,I1,standard,840,100,{pan},3012,active",
        f"{pan},I1,standard,840,100,{pan},3012,active",
        f"I2,{pan},{pan},{pan},{pan},{pan},{pan},{pan}",
        f"I3,I3,standard,840,100,{pan},3012,active,{pan}",
        f'"I4,{pan}',
    ]
    return "account,customer,product,currency,limit_minor,pan,expiry_yymm,status\n" + "\n".join(
        rows
    )


def _files(folder: Path) -> list[_Shown]:
    shown = [
        _Shown(str(path.relative_to(folder)), path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    ]
    places = {place.partition("/")[2].partition("/")[0] for place, _ in shown}
    assert {"journal", "vault.db", "vault.key", "admin.token"} <= places
    return shown


def _run_commands(switch: Switch, file: Path) -> list[_Shown]:
    """Run the commands that read cards or records, and commands that fail on numbers."""
    data = ("--data", switch.data)
    shown = []
    for words in (
        ("ledger", "tail", *data, "--count", "1000"),
        ("ledger", "export", *data, "--format", "csv"),
        ("ledger", "export", *data, "--format", "jsonl"),
        ("ledger", "verify", *data, "--json"),
        ("account", "show", "S1", "--http", switch.http, *data),
        ("account", "show", _UNKNOWN, "--http", switch.http, *data),
        ("card", "issue", "S1", "--pan", _UNKNOWN, "--dry-run", *data),
        ("card", "issue", "S1", "--pan", _MISTYPED, "--http", switch.http, *data),
        ("card", "issue", _KNOWN, "--pan", _KNOWN, "--http", switch.http, *data, "--json"),
        ("import", file, "--http", switch.http, *data),
        ("import", file, "--dry-run"),
    ):
        code, out, err = de39(*words)
        assert "Traceback" not in err, words[:2]
        shown.append(_Shown(f"{words[0]} {words[1]} ({code})", (out + err).encode()))
    return shown


def _allow_cores() -> None:
    """Lift the bound on core files where that is allowed: the switch must set its own."""
    most = resource.getrlimit(resource.RLIMIT_CORE)[1]
    if os.geteuid() == 0:
        most = resource.RLIM_INFINITY
    resource.setrlimit(resource.RLIMIT_CORE, (most, most))


@pytest.mark.behaviour(60)
def test_no_secret_comes_out_anywhere(tmp_path: Path) -> None:
    """S1, S3: nothing that is printed, answered, stored or left behind by a crash has a secret."""
    more = '[log]\nlevel = "debug"\n[ledger]\nsegment_bytes = 1048576\n'
    env = {"PYTHONFAULTHANDLER": "1"}
    with Switch(tmp_path, _LISTENERS, more, env=env, limit=_allow_cores) as switch:
        switch.start()
        switch.open_card()
        card = {"account": "S1", "pan": _KNOWN, "expiry_yymm": "3012"}
        assert switch.call("POST", "/v1/cards", card).status == 201
        file = tmp_path.parent / f"{tmp_path.name}.csv"
        file.write_text(_import_text(_MISTYPED))
        shown = _play(switch)
        assert any(b"|00" in content for _, content in shown), "some payment was approved"
        shown += _call_http(switch)
        shown += _run_commands(switch, file)
        _assert_hidden(shown + _files(tmp_path))
        assert switch.stop() == 0  # a snapshot is written
        _assert_hidden(_files(tmp_path))
        switch.start()
        shown = _play(switch)
        switch.send_signal(signal.SIGABRT)
        assert switch.wait() == -signal.SIGABRT
        assert not list(tmp_path.glob("core*")), "memory holds card numbers"
        _assert_hidden([*shown, *_files(tmp_path), _Shown("stderr", switch.stderr)])
