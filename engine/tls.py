"""SHELL: TLS of the card links: contexts from files, and what a peer's certificate says of it.

TLS 1.2 or newer, on both sides. A listener with ``tls_client_ca`` demands a certificate from each
peer (mutual TLS). Contexts are made anew at a reload; links that stand keep the one they have.
"""

import hashlib
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.errors import ConfigError, PermissionRefused
from engine.link_config import Dial, Listen

_ATTRIBUTES = {
    "commonName": "CN",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "countryName": "C",
    "localityName": "L",
    "stateOrProvinceName": "ST",
    "serialNumber": "SERIALNUMBER",
}


@dataclass(frozen=True, slots=True)
class PeerFacts:
    """Who is at the other end: its address, and its certificate where it showed one."""

    address: str
    subject: str = ""  # such as "CN=acquirer-1,O=Example"; "" = no certificate
    names: frozenset[str] = frozenset()  # subject alternative names, without their kind
    fingerprint: str = ""  # SHA-256 of the certificate, hex


def server_context(listen: Listen) -> ssl.SSLContext | None:
    """Return the context of a listener, or None for a plain one.

    Raises
    ------
    ConfigError, PermissionRefused
        A file cannot be used; the text names it.
    """
    if not listen.tls_certificate:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    _load_own(context, listen.tls_certificate, listen.tls_key)
    if listen.tls_client_ca:
        context.verify_mode = ssl.CERT_REQUIRED
        _load_authority(context, listen.tls_client_ca)
    return context


def client_context(dial: Dial) -> ssl.SSLContext | None:
    """Return the context of a line that the host opens, or None for a plain one."""
    if not dial.tls_ca:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    _load_authority(context, dial.tls_ca)
    if dial.tls_certificate:
        _load_own(context, dial.tls_certificate, dial.tls_key)
    return context


def facts_of(address: str, connection: ssl.SSLObject | None) -> PeerFacts:
    """Return what is known of a peer; ``connection`` is None on a plain link."""
    if connection is None:
        return PeerFacts(address)
    raw = connection.getpeercert(binary_form=True)
    parsed: dict[str, Any] = connection.getpeercert() or {}
    if not raw or not parsed:
        return PeerFacts(address)
    parts = [pair for group in parsed.get("subject", ()) for pair in group]
    subject = ",".join(f"{_ATTRIBUTES.get(name, name)}={value}" for name, value in parts)
    names = frozenset(value for _, value in parsed.get("subjectAltName", ()))
    return PeerFacts(address, subject, names, hashlib.sha256(raw).hexdigest())


def _load_own(context: ssl.SSLContext, certificate: str, key: str) -> None:
    for path in (certificate, key):
        _check_readable(path)
    if Path(key).stat().st_mode & 0o077:
        raise PermissionRefused(f"{key}: others can read this private key; run: chmod 600 {key}")
    try:
        context.load_cert_chain(certificate, key, password=_no_password)
    except (ssl.SSLError, ValueError) as problem:
        why = "the key is not the certificate's" if "MISMATCH" in str(problem) else "not PEM"
        raise ConfigError(f"{certificate}: cannot be used with {key}: {why}") from None


def _load_authority(context: ssl.SSLContext, path: str) -> None:
    _check_readable(path)
    try:
        context.load_verify_locations(path)
    except ssl.SSLError:
        raise ConfigError(f"{path}: holds no certificate in PEM form") from None


def _check_readable(path: str) -> None:
    try:
        Path(path).read_bytes()
    except OSError as problem:
        raise ConfigError(f"{path}: cannot be read: {problem.strerror}") from None


def _no_password() -> str:
    """Never ask on a terminal: an encrypted key is refused."""
    raise ValueError("encrypted")
