"""HTTPS to a storage system with a pinned certificate: most are self-signed, so their names prove nothing."""

from __future__ import annotations

import functools
import hashlib
import re
import ssl
from collections.abc import Mapping
from typing import Any

import urllib3
from urllib3.exceptions import HTTPError, SSLError

from chalicelib import bounded_http
from chalicelib.errors import BackendMisconfigured, BackendUnavailable

#: Seconds for a connection, and bytes of an answer: a list of 50,000 objects.
CONNECT = 3.0
MAX_ANSWER = 16 << 20


def pin(backend: str, options: Mapping[str, Any], whose: str) -> str:
    """Return the certificate's SHA-256 in hexadecimal digits, from option fingerprint or certificate.

    Raises BackendMisconfigured with the names of the options.
    """
    try:
        given = options.get('fingerprint') or fingerprint(options.get('certificate') or '')
    except ValueError as error:
        reason = f'set option certificate to {whose} certificate in PEM, or option fingerprint to its SHA-256'
        raise BackendMisconfigured(backend=backend, reason=reason) from error
    pinned = str(given).replace(':', '').lower()
    if not re.fullmatch('[0-9a-f]{64}', pinned):
        raise BackendMisconfigured(backend=backend, reason=f'fingerprint {given!r} is not a SHA-256')
    return pinned


def fingerprint(pem: str) -> str:
    """SHA-256 of a certificate in hexadecimal digits. Raises ValueError."""
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()


def split(backend: str, url: str, default_port: int | None = None) -> tuple[str, int]:
    """Host and port of ``https://host:port``. Raises BackendMisconfigured."""
    parts = urllib3.util.parse_url(url)
    port = parts.port or default_port
    if parts.scheme != 'https' or not parts.host or not port or parts.path not in (None, '', '/'):
        raise BackendMisconfigured(backend=backend, reason=f'url {url!r} is not of the form https://host:port')
    return parts.host, port


@functools.lru_cache(maxsize=32)
def connections(host: str, port: int, pinned: str) -> urllib3.HTTPSConnectionPool:
    """Return a pool that drivers and invocations share. Only the pin counts: names and dates are unchecked."""
    return bounded_http.SecurePool(
        host, port, maxsize=8, block=False, cert_reqs='CERT_NONE', assert_fingerprint=pinned, assert_hostname=False
    )


class PinnedClient:
    """Exchanges with one storage system, named ``what`` in errors."""

    def __init__(self, backend: str, what: str, url: str, pinned: str, default_port: int | None = None) -> None:
        """Raises BackendMisconfigured. Sends nothing yet."""
        host, port = split(backend, url, default_port)
        self._backend = backend
        self._address = f'{what} at {host}:{port}'
        self._pool = connections(host, port, pinned)

    def unavailable(self, reason: str) -> BackendUnavailable:
        return BackendUnavailable(backend=self._backend, reason=reason)

    def misconfigured(self, reason: str) -> BackendMisconfigured:
        return BackendMisconfigured(backend=self._backend, reason=reason)

    def _exchange(
        self, method: str, target: str, body: bytes | str | None, headers: Mapping[str, str], seconds: float
    ) -> bounded_http.Answer:
        """Send one request. Raises BackendUnavailable, or BackendMisconfigured for another certificate."""
        bounds = bounded_http.Bounds(seconds, seconds, MAX_ANSWER)
        try:
            return bounded_http.fetch(
                self._pool, method, target, body=body, headers=headers, bounds=bounds, connect=CONNECT
            )
        except HTTPError as error:
            if isinstance(error, SSLError) and 'ingerprint' in str(error):  # urllib3 has no separate class for it
                raise self.misconfigured(f'{self._address} does not have the pinned certificate') from error
            raise self.unavailable(f'{self._address} does not answer: {type(error).__name__}') from error
