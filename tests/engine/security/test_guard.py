"""The checks of a batch at work: MACs, PINs, card values, cryptograms, key changes, replay."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psec.cvv
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyemv import cvn

from bench.messages import authorization
from engine.messages import MessageCodec
from engine.replay import Replayer
from engine.security.file_store import FileStore
from engine.security.store import KeyStore
from engine.security.token_store import TokenStore
from engine.state import EngineState
from engine.wire.dialect import BUILTIN_DIALECTS, load_builtin
from engine.wire.profile import Profile
from engine.wire.table import compile_dialects
from engine.wire.text import add_header, build_message
from ledger.record import Flag, Kind
from tests.engine.security.chip_cards import VISA_10
from tests.support import secure_engine as s
from tests.support.effort import examples
from tests.support.small_engine import HASH_KEY, TABLES, pan

pytestmark = [
    pytest.mark.kernels,
    pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning"),
]


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[s.SecureEngine]:
    """An engine whose keys are in a file."""
    engine = s.file_engine(tmp_path)
    yield engine
    assert engine.authorizer.guard is not None
    engine.authorizer.guard.close()


@pytest.mark.behaviour(59)
def test_a_right_mac_is_posted_and_answered_with_one(engine: s.SecureEngine) -> None:
    """59: the answer of a message that proves itself proves itself, behind DE64 or DE128."""
    payment, echo = engine.ask(
        s.message("0100", s.payment(1, 1)),
        s.message("0800", {7: "0601120000", 11: "000002", 70: "301"}),
    )

    assert (payment["t"], payment["39"]) == ("0110", "00")
    assert "64" in payment
    assert s.has_right_mac(payment)
    assert (echo["39"], "128" in echo) == ("00", True)
    assert s.has_right_mac(echo)


@pytest.mark.behaviour(59)
def test_a_wrong_or_missing_mac_is_answered_63_and_not_posted(engine: s.SecureEngine) -> None:
    """59: nothing moves, nothing is recorded, the same message with its MAC is then taken."""
    good = s.message("0100", s.payment(1, 1))
    bent = bytearray(good)
    bent[30] ^= 1  # a digit of the card number
    frames = [
        s.message("0100", s.payment(1, 1), key=None),
        s.message("0100", s.payment(1, 1), key=s.MAC_NEXT),
        good[:-1] + bytes([good[-1] ^ 1]),
        bytes(bent),
        s.message("0420", {**s.payment(1, 2), 90: "0100" + "0" * 38}, key=None),
    ]

    records, _, data = engine.play(s.numbers(frames), [])
    answers = s.read_answers(data)

    assert len(records) == 0
    assert [a["39"] for a in answers[:3]] == ["63"] * 3
    assert {a["39"] for a in answers} <= {"63", "14"}
    assert answers[4]["39"] == "63"
    assert all(s.has_right_mac(a) for a in answers)
    assert engine.ask(good)[0]["39"] == "00"


def test_network_messages_need_no_mac_and_fields_behind_it_do_not_count(
    engine: s.SecureEngine,
) -> None:
    """Sign-on without a MAC is served; a MAC in DE64 before fields of a second bitmap is none."""
    plain = {7: "0601120000", 11: "000001", 70: "001"}
    (answer,) = engine.ask(s.message("0800", plain, key=None))
    assert (answer["39"], "128" in answer) == ("00", False)

    fields = {**s.payment(1, 2), 102: "ACCOUNT"}
    raw = s.build_message(s.DIALECT, "0100", {**fields, 64: bytes(8)})
    at = raw.index(bytes(8)) + 8
    mac = s.psec.mac.generate_retail_mac(s.MAC[:8], s.MAC[8:], raw[: at - 8], 1)
    (answer,) = engine.ask(s.add_header(s.DIALECT, raw[: at - 8] + mac + raw[at:]))
    assert answer["39"] == "63"


@pytest.mark.behaviour(59)
@pytest.mark.parametrize("required", [0, 1])
def test_a_dialect_may_demand_macs_whatever_the_link_says(tmp_path: Path, required: int) -> None:
    """A link that demands none takes a bare payment; of a dialect that demands them it does not."""
    profile = s.SecurityProfile(name="lax", mac_key="mac", mac_classes=())
    engine = s.file_engine(tmp_path, profile=profile)
    row = engine.authorizer.table.profile.copy()
    row[:, Profile.MAC_REQUIRED] = required
    engine.authorizer.guard.change(engine.authorizer.table._replace(profile=row))  # type: ignore[union-attr]

    bare, signed = engine.ask(
        s.message("0100", s.payment(1, 1), key=None), s.message("0100", s.payment(1, 2))
    )

    assert (bare["39"], signed["39"]) == ("63" if required else "00", "00")


def test_the_mac_of_an_own_message_is_one_that_the_host_would_take(engine: s.SecureEngine) -> None:
    """Under the newest key: an own message sent back is answered; a key change counts."""
    guard = engine.authorizer.guard
    assert guard is not None
    assert (guard.has_macs(0), guard.has_macs(1)) == (False, True)
    codec = MessageCodec(s.DIALECT)
    now_s = s.START_NS // 10**9
    fields = {n: str(v) for n, v in s.payment(1, 1).items()}
    (answer,) = engine.ask(codec.sealed("0100", fields, lambda raw: guard.mac_of(1, raw, now_s)))
    assert answer["39"] == "00"

    assert engine.ask(s.message("0800", s.key_change(2, s.MAC_NEXT)))[0]["39"] == "00"
    data = b"0800" + bytes(8)
    expected = s.psec.mac.generate_retail_mac(s.MAC_NEXT[:8], s.MAC_NEXT[8:], data, 1)
    assert guard.mac_of(1, data, now_s) == expected


def test_shorter_macs_are_filled_with_zeros(tmp_path: Path) -> None:
    """A profile may count 4 bytes; the others are zeros both ways."""
    profile = s.SecurityProfile(name="short", mac_key="mac", mac_bytes=4)
    engine = s.file_engine(tmp_path, profile=profile)

    (answer,) = engine.ask(s.message("0100", s.payment(1, 1), size=4))

    assert answer["39"] == "00"
    assert answer["64"][8:] == "00000000"
    assert answer["64"][:8] != "00000000"


def test_without_a_key_nothing_is_posted(tmp_path: Path) -> None:
    """A profile whose key is not in the store answers 96: no check is passed over."""
    store = FileStore(tmp_path / "keys.bin", bytes(32))
    engine = s.SecureEngine(store)

    records, _, data = engine.play(s.numbers([s.message("0100", s.payment(1, 1))]), [])

    assert len(records) == 0
    assert s.read_answers(data)[0]["39"] == "96"


@pytest.mark.behaviour(21)
def test_a_key_change_with_a_grace_period(engine: s.SecureEngine) -> None:
    """21: the new key counts at once, the old one for ten minutes; answers follow their request."""
    change = s.message("0800", s.key_change(1, s.MAC_NEXT))
    (answer,) = engine.ask(change)
    assert answer["39"] == "00"
    assert s.has_right_mac(answer, s.MAC), "under the key that the request had"

    new, old = engine.ask(
        s.message("0100", s.payment(1, 2), key=s.MAC_NEXT), s.message("0100", s.payment(1, 3))
    )
    assert (new["39"], old["39"]) == ("00", "00")
    assert s.has_right_mac(new, s.MAC_NEXT)
    assert s.has_right_mac(old, s.MAC)

    late = engine.ask(s.message("0100", s.payment(1, 4)), at_s=601)[0]
    assert late["39"] == "63"
    again = engine.ask(s.message("0800", s.key_change(5, s.MAC_NEXT), key=s.MAC_NEXT), at_s=602)[0]
    assert again["39"] == "00", "the same key again: the answer may have been lost"
    assert [k.version for k in engine.store.infos() if k.name == "mac"] == [1, 2]


@pytest.mark.parametrize("mti", ["0800", "0820"])
@pytest.mark.parametrize("code", ["161", "101"])
def test_a_bad_check_value_leaves_the_old_key(engine: s.SecureEngine, mti: str, code: str) -> None:
    """21: 63, no new version, the old key goes on; so does a cryptogram that is cut or no hex."""
    wrong = s.key_change(1, s.MAC_NEXT, code=code, kcv="ABCDEF")
    cut = {**wrong, 11: "000002", 48: str(wrong[48])[2:]}
    junk = {**wrong, 11: "000003", 48: "Z" * 38}
    missing = {n: v for n, v in wrong.items() if n != 48}

    answers = engine.ask(*(s.message(mti, fields) for fields in (wrong, cut, junk, missing)))

    assert [a["39"] for a in answers] == ["63"] * 4
    assert [k.version for k in engine.store.infos() if k.name == "mac"] == [1]
    assert engine.ask(s.message("0100", s.payment(1, 9)))[0]["39"] == "00"


@pytest.mark.behaviour(21)
def test_a_key_change_without_its_mac_changes_nothing(engine: s.SecureEngine) -> None:
    """A profile that wants MACs on network messages takes no key without one."""
    engine.authorizer.guard.profiles = (  # type: ignore[union-attr]
        s.PROFILE,
        s.SecurityProfile(name="a", mac_key="mac", kek="kek", mac_classes=("8",)),
    )
    (answer,) = engine.ask(s.message("0800", s.key_change(1, s.MAC_NEXT), key=None))

    assert answer["39"] == "63"
    assert [k.version for k in engine.store.infos() if k.name == "mac"] == [1]


def test_wrong_pins_are_counted_and_a_right_one_forgives(engine: s.SecureEngine) -> None:
    """60: 55, 55, and with the third 75; a right PIN in between counts from zero again."""

    def ask(stan: int, pin: str = "") -> str:
        block = s.pin_block(1, pin)
        return engine.ask(s.message("0100", s.payment(1, stan, de52=block)))[0]["39"]

    assert [ask(1, "9999"), ask(2, "9998"), ask(3), ask(4, "9999")] == ["55", "55", "00", "55"]
    assert [ask(5, "9999"), ask(6, "9999")] == ["55", "75"]
    assert ask(7) == "75", "a blocked PIN stays blocked, right or not"
    other = s.message("0100", s.payment(2, 8, de52=s.pin_block(2)))
    assert engine.ask(other)[0]["39"] == "00"


def test_a_repeat_of_a_wrong_pin_is_one_try(engine: s.SecureEngine) -> None:
    """The same message again gets the same answer and counts once."""
    wrong = s.payment(1, 1, de52=s.pin_block(1, "9999"))
    for mti in ("0100", "0101", "0101", "0100"):
        assert engine.ask(s.message(mti, wrong))[0]["39"] == "55"
    assert int(engine.state.chips["pin_tries"][1]) == 1


def test_a_block_under_another_key_is_a_wrong_pin(engine: s.SecureEngine) -> None:
    """A block that does not decrypt to a PIN block is answered like a wrong PIN."""
    block = s.pin_block(1, key=s.MAC)
    assert engine.ask(s.message("0100", s.payment(1, 1, de52=block)))[0]["39"] == "55"


def test_track_values(engine: s.SecureEngine) -> None:
    """CVV of a stripe, iCVV of a chip, and each in place of the other."""
    stripe, chip = {"de22": "021"}, {"de22": "051"}
    answers = engine.ask(
        s.message("0100", s.payment(1, 1, de35=s.track(1), **stripe)),
        s.message("0100", s.payment(1, 2, de35=s.track(1, cvv="000"), **stripe)),
        s.message("0100", s.payment(1, 3, de35=s.track(1, made_with="999"), **chip)),
        s.message("0100", s.payment(1, 4, de35=s.track(1), **chip)),
        s.message("0100", s.payment(1, 5, de35=s.track(1, made_with="999"), **stripe)),
    )
    assert [a["39"] for a in answers] == ["00", "05", "00", "05", "05"]


def test_cvv2(engine: s.SecureEngine) -> None:
    """A CVV2 behind its mark is checked; without the mark there is none."""
    right = psec.cvv.generate_cvv(s.CVK, pan(1), s.EXPIRY, "000")
    wrong = f"{(int(right) + 1) % 1000:03d}"
    answers = engine.ask(
        *(
            s.message("0100", s.payment(1, k, de48=text, de22="011"))
            for k, text in enumerate((f"CVV2:{right}", f"X CVV2:{wrong}", wrong), start=1)
        )
    )
    assert [a["39"] for a in answers] == ["00", "05", "00"]


@pytest.mark.behaviour(61)
def test_chip_cryptogram_is_answered_in_tag_91(engine: s.SecureEngine) -> None:
    """61: the card can tell that its issuer answered, approved or not."""
    good = s.payment(1, 1, de55=s.chip_data(1, 7))
    large = s.payment(1, 2, de55=s.chip_data(1, 8), de4="000099999999")

    approved, declined = engine.ask(s.message("0100", good), s.message("0100", large))

    theirs = cvn.VisaCVN10(s.IMK, s.IMK, s.IMK, pan(1), "00")
    for answer, atc, code in ((approved, 7, b"00"), (declined, 8, b"51")):
        arqc = VISA_10.cryptogram(theirs, t9F36=f"{atc:04x}")
        expected = b"\x91\x0a" + VISA_10.arpc(theirs, arqc, code) + b"\x8a\x02" + code
        assert (answer["39"], answer["55"]) == (code.decode(), expected.hex().upper())
        assert s.has_right_mac(answer)


@pytest.mark.behaviour(61)
def test_a_wrong_or_used_cryptogram_is_refused(engine: s.SecureEngine) -> None:
    """61: 05 for a wrong one, 59 for one that was taken; the xxx1 of the first gets its answer."""
    first = s.payment(1, 1, de55=s.chip_data(1, 7))
    wrong = s.payment(1, 2, de55=s.chip_data(1, 8, wrong=True))
    used = s.payment(1, 3, de55=s.chip_data(1, 7))
    older = s.payment(1, 4, de55=s.chip_data(1, 6))
    cut = s.payment(1, 5, de55=s.chip_data(1, 9)[:40])

    answers = engine.ask(
        *(s.message("0100", fields) for fields in (first, wrong, used, older, older, cut)),
        s.message("0101", first),
    )

    assert [a["39"] for a in answers] == ["00", "05", "59", "00", "00", "05", "00"]
    assert answers[0] == answers[6]


def _traffic(draw: st.DataObject) -> list[bytes]:
    frames = []
    for stan in range(1, draw.draw(st.integers(2, 14)) + 1):
        card = draw.draw(st.integers(1, 3))
        kind = draw.draw(st.integers(0, 7))
        fields = s.payment(card, stan)
        key: bytes | None = s.MAC
        if kind == 1:
            fields = s.payment(card, stan, de52=s.pin_block(card))
        elif kind == 2:
            fields = s.payment(card, stan, de52=s.pin_block(card, "9999"))
        elif kind == 3:
            fields = s.payment(card, stan, de55=s.chip_data(card, draw.draw(st.integers(1, 40))))
        elif kind == 4:
            key = draw.draw(st.sampled_from([None, s.MAC_NEXT]))
        elif kind == 5:
            frames.append(s.message("0800", s.key_change(stan, s.MAC_NEXT), key=None))
            continue
        elif kind == 6:
            fields = s.payment(card, stan, de35=s.track(card), de22="021")
        frames.append(s.message(draw.draw(st.sampled_from(["0100", "0101"])), fields, key=key))
    return frames


@given(data=st.data())
@settings(
    max_examples=examples(25),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_any_cut_and_replay_give_the_same(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The cut does not show, nor does a restart: tries and counters are the fold of the records."""
    frames = s.numbers(_traffic(data))
    cuts = data.draw(st.lists(st.integers(1, 5), max_size=8))
    played = []
    for sizes in ([1] * len(frames), [], cuts):
        engine = s.file_engine(tmp_path_factory.mktemp("keys"))
        played.append((engine, *engine.play(frames, sizes)))
    first = played[0]
    for other in played[1:]:
        assert other[1].tobytes() == first[1].tobytes()
        assert other[3] == first[3]
        s.same_state(first[0], other[0])

    again = EngineState(first[0].state.bounds)
    records = np.concatenate([first[0].events, first[1]])
    Replayer(again, TABLES, HASH_KEY).apply(records, [])
    assert again.chips.tobytes() == first[0].state.chips.tobytes()


