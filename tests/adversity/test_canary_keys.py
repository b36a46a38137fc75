"""No key, PIN, PIN block or card check value in anything that is shown, stored or left behind.

Known keys and a PIN of twelve digits go through every check, right and wrong, and through the
commands; then everything that came out is searched for them in every form.
"""

import signal
from pathlib import Path

import numpy as np
import psec.des
import psec.pin
import psec.pinblock
import pytest

from engine.security.file_store import FileStore
from engine.security.keys import Usage
from tests.adversity.test_canary import _files, _forms, _Shown
from tests.support import secure_engine as s
from tests.support.commands import de39
from tests.support.keys import put
from tests.system.process import Switch

pytestmark = pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
_PIN, _WRONG_PIN = "739152846037", "860427519384"
_KEYS = {
    name: bytes.fromhex(value)
    for name, value in {
        "mac": "C1B2A3948576E7D8F9061728394A5B6C",
        "kek": "D2C3B4A5968778695A4B3C2D1E0F9181",
        "pin": "E3D4C5B6A798897A6B5C4D3E2F10A1B2",
        "pvk": "F4E5D6C7B8A99A8B7C6D5E4F3021C3D4",
        "cvk": "A5F6E7D8C9BAAB9C8D7E6F504132E5F6",
        "imk": "B6A7F8E9DACBBCAD9E8F706152430718",
        "next": "97A8B9CADBECFD0E1F203142536475A6",
    }.items()
}
_USAGES = {
    "mac": Usage.MAC_3,
    "kek": Usage.KEK,
    "pin": Usage.PIN,
    "pvk": Usage.PVK_IBM,
    "cvk": Usage.CVK,
    "imk": Usage.IMK_AC,
}
_MORE = """
[log]
level = "debug"
[ledger]
segment_bytes = 1048576
[rules]
file = "none"
[security]
store = "file"
[[security_profile]]
name = "acquirer"
mac_key = "mac"
pin_key = "pin"
kek = "kek"
[[issuer]]
bins = ["9999"]
pvk = "pvk"
cvk = "cvk"
cvv_skip_count = 0
imk_ac = "imk"
"""


def _block(pin: str) -> bytes:
    clear = psec.pinblock.encode_pinblock_iso_0(pin, s.pan(1))
    return bytes(psec.des.encrypt_tdes_ecb(_KEYS["pin"], clear))


def _secrets() -> list[str]:
    """Return what must not come out: keys, PINs, PIN blocks in the clear and encrypted."""
    blocks = [psec.pinblock.encode_pinblock_iso_0(pin, s.pan(1)) for pin in (_PIN, _WRONG_PIN)]
    blocks += [_block(_PIN), _block(_WRONG_PIN)]
    fields = [f"0C{pin}FF" for pin in (_PIN, _WRONG_PIN)]
    values = [value.hex().upper() for value in (*_KEYS.values(), *blocks)]
    return [*values, *fields, _PIN, _WRONG_PIN]


def _search(shown: list[_Shown]) -> None:
    for secret in _secrets():
        forms = _forms(secret)
        forms.pop("number, little", None)  # of eight bytes, made for PIN blocks alone
        halves = bytes.fromhex(secret)
        forms["words, little"] = (
            np.frombuffer(halves[:8].ljust(8, b"\0"), ">u8").astype("<u8").tobytes()
        )
        for form, wanted in forms.items():
            for place, content in shown:
                assert wanted not in content, f"{secret[:2]}... as {form} in {place}"


def _frames(key: bytes) -> list[bytes]:
    """Return messages with every secret, right and wrong, under the MAC key ``key``."""
    change = psec.des.encrypt_tdes_ecb(_KEYS["kek"], _KEYS["next"]).hex().upper()
    check = psec.des.generate_kcv(_KEYS["next"], 3).hex().upper()
    wrong = {7: "0601120000", 11: "000090", 48: change + "ABCDEF", 70: "161"}
    fields = [
        ("0100", s.payment(1, 1, de52=_block(_PIN))),
        ("0100", s.payment(1, 2, de52=_block(_WRONG_PIN))),
        ("0100", s.payment(1, 3, de35=s.track(1), de22="021", de52=_block(_PIN))),
        ("0100", s.payment(1, 4, de55=s.chip_data(1, 3))),
        ("0100", s.payment(1, 5, de48=f"CVV2:739 {_PIN} {_KEYS['mac'].hex()}")),
        ("0100", s.payment(1, 6, de62=_KEYS["kek"].hex().upper(), de63=_PIN)),
        ("0800", wrong),
        ("0800", {**wrong, 11: "000091", 48: _KEYS["next"].hex().upper() + check}),
        ("0800", {**wrong, 11: "000092", 48: change + check}),
    ]
    frames = [s.message(mti, values, key=key) for mti, values in fields]
    return [*frames, *(frame[:-1] + bytes([frame[-1] ^ 1]) for frame in frames)]


