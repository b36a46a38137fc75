"""Keys in a PKCS#11 token: all the engine does with them, and none of them ever comes out."""

import numpy as np
import psec.pinblock
import pytest
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.cmac import CMAC
from pyemv.cvn import MasterCardCVN17, VisaCVN18

from engine.security.chip import ChipData, arpc, card_key, cryptogram, read_chip, session_key
from engine.security.errors import KeyUsageError, ModuleUnavailableError
from engine.security.keys import Usage
from engine.security.macs import Padding, macs
from engine.security.pin_blocks import translate
from engine.security.store import ModuleCall, draft
from engine.security.token_store import TokenStore
from engine.tokens import pan_blocks
from tests.support.keys import PIN, TOKEN, put, soft_module, working

pytestmark = pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
_PAN = "4111111111111111"
_KEY, _OTHER = bytes(range(16)), bytes(range(100, 116))


def _never_leaves(token: TokenStore) -> bool:
    objects = [facts for key in token.infos() for facts in token.attributes(key)]
    return bool(objects) and all(
        facts["CKA_SENSITIVE"] and not facts["CKA_EXTRACTABLE"] and facts["CKA_VALUE"] is None
        for facts in objects
    )


def test_pin_translate_mac_and_arqc_with_keys_that_never_leave(token: TokenStore) -> None:
    """Behaviours 59 to 61 by the token alone; its keys are sensitive and not extractable."""
    source = working(token, "acquirer.pin", Usage.PIN, _KEY)
    target = working(token, "issuer.pin", Usage.PIN, _OTHER, "A")
    mac_key = working(token, "acquirer.mac", Usage.MAC_3, _KEY)
    cmac_key = working(token, "issuer.mac", Usage.MAC_CMAC, _OTHER, "A")
    master = working(token, "issuer.imk", Usage.IMK_AC, _KEY)
    cards = pan_blocks([_PAN])

    clear = psec.pinblock.encode_pinblock_iso_0("1234", _PAN)
    block = np.frombuffer(psec.des.encrypt_tdes_ecb(_KEY, clear), np.uint8).reshape(1, 8)
    moved, is_right = translate(source, 0, target, 4, block, cards)
    assert is_right.tolist() == [True]
    assert psec.pinblock.decipher_pinblock_iso_4(_OTHER, moved.tobytes(), _PAN) == "1234"

    message = np.arange(100, dtype=np.uint8)
    starts, sizes = np.zeros(1, np.int64), np.array([100], np.int64)
    mac = macs(mac_key, Usage.MAC_3, Padding.ZEROS, message, starts, sizes)
    assert mac.tobytes() == psec.mac.generate_retail_mac(_KEY[:8], _KEY[8:], message.tobytes(), 1)
    cmac = CMAC(AES(_OTHER))
    cmac.update(message.tobytes())
    mac = macs(cmac_key, Usage.MAC_CMAC, Padding.ZEROS, message, starts, sizes)
    assert mac.tobytes() == cmac.finalize()[:8]

    _check_cryptograms(master)
    assert _never_leaves(token)


def _check_cryptograms(master: object) -> None:
    from tests.engine.security.chip_cards import MCHIP_17, VISA_18, tlv

    card = card_key(master, _PAN, 1)  # type: ignore[arg-type]
    for scheme, tags, theirs in (
        ("visa", VISA_18, VisaCVN18(_KEY, _KEY, _KEY, _PAN, "01")),
        ("mchip", MCHIP_17, MasterCardCVN17(_KEY, _KEY, _KEY, _PAN, "01")),
    ):
        chip = read_chip(scheme, tlv({**tags.values(), 0x9F26: bytes(range(8))}))
        assert isinstance(chip, ChipData)
        session = session_key(scheme, card, chip)
        assert cryptogram(session, chip) == tags.cryptogram(theirs)
        made = arpc(scheme, card, session, chip, b"00", is_approved=True)
        assert made == tags.arpc(theirs, chip.arqc)
        session.close()


def test_calls_failures_and_time_are_counted(token: TokenStore) -> None:
    """From the moment on at which they are asked for; a refusal is a failure."""
    key = working(token, "counted.mac", Usage.MAC_CMAC, _OTHER, "A")
    counts = np.zeros(len(ModuleCall), np.int64)
    token.count_calls(counts)
    key.encrypt(bytes(16))
    assert counts[[ModuleCall.CALLS, ModuleCall.FAILED]].tolist() == [1, 0]
    assert counts[ModuleCall.SPENT_NS] > 0
    with pytest.raises(ModuleUnavailableError):
        key.encrypt(bytes(15))  # no whole block
    assert counts[[ModuleCall.CALLS, ModuleCall.FAILED]].tolist() == [2, 1]


def test_keys_are_found_again_by_a_new_session(token: TokenStore) -> None:
    """Name, version, usage and times come back from the token itself."""
    put(token, "a.mac", Usage.MAC_3, _KEY)
    made = token.generate(draft(token, "a.pin", Usage.PIN, "A", 32))
    token.generate(draft(token, "b.mac", Usage.MAC_CMAC, "A", 16))
    module = soft_module()
    assert module is not None

    again = TokenStore(module, TOKEN, PIN)

    assert again.infos() == token.infos()
    assert [key.kcv for key in again.infos() if key.name == "a.pin"] == [made.kcv]
    again.remove(made)
    assert [key.name for key in again.infos()] == ["a.mac", "b.mac"]


def test_a_key_of_a_token_cannot_be_had(token: TokenStore) -> None:
    """Neither by asking the store nor by making it exportable."""
    key = put(token, "a.mac", Usage.MAC_3, _KEY)

    with pytest.raises(KeyUsageError, match="never leaves"):
        token.reveal(key)
    with pytest.raises(KeyUsageError, match="never leaves"):
        token.add(draft(token, "b", Usage.MAC_3, "T", 16, exportable=True), bytearray(_KEY))


def test_wrong_pin_and_missing_token_are_one_line(token: TokenStore) -> None:
    """A module that does not open says which, and never the PIN."""
    module = soft_module()
    assert module is not None
    token.close()  # a process is logged in as a whole
    with pytest.raises(ModuleUnavailableError) as caught:
        TokenStore(module, TOKEN, "9876543")
    assert "9876543" not in str(caught.value)
