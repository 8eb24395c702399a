"""The microversion of a request: the OpenStack-API-Version header, as Cinder reads it."""

from __future__ import annotations

from chalicelib.errors import MalformedRequest, VersionNotAcceptable
from chalicelib.rules import microversions
from chalicelib.rules.microversions import Version

HEADER = 'OpenStack-API-Version'
SERVICE = 'volume'


def requested(header: str | None) -> Version:
    """Return the version of the volume service that ``header`` requests, supported or not; 3.0 without a header.

    The header may name several services: ``compute 2.1,volume 3.50``. Raises InvalidAPIVersionString, and
    MalformedRequest when the volume service is not among them (Cinder answers 500 where the blank is missing).
    """
    if header is None:
        return microversions.MINIMUM
    mine = next((part.split() for part in header.split(',') if SERVICE in part), [])
    if len(mine) != 2:
        raise MalformedRequest
    return microversions.MAXIMUM if mine[1] == 'latest' else microversions.parse(mine[1])


def check(version: Version) -> None:
    """Raise VersionNotAcceptable (406) for an unsupported version."""
    if not microversions.MINIMUM <= version <= microversions.MAXIMUM:
        raise VersionNotAcceptable(
            version=microversions.text(version),
            minimum=microversions.text(microversions.MINIMUM),
            maximum=microversions.text(microversions.MAXIMUM),
        )


class Stamp:
    """Common headers of responses: the request's id and, once known, the requested version."""

    #: Whether the caller is an administrator, for whom errors are complete.
    is_admin = False

    def __init__(self, request_id: str) -> None:
        self.request_id = request_id
        self.version: Version | None = None

    def headers(self) -> dict[str, str]:
        ids = {'x-openstack-request-id': self.request_id, 'x-compute-request-id': self.request_id}
        if self.version is None:
            return ids
        return {**ids, HEADER: f'{SERVICE} {microversions.text(self.version)}', 'Vary': HEADER}