def _play(switch: Switch, key: bytes) -> list[_Shown]:
    shown = []
    with switch.link() as link:
        for frame in _frames(key):
            link.socket.sendall(frame)
            shown.append(_Shown("an answer", link.receive_bytes()))
    pages = ("/metrics", "/readyz", "/v1/accounts/S1", "/v1/authorizations?account=S1")
    return [*shown, *(_Shown(page, switch.call("GET", page).body.encode()) for page in pages)]


def _call(switch: Switch, offset: str) -> list[_Shown]:
    """Open account and card; put keys and PINs wherever a caller can type."""
    bodies = [
        ("POST", "/v1/accounts", {"account": "S1", "customer": "D1", "limit_minor": 50_000}),
        (
            "POST",
            "/v1/cards",
            {"account": "S1", "pan": s.pan(1), "expiry_yymm": s.EXPIRY, "pin_value": f"0{offset}"},
        ),
        ("PATCH", "/v1/cards/1", {"pin_value": f"{_PIN}99"}),
        ("PATCH", "/v1/cards/1", {"pin_value": _KEYS["mac"].hex()}),
        ("PATCH", "/v1/cards/1", {"pin_tries": _PIN}),
        ("POST", "/v1/accounts", {"account": _KEYS["kek"].hex().upper()}),
    ]
    return [
        _Shown(f"HTTP {method} {path}", switch.call(method, path, body).body.encode())
        for method, path, body in bodies
    ]


def _commands(switch: Switch) -> list[_Shown]:
    at = ("--data", switch.data)
    one, two = _KEYS["mac"].hex(), _KEYS["kek"].hex()
    shown = []
    for words, stdin in (
        (("key", "show", *at), None),
        (("key", "show", "--json", *at), None),
        (("key", "import", "x", "--usage", "kek", "--dry-run", *at), f"{one}\n{two}\n"),
        (("key", "import", "y", "--usage", "kek", *at), f"{one}\n{one}\n"),
        (("key", "import", "z", "--under", "kek", *at), f"{one}\n"),
        (("key", "export", "mac", "--under", "kek", *at), None),
        (("ledger", "export", "--format", "jsonl", *at), None),
        (("ledger", "tail", "--count", "100", *at), None),
        (("config", "show", switch.config), None),
    ):
        code, out, err = de39(*words, stdin=stdin)
        assert "Traceback" not in err, words[:2]
        shown.append(_Shown(f"{words[0]} {words[1]} ({code})", (out + err).encode()))
    return shown


def _stored(folder: Path) -> list[_Shown]:
    """Return the files of the data folder but the master key, which is a secret by its purpose."""
    return [shown for shown in _files(folder) if not shown.place.endswith("keys.master")]


def test_no_key_or_pin_comes_out_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """60: logs, metrics, answers, journal, vault, key file, commands and a crash hold none."""
    monkeypatch.setattr(s, "CVK", _KEYS["cvk"])
    monkeypatch.setattr(s, "IMK", _KEYS["imk"])
    offset = psec.pin.generate_ibm3624_offset(
        _KEYS["pvk"], "0123456789012345", _PIN, s.pan(1), 0, 16, "0"
    )
    listeners = ('dialect = "iso87-bin"\nsecurity = "acquirer"',)
    with Switch(tmp_path, listeners, _MORE) as switch:
        switch.data.mkdir(parents=True)
        assert de39("key", "init", *("--data", switch.data))[0] == 0
        master = bytes.fromhex((switch.data / "keys.master").read_text())
        store = FileStore(switch.data / "keys.bin", master)
        for name, usage in _USAGES.items():
            put(store, name, usage, _KEYS[name])
        store.close()
        switch.start()
        shown = _call(switch, offset)
        shown += _play(switch, _KEYS["mac"])
        codes = [s.read_answers(len(a).to_bytes(2, "big") + a)[0]["39"] for _, a in shown[6:15]]
        assert codes == ["00", "55", "00", "00", "00", "00", "63", "63", "00"]
        _search(shown + _stored(tmp_path))
        assert switch.stop() == 0
        shown = _commands(switch)
        _search(shown + _stored(tmp_path))
        switch.start()
        shown = _play(switch, _KEYS["next"])
        switch.send_signal(signal.SIGABRT)
        assert switch.wait() == -signal.SIGABRT
        assert not list(tmp_path.glob("core*")), "memory holds keys"
        _search([*shown, *_stored(tmp_path), _Shown("stderr", switch.stderr)])


def test_the_search_finds_keys() -> None:
    """The search itself works on each of these secrets in each form."""
    for secret in _secrets():
        for form, wanted in _forms(secret).items():
            if form != "number, little":
                with pytest.raises(AssertionError):
                    _search([_Shown("here", b"\x01" + wanted + b"\x02")])
