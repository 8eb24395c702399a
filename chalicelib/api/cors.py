"""Cross-origin requests, as oslo.middleware's filter ``cors`` answers them: off unless origins are configured.

``CORS_ALLOWED_ORIGINS`` lists origins separated by commas (``https://dashboard.example``), or is ``*``.
"""

from __future__ import annotations

from chalice.app import Request as HttpRequest
from chalice.app import Response

from chalicelib.api.request import lower_headers
from chalicelib.config import settings

#: Cinder's defaults of the filter's options, and the headers of api/idempotency.py.
ALLOW_METHODS = ('GET', 'PUT', 'POST', 'DELETE', 'PATCH', 'HEAD')
ALLOW_HEADERS = (
    'X-Auth-Token', 'X-Identity-Status', 'X-Roles', 'X-Service-Catalog', 'X-User-Id', 'X-Tenant-Id',
    'X-OpenStack-Request-ID', 'X-Trace-Info', 'X-Trace-HMAC', 'OpenStack-API-Version', 'Content-Type', 'Cache-Control',
    'Content-Language', 'Expires', 'Last-Modified', 'Pragma', 'Idempotency-Key',
)  # fmt: skip
EXPOSE_HEADERS = (
    'X-Auth-Token', 'X-Subject-Token', 'X-Service-Token', 'X-OpenStack-Request-ID', 'OpenStack-API-Version',
    'Idempotent-Replayed', 'Retry-After',
)  # fmt: skip

#: Seconds for which a browser may cache the answer to a preflight request.
MAX_AGE = 3600


def preflight(http: HttpRequest) -> Response | None:
    """Return the answer to a preflight request of an allowed origin; None for any other request."""
    headers = lower_headers(http)
    method = headers.get('access-control-request-method')
    if http.method != 'OPTIONS' or method is None or _allowed(headers) is None:
        return None
    wanted = [name.strip() for name in headers.get('access-control-request-headers', '').split(',') if name.strip()]
    known = {name.lower() for name in ALLOW_HEADERS}
    if method not in ALLOW_METHODS or not {name.lower() for name in wanted} <= known:
        return Response('', {'Content-Type': 'text/plain'}, 200)  # without the headers, so the browser refuses
    granted = {
        'Access-Control-Allow-Methods': method,
        'Access-Control-Max-Age': str(MAX_AGE),
        **({'Access-Control-Allow-Headers': ','.join(wanted)} if wanted else {}),
    }
    return Response('', {'Content-Type': 'text/plain', **granted}, 200)


def allow(http: HttpRequest, response: Response) -> None:
    """Add the headers with which a browser shows the response to an allowed origin."""
    origin = _allowed(lower_headers(http))
    if origin is None:
        return
    present = response.headers.get('Vary')
    response.headers['Vary'] = f'{present}, Origin' if present else 'Origin'
    response.headers['Access-Control-Allow-Origin'] = origin
    response.headers['Access-Control-Allow-Credentials'] = 'true'
    if 'Access-Control-Allow-Methods' not in response.headers:
        response.headers['Access-Control-Expose-Headers'] = ','.join(EXPOSE_HEADERS)


def _allowed(headers: dict[str, str]) -> str | None:
    """Return the request's origin, if it is configured."""
    configured = [one.strip() for one in settings().cors_allowed_origins.split(',') if one.strip()]
    origin = headers.get('origin')
    return origin if origin and (origin in configured or '*' in configured) else None
