"""A small engine whose links have keys of known value, and messages that are right under them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import iso8583
import numpy as np
import psec.cvv
import psec.des
import psec.mac
import psec.pin
import psec.pinblock
from iso8583.specs import default
from pyemv import cvn

from engine.authorize import Settings
from engine.decision import Decision
from engine.items import Setting
from engine.security.file_store import FileStore
from engine.security.guard import make_guard
from engine.security.keys import Usage
from engine.security.settings import Issuer, SecurityProfile
from engine.security.store import KeyStore
from engine.wire.text import add_header, build_message
from tests.engine.security.chip_cards import VISA_10, tlv
from tests.support.keys import put
from tests.support.small_engine import DIALECT, START_NS, SmallEngine, pan

MAC, MAC_NEXT = bytes(range(16)), bytes(range(200, 216))
KEK, PIN, PVK = bytes(range(16, 32)), bytes(range(32, 48)), bytes(range(48, 64))
CVK, IMK = bytes(range(64, 80)), bytes(range(80, 96))
EXPIRY, SERVICE, PVKI = "3512", "201", 1
PROFILE = SecurityProfile(name="acquirer", mac_key="mac", pin_key="pin", kek="kek", grace_s=600)
ISSUER = Issuer(
    bins=("9999",), pvk="pvk", cvk="cvk", cvv_skip_count=0, imk_ac="imk", cvv2_field=48,
    cvv2_mark="CVV2:",
)  # fmt: skip
Message = dict[int, str | bytes]


def fill(store: KeyStore) -> None:
    """Keep the keys that the profile and the issuer name."""
    for name, usage, value in (
        ("mac", Usage.MAC_3, MAC),
        ("kek", Usage.KEK, KEK),
        ("pin", Usage.PIN, PIN),
        ("pvk", Usage.PVK_VISA, PVK),
        ("cvk", Usage.CVK, CVK),
        ("imk", Usage.IMK_AC, IMK),
    ):
        put(store, name, usage, value)


def card_pin(card: int) -> str:
    """Return the PIN of a card."""
    return f"{(card * 1117) % 10_000:04d}"


class SecureEngine(SmallEngine):
    """Every link has ``profile``; every card has a PIN."""

    def __init__(
        self,
        store: KeyStore,
        profile: SecurityProfile = PROFILE,
        issuer: Issuer = ISSUER,
        **options: Any,
    ) -> None:
        super().__init__(plain=True, **options)
        self.security = 1
        self.store = store
        cards = self.state.card_count
        values = [
            (c, PVKI, psec.pin.generate_visa_pvv(PVK, str(PVKI), card_pin(c), pan(c)))
            for c in range(1, cards + 1)
        ]
        self.authorizer.guard = make_guard(
            store, self.authorizer.table, [profile], [issuer], values, len(self.state.chips)
        )
        self.authorizer.settings[Setting.PIN_TRIES_MAX] = Settings().pin_tries_max

    def ask(self, *frames: bytes, at_s: int = 0, cuts: Sequence[int] = ()) -> list[dict[str, str]]:
        """Run frames; return the fields of the answers, decoded by another library."""
        _, _, data = self.play([(START_NS + at_s * 10**9, frame) for frame in frames], cuts)
        return read_answers(data)

    def decisions(self, count: int) -> list[str]:
        """Return what was decided about the first messages of the last batch."""
        items = self.authorizer.work.items[:count]
        return [Decision(int(number)).name for number in items["decision"]]


def file_engine(folder: Path, **options: Any) -> SecureEngine:
    """Return an engine over a fresh key file in ``folder``."""
    store = FileStore(folder / "keys.bin", bytes(32))
    fill(store)
    return SecureEngine(store, **options)


def read_answers(data: bytes) -> list[dict[str, str]]:
    """Return the fields of framed answers, and the message without its MAC under ``raw``."""
    answers = []
    while data:
        size = int.from_bytes(data[:2], "big")
        message, data = data[2 : 2 + size], data[2 + size :]
        fields, _ = iso8583.decode(message, default)
        fields = {n: v for n, v in fields.items() if n.isdigit() and n not in ("1", "p")}
        answers.append({**fields, "t": message[:4].decode(), "raw": message.hex()})
    return answers


def has_right_mac(answer: Mapping[str, str], key: bytes = MAC) -> bool:
    """Whether the last 8 bytes of an answer are the retail MAC of what is before them."""
    raw = bytes.fromhex(answer["raw"])
    field = "128" if "128" in answer else "64"
    expected = psec.mac.generate_retail_mac(key[:8], key[8:], raw[:-8], 1)
    return raw[-8:] == expected and bytes.fromhex(answer[field]) == expected


def message(mti: str, fields: Message, *, key: bytes | None = MAC, size: int = 8) -> bytes:
    """Return a framed message with its retail MAC under ``key``; None = without one."""
    if key is None:
        return add_header(DIALECT, build_message(DIALECT, mti, fields))
    place = 128 if any(n > 64 for n in fields) else 64
    raw = build_message(DIALECT, mti, {**fields, place: bytes(8)})
    mac = psec.mac.generate_retail_mac(key[:8], key[8:], raw[:-8], 1)[:size].ljust(8, b"\0")
    return add_header(DIALECT, raw[:-8] + mac)


def payment(card: int, stan: int, **changes: str | bytes) -> Message:
    """Return the fields of a payment; ``de52=...`` adds one, ``de14=""`` leaves one out."""
    fields: Message = {
        2: pan(card), 3: "000000", 4: "000000001000", 7: "0601120000", 11: f"{stan:06d}",
        14: EXPIRY, 18: "5411", 22: "051", 32: "42", 37: f"{stan:012d}", 41: "TERM0001",
        42: "MERCHANT0000001", 49: "840",
    }  # fmt: skip
    fields.update({int(name[2:]): value for name, value in changes.items()})
    return {number: value for number, value in fields.items() if value != ""}


def pin_block(card: int, pin: str = "", key: bytes = PIN) -> bytes:
    """Return a PIN block of format 0; the card's own PIN unless another is given."""
    clear = psec.pinblock.encode_pinblock_iso_0(pin or card_pin(card), pan(card))
    return bytes(psec.des.encrypt_tdes_ecb(key, clear))


