"""``/console``: the web page, from the files of chalicelib/console in the function's archive.

Only text is served: API Gateway converts base64 by the first type of the Accept header, and compresses text itself. The
page names its files under the hash of all of them, so they are cached for a year; the page itself is revalidated. No
request needs a token: what is behind the page is fetched from the API, with the user's own.
"""

from __future__ import annotations

import functools
import hashlib
import html
import posixpath
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from chalice.app import Blueprint, Response
from chalice.app import Request as HttpRequest

from chalicelib.api import faults, front_door
from chalicelib.api.negotiation import Stamp
from chalicelib.api.request import lower_headers
from chalicelib.config import settings

FOLDER = Path(__file__).parent.parent / 'console'

#: The page's own files, and the libraries that infra/console.py fetches.
FOLDERS = ('static', 'vendor')

#: Ending of a name -> content type. A file with another ending is not served.
TYPES = {
    '.js': 'text/javascript; charset=utf-8',
    '.css': 'text/css; charset=utf-8',
    '.svg': 'image/svg+xml',
    '.txt': 'text/plain; charset=utf-8',
}

PAGE = 'index.html'

#: The library without which no module of the page runs.
NEEDED = 'vendor/preact.js'

MISSING = (
    'The console was not packaged: its libraries are missing. Run `make setup` in the repository (it fetches them from '
    'npm), and start or deploy the service again.'
)

_FOREVER = 'public, max-age=31536000, immutable'

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src {connect}; base-uri 'none'; "
    "frame-ancestors 'none'; form-action 'none'"
)

_HEADERS = {
    'X-Content-Type-Options': 'nosniff',
    'X-Frame-Options': 'DENY',
    'Referrer-Policy': 'no-referrer',
    'Cross-Origin-Opener-Policy': 'same-origin',
    'Cross-Origin-Resource-Policy': 'same-origin',
}


class Files(NamedTuple):
    """Name -> path of each file that is served, and the hash of all of them."""

    paths: dict[str, Path]
    version: str


def routes() -> Blueprint:
    """Return a Blueprint of the page and its files."""
    blueprint = Blueprint(__name__)
    blueprint.route('/console', methods=['GET', 'HEAD'], content_types=['*/*'])(_page_view)
    blueprint.route('/console/{file+}', methods=['GET', 'HEAD'], content_types=['*/*'])(_file_view)
    return blueprint


def _page_view() -> Response:
    return front_door.guarded(_page)


def _file_view() -> Response:
    return front_door.guarded(_file)


@functools.cache
def files() -> Files:
    """Return the files of this process's version; read once, in about a millisecond."""
    paths, digest = {}, hashlib.sha256()
    for folder in FOLDERS:
        for path in sorted((FOLDER / folder).glob('*')):
            if path.suffix in TYPES or path.name == PAGE:
                paths[f'{folder}/{path.name}'] = path
                digest.update(f'{folder}/{path.name}\0'.encode() + path.read_bytes())
    return Files(paths, digest.hexdigest()[:16])


def _page(http: HttpRequest, stamp: Stamp) -> Response:
    found = files()
    if NEEDED not in found.paths:
        return _answer(http, 503, MISSING, TYPES['.txt'], 'no-store')
    place = posixpath.join(_place(http), found.version)
    identity = html.escape(settings().keystone_url, quote=True)
    template = found.paths[f'static/{PAGE}'].read_text(encoding='utf-8')
    body = template.replace('@place@', html.escape(place, quote=True)).replace('@identity@', identity)
    tag = f'"{hashlib.sha256(body.encode()).hexdigest()[:32]}"'
    if lower_headers(http).get('if-none-match') == tag:
        return _answer(http, 304, '', 'text/html; charset=utf-8', 'no-cache', tag)
    return _answer(http, 200, body, 'text/html; charset=utf-8', 'no-cache', tag)


def _place(http: HttpRequest) -> str:
    """The path of the page as the browser knows it: with the stage, or the base path of a custom domain.

    It begins with one slash: a browser takes what follows two for a host.
    """
    return '/' + str(http.context.get('path') or http.path).strip('/')


def _file(http: HttpRequest, stamp: Stamp) -> Response:
    version, _, name = str((http.uri_params or {}).get('file', '')).partition('/')
    found = files()
    path = found.paths.get(name)
    if path is None or path.suffix not in TYPES:
        return faults.no_route()
    # A page that was loaded before an update may request a file of that version: it gets the current one, uncached.
    caching = _FOREVER if version == found.version else 'no-store'
    return _answer(http, 200, path.read_text(encoding='utf-8'), TYPES[path.suffix], caching)


def _answer(http: HttpRequest, status: int, body: str, content_type: str, caching: str, tag: str = '') -> Response:
    headers: dict[str, str | list[str]] = {
        **_HEADERS,
        'Content-Type': content_type,
        'Cache-Control': caching,
        'Content-Security-Policy': _POLICY.format(connect=_connect()),
        **({'ETag': tag} if tag else {}),
    }
    return Response('' if http.method == 'HEAD' else body, headers, status)


def _connect() -> str:
    """The origins that the page may call: its own, and that of an external Keystone."""
    url = urlsplit(settings().keystone_url)
    return f"'self' {url.scheme}://{url.netloc}" if url.netloc else "'self'"
