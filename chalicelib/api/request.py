"""A parsed request: caller, version, body, and the base of links."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from chalice.app import Request as HttpRequest

from chalicelib import strict_json
from chalicelib.config import settings
from chalicelib.context import Context
from chalicelib.errors import Invalid, RequestTooLarge, UnsupportedMediaType
from chalicelib.rules.microversions import Version

#: Bytes of a body; oslo.middleware's ``max_request_body_size``.
MAX_BODY = 114688

#: Levels of a body. The API's bodies have far fewer, and code that reads or reports them is recursive.
MAX_DEPTH = 100

#: The content types that Cinder reads as JSON; without a Content-Type a body counts as JSON, too (Cinder: 500).
MEDIA_TYPES = ('application/json', 'application/vnd.openstack.volume+json', '')

#: Cinder's message for a body that is not JSON, or does not name exactly one action.
MALFORMED = 'Malformed request body'


class Request(NamedTuple):
    """The request for handlers."""

    context: Context
    #: The JSON sent; for an action, the value under the action's name.
    body: Any
    #: The query, each name with its last value.
    query: Mapping[str, str]
    #: Names in lower case.
    headers: Mapping[str, str]
    #: ``http://host`` and the part before /v3: a stage, or a path of a custom domain.
    endpoint: str
    project_in_url: str | None

    @property
    def version(self) -> Version:
        return self.context.microversion

    def url(self, *parts: str, version: str = 'v3') -> str:
        """Return a URL of this API, with the project's id if the request had it."""
        return '/'.join(filter(None, (self.endpoint, version, self.project_in_url, *parts)))

    def links(self, collection: str, id: str) -> list[dict[str, str]]:
        """Return the ``links`` of a resource."""
        return [
            {'rel': 'self', 'href': self.url(collection, id)},
            {'rel': 'bookmark', 'href': self.url(collection, id, version='')},
        ]


def lower_headers(http: HttpRequest) -> dict[str, str]:
    """Return the headers by lower-case name."""
    return {name.lower(): str(value) for name, value in http.headers.items()}


def query_of(http: HttpRequest) -> dict[str, str]:
    """Return the query, each name with its last value."""
    return dict(http.query_params) if http.query_params is not None else {}


def raw_body(http: HttpRequest) -> bytes:
    """Return the body as it was sent."""
    raw = http.raw_body
    return raw.encode() if isinstance(raw, str) else raw


def body_of(http: HttpRequest, headers: Mapping[str, str]) -> Any:
    """Return the body's JSON, None without one. Raises RequestTooLarge, UnsupportedMediaType or Invalid (not JSON)."""
    raw = raw_body(http)
    if not raw:
        return None
    if len(raw) > MAX_BODY:
        raise RequestTooLarge(size=len(raw), limit=MAX_BODY)
    if headers.get('content-type', '').partition(';')[0].strip().lower() not in MEDIA_TYPES:
        raise UnsupportedMediaType('Unsupported Content-Type')
    try:
        return strict_json.parse(raw.decode(), MAX_DEPTH)  # Python would also take UTF-16; Cinder takes UTF-8
    except ValueError:
        raise Invalid(MALFORMED) from None


def endpoint_of(http: HttpRequest, headers: Mapping[str, str]) -> str:
    """Return the API's URL for the client: the setting, or the request's own."""
    if settings().public_endpoint:
        return settings().public_endpoint.rstrip('/')
    scheme = 'https' if headers.get('x-forwarded-proto', '').startswith('https') else 'http'
    return f'{scheme}://{headers.get("host", "localhost")}{_split(http)[0]}'


def path_of(http: HttpRequest) -> str:
    """Return the path as sent, from /v3 or /identity on."""
    return _split(http)[1]


def ends_with_slash(http: HttpRequest) -> bool:
    """Whether the path was sent with a slash at its end, which API Gateway ignores. For Cinder it is another path:
    ``GET /volumes/`` with an empty id is never the list.
    """
    return str(http.context.get('path') or http.path).endswith('/')


def _split(http: HttpRequest) -> tuple[str, str]:
    """Return the part before the API's own path (a stage, or the base path of a custom domain), and that path."""
    parts = str(http.context.get('path') or http.path).rstrip('/').split('/')
    own = len(http.path.strip('/').split('/')) if http.path != '/' else 0
    cut = len(parts) - own
    return '/'.join(parts[:cut]), '/'.join(['', *parts[cut:]]) if own else ''