def test_records_say_what_was_checked_and_nothing_secret(engine: s.SecureEngine) -> None:
    """Flags of a record: PIN right or wrong, cryptogram right with its counter."""
    records, _, _ = engine.play(
        s.numbers(
            [
                s.message("0100", s.payment(1, 1, de52=s.pin_block(1))),
                s.message("0100", s.payment(1, 2, de52=s.pin_block(1, "9999"))),
                s.message("0100", s.payment(1, 3, de55=s.chip_data(1, 513))),
            ]
        ),
        [],
    )

    marks = Flag.PIN_RIGHT | Flag.PIN_WRONG | Flag.CHIP_CHECKED
    assert [int(f) & marks for f in records["flags"]] == [
        Flag.PIN_RIGHT,
        Flag.PIN_WRONG,
        Flag.CHIP_CHECKED,
    ]
    assert records["status"].tolist() == [0, 0, 513]
    assert set(records["kind"].tolist()) == {Kind.AUTHORIZE}


def test_the_same_by_a_token(token: KeyStore) -> None:
    """All of it with keys in a security module: MAC, PIN, CVV, cryptogram, key change."""
    s.fill(token)
    engine = s.SecureEngine(token)

    answers = engine.ask(
        s.message("0100", s.payment(1, 1, de52=s.pin_block(1), de55=s.chip_data(1, 3))),
        s.message("0100", s.payment(1, 2, de52=s.pin_block(1, "9999"))),
        s.message("0100", s.payment(1, 3, de35=s.track(1), de22="021")),
        s.message("0100", s.payment(1, 4), key=None),
        s.message("0800", s.key_change(5, s.MAC_NEXT)),
        s.message("0100", s.payment(1, 6), key=s.MAC_NEXT),
    )

    assert [a["39"] for a in answers] == ["00", "55", "00", "63", "00", "00"]
    assert answers[0]["55"].startswith("910A")
    assert s.has_right_mac(answers[5], s.MAC_NEXT)


