"""Certificates for tests, made on the spot: an authority, and what it signs."""

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Certificate(NamedTuple):
    """PEM files of one certificate, and its SHA-256."""

    certificate: Path
    key: Path
    fingerprint: str


class Authority:
    """Signs certificates under ``folder``; ``certificate`` is what others trust."""

    def __init__(self, folder: Path, name: str = "test authority") -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        subject = _named(name)
        usage = x509.BasicConstraints(ca=True, path_length=0)
        self._certificate = (
            _builder(subject, subject, self._key.public_key())
            .add_extension(usage, critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self._subject = subject
        self.certificate = folder / f"{name.replace(' ', '-')}.pem"
        self.certificate.write_bytes(_pem(self._certificate))

    def issue(self, name: str, *, san: str = "127.0.0.1", file: str = "") -> Certificate:
        """Sign a certificate for ``name`` with one alternative name, an address or a DNS name."""
        key = ec.generate_private_key(ec.SECP256R1())
        is_address = san.replace(".", "").isdigit()
        names: list[x509.GeneralName] = [x509.DNSName(san)]
        if is_address:
            names = [x509.IPAddress(ipaddress.ip_address(san))]
        signed = (
            _builder(_named(name), self._subject, key.public_key())
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        stem = file or name
        made = self._folder / f"{stem}.pem", self._folder / f"{stem}.key"
        made[0].write_bytes(_pem(signed))
        made[1].write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        made[1].chmod(0o600)
        return Certificate(*made, signed.fingerprint(hashes.SHA256()).hex())


def _named(name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, name),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Test"),
        ]
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=30))
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
