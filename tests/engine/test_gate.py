"""Who may connect, on which terms: the first peer block that fits, bounds, networks."""

import msgspec
import pytest

from engine.gate import Gate, Places, Terms, fits, merged
from engine.link_config import Listen, Peer
from engine.metrics import Shed
from engine.tls import PeerFacts

_PLACES = Places({("iso87-bin", 8192): 0, ("iso87-hex", 8192): 1}, {"": 0, "macs": 1})
_CERTIFIED = PeerFacts("10.1.0.9", "CN=one,O=Test", frozenset({"one.example.test"}), "ab" * 32)


def _admitted(gate: Gate, facts: PeerFacts) -> Terms:
    terms = gate.admit(facts)
    assert isinstance(terms, Terms)
    gate.enter(terms)
    return terms


@pytest.mark.parametrize(
    ("peer", "expected"),
    [
        (Peer(subject="CN=one,O=Test"), True),
        (Peer(subject="one"), True),
        (Peer(subject="CN=one"), False),
        (Peer(san="one.example.test"), True),
        (Peer(san="two.example.test"), False),
        (Peer(fingerprint=":".join(["AB"] * 32)), True),
        (Peer(fingerprint="ac" * 32), False),
        (Peer(networks=("10.1.0.0/16",)), True),
        (Peer(networks=("10.2.0.0/16",)), False),
        (Peer(subject="one", networks=("10.2.0.0/16",)), False),
    ],
)
def test_everything_that_a_block_names_must_fit(peer: Peer, expected: bool) -> None:
    """Subject whole or its common name, alternative name, fingerprint, network; all of them."""
    assert fits(peer, _CERTIFIED) is expected


def test_a_plain_peer_never_fits_a_certificate() -> None:
    """Nothing that a certificate says is so of a link without one."""
    plain = PeerFacts("10.1.0.9")
    for peer in (Peer(subject="one"), Peer(san="x"), Peer(fingerprint="00" * 32)):
        assert not fits(peer, plain)


def test_the_first_block_that_fits_gives_its_terms() -> None:
    """Keys of the peer go before those of the listener, the others are the listener's."""
    listen = Listen(idle_timeout_s=7, allow=("10.0.0.0/8",))
    peers = [
        Peer(name="one", subject="one", dialect="iso87-hex", security="macs", require_sign_on=True),
        Peer(name="all", networks=("10.0.0.0/8",)),
    ]
    gate = Gate(listen, peers, _PLACES)
    terms = _admitted(gate, _CERTIFIED)
    assert (terms.name, terms.dialect, terms.profile.sign_on_required) == ("one", 1, True)
    assert (terms.profile.idle_timeout_ns, terms.profile.security) == (7_000_000_000, 1)
    assert _admitted(gate, PeerFacts("10.9.0.1")).name == "all"


def test_behaviour_09_bounds_of_peer_and_listener() -> None:
    """A peer has so many, all peers together no more than the listener; who leaves makes room."""
    gate = Gate(
        Listen(max_connections=3), [Peer(name="one", subject="one", max_connections=1)], _PLACES
    )
    first = _admitted(gate, _CERTIFIED)
    assert gate.admit(_CERTIFIED) == Shed.CONNECTIONS
    others = [_admitted(gate, PeerFacts("127.0.0.1")) for _ in range(2)]
    assert gate.admit(PeerFacts("127.0.0.1")) == Shed.CONNECTIONS
    gate.leave(others[0])
    assert isinstance(gate.admit(PeerFacts("127.0.0.1")), Terms)
    gate.leave(first)
    assert isinstance(gate.admit(_CERTIFIED), Terms)


def test_behaviour_09_networks_and_strangers() -> None:
    """An address outside the list, and a peer that no block fits, are refused each in its way."""
    gate = Gate(Listen(allow=("10.0.0.0/8",)), [], _PLACES)
    assert gate.admit(PeerFacts("11.0.0.1")) == Shed.ADDRESS
    gate = Gate(Listen(known_peers_only=True), [Peer(name="one", subject="one")], _PLACES)
    assert gate.admit(PeerFacts("127.0.0.1")) == Shed.UNKNOWN_PEER


def test_a_block_for_another_listener_does_not_count() -> None:
    """``listener`` names the one it is for."""
    peer = Peer(name="one", subject="one", listener="127.0.0.1:9", require_sign_on=True)
    assert _admitted(Gate(Listen(), [peer], _PLACES), _CERTIFIED).name == ""


def test_every_key_of_a_peer_is_one_of_a_listener() -> None:
    """What a peer may have of its own is a choice of its listener, under the same name."""
    own = {"name", "listener", "networks", "subject", "san", "fingerprint"}
    assert set(Peer.__struct_fields__) - own <= set(Listen.__struct_fields__)
    changed = merged(Listen(), Peer(deadline_ms=5, late="silence"))
    assert changed == msgspec.structs.replace(Listen(), deadline_ms=5, late="silence")
