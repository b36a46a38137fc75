"""TLS on listeners, both ways, and peers known by certificate or address: behaviours 9 and 63."""

import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.certificates import Authority, Certificate
from tests.system.link import SPEC_OF, Link, network, payment
from tests.system.process import PLAIN, Switch, eventually

_PLAIN, _TLS, _MUTUAL, _KNOWN = range(4)


class _Files:
    """An authority and what the tests use of it."""

    def __init__(self, folder: Path) -> None:
        self.authority = Authority(folder)
        self.stranger = Authority(folder, "strange authority")
        self.server = self.authority.issue("switch")
        self.by_subject = self.authority.issue("acquirer-1")
        self.by_san = self.authority.issue("acquirer-2", san="two.example.test")
        self.by_fingerprint = self.authority.issue("acquirer-3")
        self.unnamed = self.authority.issue("acquirer-4")
        self.foreign = self.stranger.issue("acquirer-1", file="foreign")


def _blocks(files: _Files) -> tuple[str, ...]:
    own = f'tls_certificate = "{files.server.certificate}"\ntls_key = "{files.server.key}"\n'
    mutual = own + f'tls_client_ca = "{files.authority.certificate}"\n'
    head = 'dialect = "iso87-bin"\n'
    return (head, head + own, head + mutual, head + mutual + "known_peers_only = true\n")


