"""TLS for the API's door: the operator's certificate, or one that the local cloud makes for its own names."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from appliance.files import put_in_place
from local.settings import Refused, Settings

#: Days that a generated certificate is valid: the most that clients of Apple accept. A start renews it half-way.
DAYS = 825

FOLDER, CERTIFICATE, KEY = 'tls', 'certificate.pem', 'key.pem'


def check(settings: Settings) -> None:
    """Raises Refused for a given certificate that cannot be used."""
    if given := _given(settings):
        _load(*given)


def context(settings: Settings) -> ssl.SSLContext | None:
    """Return the server's side of TLS, None without TLS."""
    return _load(*(_given(settings) or _generated(settings))) if settings.has_tls else None


def _load(certificate: Path, key: Path) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        made.load_cert_chain(certificate, key)
    except OSError as error:  # ssl.SSLError as well
        wrong = f'TLS_CERTIFICATE={certificate}, TLS_KEY={key}'
        raise Refused(f'{wrong}: give a certificate and its key as PEM ({error.strerror or error})') from None
    return made


def authority(settings: Settings) -> Path | None:
    """Return the file that clients verify a generated certificate with, None for all others."""
    return settings.state_dir / FOLDER / CERTIFICATE if settings.has_tls and not _given(settings) else None


def _given(settings: Settings) -> tuple[Path, Path] | None:
    """The key may be in the file of the certificate."""
    if not settings.tls_certificate:
        return None
    return Path(settings.tls_certificate), Path(settings.tls_key or settings.tls_certificate)


def _generated(settings: Settings) -> tuple[Path, Path]:
    folder = settings.state_dir / FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    certificate, key = folder / CERTIFICATE, folder / KEY
    names = [*dict.fromkeys((settings.host, settings.listen, 'localhost', '127.0.0.1'))]
    if not (certificate.exists() and key.exists() and _serves(certificate, names)):
        _make(certificate, key, names)
    return certificate, key


def _serves(certificate: Path, names: list[str]) -> bool:
    """Whether it is for these names, and valid for half of its time."""
    try:
        found = x509.load_pem_x509_certificate(certificate.read_bytes())
        extension = found.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except (ValueError, x509.ExtensionNotFound):  # damaged
        return False
    half = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=DAYS / 2)
    return list(extension.value) == _alternatives(names) and found.not_valid_after_utc > half


def _make(certificate: Path, key: Path, names: list[str]) -> None:
    """Make a certificate that signs itself: the file is also what clients trust. The certificate is renamed last."""
    private = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, 'Cinderless local cloud')])
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))  # for clients whose clock is behind
        .not_valid_after(now + datetime.timedelta(days=DAYS))
        .add_extension(x509.SubjectAlternativeName(_alternatives(names)), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(private.public_key()), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    )
    form, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    _write(key, private.private_bytes(serialization.Encoding.PEM, form, plain))
    _write(certificate, builder.sign(private, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))


def _alternatives(names: list[str]) -> list[x509.GeneralName]:
    return [_alternative(name) for name in names]


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _write(path: Path, data: bytes) -> None:
    unfinished = path.with_name(path.name + '.new')
    unfinished.unlink(missing_ok=True)
    unfinished.touch(mode=0o600)
    unfinished.write_bytes(data)
    put_in_place(unfinished, path)
