"""The certificate of a sandbox that serves over TLS, and the authority that signs it."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from cordial_sandbox.private_file import write_private_file

_VALID_FOR = timedelta(days=365)


@dataclass(frozen=True, slots=True)
class Certificate:
    """The files of a certificate.

    :param authority: what clients trust.
    :param chain: certificate and private key of the server.
    """

    authority: Path
    chain: Path


def create_certificate(folder: Path, names: Sequence[str]) -> Certificate:
    """Return an authority and a certificate for some names and addresses, those of the last start if they fit."""
    files = Certificate(folder / "ca.pem", folder / "server.pem")
    if _is_valid_for(files.chain, names):
        return files
    authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer = _name("Cordial sandbox authority")
    is_authority = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
    authority = (
        _build(issuer, issuer, authority_key.public_key(), authority_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(is_authority, critical=True)
        .sign(authority_key, hashes.SHA256())
    )
    signed = (
        _build(_name(names[0]), issuer, key.public_key(), authority_key.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([_alternative(name) for name in names]), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    write_private_file(files.authority, authority.public_bytes(serialization.Encoding.PEM))
    write_private_file(files.chain, private + signed.public_bytes(serialization.Encoding.PEM))
    return files


def _is_valid_for(chain: Path, names: Sequence[str]) -> bool:
    if not chain.exists():
        return False
    last = x509.load_pem_x509_certificate(chain.read_bytes())
    known = last.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return list(known) == [_alternative(name) for name in names] and last.not_valid_after_utc > datetime.now(UTC)


def _build(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, authority_key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + _VALID_FOR)
        # Python 3.13 rejects a certificate without these two.
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key), critical=False)
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text[:64])])


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