@pytest.mark.parametrize("name", BUILTIN_DIALECTS)
@pytest.mark.behaviour(59)
def test_macs_in_every_dialect(name: str, tmp_path: Path) -> None:
    """59: raw, hex and EBCDIC, eight bytes or four, behind any envelope; a bent one is told."""
    dialect = load_builtin(name)
    engine = s.file_engine(tmp_path)
    guard, table = engine.authorizer.guard, compile_dialects([dialect])
    for holder, attribute in (
        (engine.authorizer, "table"), (guard, "table"), (guard.cards, "_table"),  # type: ignore[union-attr]
    ):  # fmt: skip
        setattr(holder, attribute, table)
    mti, values = authorization(dialect)
    place = 128 if any(number > 64 for number in values) else 64
    field = dialect.fields[place]
    width = field.size // 2 if field.is_hex else field.size
    raw = build_message(dialect, mti, {**values, place: bytes(width)})
    begin = len(raw) - field.size
    mac = s.psec.mac.generate_retail_mac(s.MAC[:8], s.MAC[8:], raw[:begin], 1)[:width]
    whole = build_message(dialect, mti, {**values, place: mac})
    bent = build_message(dialect, mti, {**values, place: bytes([mac[0] ^ 1]) + mac[1:]})

    for message, is_right in ((bent, False), (whole, True)):
        engine.play([(s.START_NS, add_header(dialect, message))], [])
        work = engine.authorizer.work
        assert int(work.request[0]["fault"]) == 0
        assert (engine.decisions(1) != ["MAC_WRONG"]) == is_right
        reply = work.replies[0]
        start, at = int(reply["start"]), int(reply["mac_at"])
        answer = work.out[start:at].tobytes()
        expected = s.psec.mac.generate_retail_mac(s.MAC[:8], s.MAC[8:], answer, 1)[:width]
        wire = work.out[at : at + field.size].tobytes()
        if field.is_hex:
            text = wire.decode("cp500" if dialect.encoding.text != "ascii" else "ascii")
            wire = bytes.fromhex(text)
        assert wire == expected
        assert int(work.out_end[0]) in (at + field.size, at + field.size + 1), "but for a trailer"


def test_a_module_that_falls_silent_posts_nothing(token: KeyStore) -> None:
    """Requests are answered 96 and not posted, by PIN too; nothing else breaks: 0800 goes on."""
    s.fill(token)
    engine = s.SecureEngine(token)
    first = s.message("0100", s.payment(1, 1, de55=s.chip_data(1, 3)))
    assert engine.ask(first)[0]["39"] == "00"
    assert isinstance(token, TokenStore)
    token._is_open = False  # every call fails from now on

    records, _, data = engine.play(
        s.numbers(
            [
                s.message("0100", s.payment(1, 2)),
                s.message("0100", s.payment(1, 3, de52=s.pin_block(1)), key=None),
                s.message("0800", {7: "0601120000", 11: "000004", 70: "301"}, key=None),
            ]
        ),
        [],
    )

    token._is_open = True
    assert len(records) == 0
    assert [a["39"] for a in s.read_answers(data)] == ["96", "63", "00"]