def _peers(files: _Files) -> str:
    return f"""
[[peer]]
name = "one"
subject = "CN=acquirer-1,O=Test"
require_sign_on = true
[[peer]]
name = "two"
san = "two.example.test"
dialect = "iso87-hex"
[[peer]]
name = "three"
fingerprint = "{files.by_fingerprint.fingerprint}"
max_connections = 1
[[peer]]
name = "elsewhere"
networks = ["127.1.0.0/16"]
require_sign_on = true
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> _Files:
    """Make the certificates."""
    return _Files(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory, files: _Files) -> Iterator[Switch]:
    """Serve a plain, a TLS, a mutual and a known-peers-only listener."""
    more = PLAIN + _peers(files)
    with Switch(tmp_path_factory.mktemp("tls"), _blocks(files), more) as switch:
        yield switch.start()
        assert switch.stop() == 0
        assert "Traceback" not in switch.log()


class _TlsLink(Link):
    """A link over TLS, with a certificate of its own or without."""

    def __init__(
        self, port: int, files: _Files, own: Certificate | None = None, spec: str = "iso87-bin"
    ) -> None:
        context = ssl.create_default_context(cafile=str(files.authority.certificate))
        if own is not None:
            context.load_cert_chain(own.certificate, own.key)
        plain = socket.create_connection(("127.0.0.1", port), 15.0)
        try:
            self.socket = context.wrap_socket(plain, server_hostname="127.0.0.1")
        except OSError:
            plain.close()
            raise
        self.spec = SPEC_OF[spec]


def _is_refused(host: Switch, listener: int, files: _Files, own: Certificate | None) -> bool:
    try:
        with _TlsLink(host.ports[listener][1], files, own) as link:
            return link.is_closed()
    except (ssl.SSLError, ConnectionError):
        return True


def test_behaviour_09_payments_over_tls(host: Switch, files: _Files) -> None:
    """A client that trusts the authority pays as over a plain link, a hundred at once too."""
    card = host.open_card()
    with _TlsLink(host.ports[_TLS][1], files) as link:
        asks = [payment(card.pan, 1) for _ in range(100)]
        link.send(*asks)
        answers = [link.receive() for _ in asks]
        assert [a["11"] for a in answers] == [ask["11"] for ask in asks]
        assert {a["39"] for a in answers} == {"00"}
    assert host.held(card) == 100


def test_behaviour_09_a_plain_client_on_a_tls_port_is_closed(host: Switch) -> None:
    """Bytes that are no handshake end that connection; the listener goes on."""
    name, port = host.ports[_TLS]
    with Link(port, SPEC_OF[name]) as link:
        link.send(network())
        rest = b"x"
        while rest:
            rest = link.socket.recv(4096)  # an alert, perhaps, then the end
    with host.link(_PLAIN) as link:
        assert link.is_alive()


def test_behaviour_09_mutual_tls_wants_a_certificate_of_the_authority(
    host: Switch, files: _Files
) -> None:
    """Without one, or with one of another authority, nobody comes in."""
    assert _is_refused(host, _MUTUAL, files, None)
    assert _is_refused(host, _MUTUAL, files, files.foreign)
    with _TlsLink(host.ports[_MUTUAL][1], files, files.unnamed) as link:
        assert link.is_alive()


def test_behaviour_09_only_known_peers_where_the_listener_says_so(
    host: Switch, files: _Files
) -> None:
    """A good certificate that no block names is refused there and counted."""
    series = 'de39_shed_total{reason="unknown_peer"}'
    before = host.metric(series)
    assert _is_refused(host, _KNOWN, files, files.unnamed)
    assert eventually(lambda: host.metric(series) == before + 1)
    with _TlsLink(host.ports[_KNOWN][1], files, files.by_fingerprint) as link:
        assert link.is_alive()


def test_behaviour_20_the_subject_names_the_profile(host: Switch, files: _Files) -> None:
    """The peer of that subject must sign on; another on the same port need not."""
    card = host.open_card()
    with _TlsLink(host.ports[_MUTUAL][1], files, files.by_subject) as link:
        assert link.ask(payment(card.pan))["39"] == "91"
        assert link.ask(network("001"))["39"] == "00"
        assert link.ask(payment(card.pan))["39"] == "00"
    with _TlsLink(host.ports[_MUTUAL][1], files, files.unnamed) as link:
        assert link.ask(payment(card.pan))["39"] == "00"


def test_the_alternative_name_names_the_dialect(host: Switch, files: _Files) -> None:
    """The peer of that name speaks iso87-hex on a port of iso87-bin."""
    card = host.open_card()
    with _TlsLink(host.ports[_MUTUAL][1], files, files.by_san, "iso87-hex") as link:
        assert link.ask(payment(card.pan))["39"] == "00"


def test_behaviour_09_the_fingerprint_names_the_bound(host: Switch, files: _Files) -> None:
    """The peer of that certificate may have one connection; the second is refused."""
    with _TlsLink(host.ports[_MUTUAL][1], files, files.by_fingerprint) as link:
        assert link.is_alive()
        assert _is_refused(host, _MUTUAL, files, files.by_fingerprint)
        assert link.is_alive()


def test_behaviour_20_the_address_names_the_profile(host: Switch) -> None:
    """A peer from that network must sign on."""
    card = host.open_card()
    name, port = host.ports[_PLAIN]
    with Link(port, SPEC_OF[name]) as near:
        assert near.ask(payment(card.pan))["39"] == "00"
    far = Link.__new__(Link)
    far.spec = SPEC_OF[name]
    far.socket = socket.create_connection(
        ("127.0.0.1", port), 15.0, source_address=("127.1.0.9", 0)
    )
    with far:
        assert far.ask(payment(card.pan))["39"] == "91"


def test_behaviour_63_certificates_change_and_links_stay(tmp_path: Path) -> None:
    """SIGHUP takes a new certificate for new links; the old link goes on, a bad file is refused."""
    files = _Files(tmp_path)
    with Switch(tmp_path / "switch", _blocks(files)[1:2], PLAIN) as switch:
        switch.start()
        port = switch.ports[0][1]
        with _TlsLink(port, files) as old:
            assert old.is_alive()
            before = old.socket.getpeercert(binary_form=True)
            files.authority.issue("switch")  # over the same files
            assert switch.call("POST", "/v1/reload").status == 200
            with _TlsLink(port, files) as new:
                assert new.socket.getpeercert(binary_form=True) != before
                assert new.is_alive()
            files.server.certificate.write_text("no certificate")
            refused = switch.call("POST", "/v1/reload")
            assert refused.status == 409
            assert "switch.pem" in refused.json["error"]["message"]
            with _TlsLink(port, files) as newer:
                assert newer.is_alive()
            assert old.is_alive()
        assert switch.stop() == 0


@pytest.mark.parametrize(
    ("spoil", "code", "word"),
    [("certificate", 78, "switch.pem"), ("key", 78, "switch.pem"), ("mode", 77, "chmod 600")],
)
def test_a_bad_certificate_ends_the_start(tmp_path: Path, spoil: str, code: int, word: str) -> None:
    """One line with the file; a key that others can read is exit code 77."""
    files = _Files(tmp_path)
    if spoil == "certificate":
        files.server.certificate.write_text("no certificate")
    elif spoil == "key":
        files.server.key.write_bytes(files.unnamed.key.read_bytes())
    else:
        files.server.key.chmod(0o644)
    switch = Switch(tmp_path / "switch", _blocks(files)[1:2], PLAIN)
    exit_code, stderr = switch.run_to_end()
    assert exit_code == code, stderr
    assert word in stderr
    assert "Traceback" not in stderr
