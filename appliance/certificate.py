"""The agent's self-signed certificate, made by openssl at the first start. The driver pins it; names are unchecked."""

from __future__ import annotations

import hashlib
import os
import ssl
from pathlib import Path

from appliance import commands
from appliance.files import put_in_place

_DAYS = '3650'


def ensure(folder: Path) -> tuple[Path, Path]:
    """Return (certificate, private key), created if missing. Raises OSError with openssl's output."""
    certificate, key = folder / 'certificate.pem', folder / 'key.pem'
    if not certificate.exists():
        _make(certificate, key)
    return certificate, key


def fingerprint(certificate: Path) -> str:
    """Return the SHA-256 of the certificate in hexadecimal digits."""
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(certificate.read_text())).hexdigest()


def _make(certificate: Path, key: Path) -> None:
    """The certificate is renamed last: while it is missing, both are made again."""
    new = certificate.with_suffix('.new')
    os.close(os.open(key, os.O_CREAT | os.O_WRONLY, 0o600))
    commands.run('openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes',
                 '-sha256', '-days', _DAYS, '-subj', '/CN=cinderless-appliance',
                 '-keyout', str(key), '-out', str(new))  # fmt: skip
    key.chmod(0o600)
    put_in_place(key, key)
    put_in_place(new, certificate)