def track(card: int, service: str = SERVICE, cvv: str = "", made_with: str = "") -> str:
    """Return track 2 with its CVV: right unless another is given."""
    right = psec.cvv.generate_cvv(CVK, pan(card), EXPIRY, made_with or service)
    return f"{pan(card)}={EXPIRY}{service}{cvv or right}"


def chip_data(card: int, atc: int, *, wrong: bool = False) -> bytes:
    """Return DE55 with the card's cryptogram (version 10) for counter ``atc``."""
    theirs = cvn.VisaCVN10(IMK, IMK, IMK, pan(card), "00")
    changes = {"t9F36": f"{atc:04x}"}
    arqc = bytearray(VISA_10.cryptogram(theirs, **changes))
    arqc[0] ^= wrong
    return tlv({**VISA_10.values(**changes), 0x9F26: bytes(arqc)})


def key_change(stan: int, value: bytes, *, code: str = "161", kcv: str = "") -> Message:
    """Return an 0800 that brings ``value`` under the KEK with its check value."""
    sealed = psec.des.encrypt_tdes_ecb(KEK, value).hex().upper()
    check = kcv or psec.des.generate_kcv(value, 3).hex().upper()
    return {7: "0601120000", 11: f"{stan:06d}", 48: sealed + check, 70: code}


def same_state(one: SmallEngine, other: SmallEngine) -> None:
    """Assert that two engines hold the same bytes."""
    mine, theirs = one.state.arrays(), other.state.arrays()
    for name, array in mine.items():
        assert array.tobytes() == theirs[name].tobytes(), name


def numbers(frames: Sequence[bytes]) -> list[tuple[int, bytes]]:
    """Return frames with a time each, a second apart."""
    return [(START_NS + k * 10**9, frame) for k, frame in enumerate(frames)]


def all_zero(array: np.ndarray[Any, Any]) -> bool:
    """Whether nothing is left in an array."""
    return not array.any()
