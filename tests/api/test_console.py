"""The console's files, as the function serves them."""

from __future__ import annotations

import gzip
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from chalicelib.api import console
from chalicelib.api.negotiation import Stamp
from chalicelib.config import settings
from infra import console as libraries
from tests.api.front_door import FrontDoor

PLACE = re.compile(r'data-place="([^"]*)"')

#: Bytes of all files as API Gateway sends them: the console's budget.
MOST = 250_000


@pytest.fixture
def served(door: FrontDoor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Requests without a token; libraries of this test, so that nothing is fetched."""
    (tmp_path / 'vendor').mkdir()
    (tmp_path / 'vendor' / 'preact.js').write_text('export const h = 1;')
    (tmp_path / 'vendor' / 'LICENSE-preact.txt').write_text('MIT')
    (tmp_path / 'static').symlink_to(console.FOLDER / 'static')
    monkeypatch.setattr(console, 'FOLDER', tmp_path)
    console.files.cache_clear()
    yield lambda path, **headers: door.send('GET', path, {'Accept': 'text/html,*/*', **headers}, None)
    console.files.cache_clear()


def test_the_page_names_its_files_under_their_hash(served: Any) -> None:
    page = served('/console')
    assert (page.status, page.headers['content-type']) == (200, 'text/html; charset=utf-8')
    assert page.headers['cache-control'] == 'no-cache'
    [place] = PLACE.findall(page.text)
    assert place == f'/stage/console/{console.files().version}'
    for name in re.findall(r'(?:src|href)="([^"]+)"', page.text):
        if '/static/' in name:
            found = served(name.removeprefix('/stage'))
            assert (found.status, found.headers['cache-control']) == (200, 'public, max-age=31536000, immutable'), name


def test_the_page_never_names_another_host(served: Any) -> None:
    """A browser takes //console/... for files of the host console."""
    http = SimpleNamespace(context={'path': '//console'}, headers={}, method='GET')
    [place] = PLACE.findall(console._page(cast(Any, http), Stamp('req')).body)
    assert place == f'/console/{console.files().version}'


def test_the_page_is_revalidated(served: Any) -> None:
    tag = served('/console').headers['etag']
    again = served('/console', **{'If-None-Match': tag})
    assert (again.status, again.text) == (304, '')
    assert served('/console', **{'If-None-Match': '"other"'}).status == 200


def test_nothing_but_its_own_files_and_services_may_be_used(served: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = served('/console').headers['content-security-policy']
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "connect-src 'self';" in policy
    assert 'unsafe' not in policy
    monkeypatch.setattr(console, 'settings', lambda: settings()._replace(keystone_url='https://keystone:5000/v3'))
    page = served('/console')
    assert "connect-src 'self' https://keystone:5000;" in page.headers['content-security-policy']
    assert 'data-identity="https://keystone:5000/v3"' in page.text


@pytest.mark.parametrize('name', ['x/static/none.js', 'x/static/../../config.py', 'x/static/index.html', 'x/vendor/'])
def test_other_files_are_not_served(served: Any, name: str) -> None:
    assert served(f'/console/{name}').status == 404


def test_a_file_of_another_version_is_not_kept(served: Any) -> None:
    found = served('/console/0123456789abcdef/static/app.js')
    assert (found.status, found.headers['cache-control']) == (200, 'no-store')


def test_a_package_without_libraries_says_so(served: Any, tmp_path: Path) -> None:
    (tmp_path / 'vendor' / 'preact.js').unlink()
    console.files.cache_clear()
    page = served('/console')
    assert (page.status, page.text) == (503, console.MISSING)


#: What parses text as markup or code, or reaches beyond this service and this session.
REFUSED = re.compile(
    r'innerHTML|outerHTML|insertAdjacentHTML|document\.write|dangerouslySet|\beval\(|new Function|localStorage|https?://'
)


def test_the_pages_code_names_no_other_place_and_parses_no_markup() -> None:
    """Text from users is set as text; what is loaded comes from here."""
    for path in (console.FOLDER / 'static').glob('*.js'):
        assert REFUSED.findall(path.read_text()) == [], path


def test_the_console_is_small() -> None:
    found = [path for folder in console.FOLDERS for path in (console.FOLDER / folder).glob('*.*s*')]
    assert 0 < sum(len(gzip.compress(path.read_bytes())) for path in found) < MOST


def test_bare_imports_become_files() -> None:
    source = 'import{h as e}from"preact";import*as t from "preact/hooks";export*from"@preact/signals-core";'
    assert libraries.rewritten(f'{source}\n//# sourceMappingURL=x') == (
        'import{h as e}from"./preact.js";import*as t from"./preact-hooks.js";export*from"./signals-core.js";\n'
    )
    with pytest.raises(KeyError):
        libraries.rewritten('import"left-pad"')


def test_an_archive_with_another_hash_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def pack(command: list[str], **_: Any) -> None:
        Path(command[-1], 'preact-11.2.0.tgz').write_bytes(b'something else')

    monkeypatch.setattr(libraries.subprocess, 'run', pack)
    with pytest.raises(ValueError, match='SHA-256'):
        libraries.fetch(tmp_path / 'vendor')
    assert not (tmp_path / 'vendor').exists()


def test_without_a_network_packaging_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(command: list[str], **_: Any) -> None:
        raise OSError('no npm')

    monkeypatch.setattr(libraries.subprocess, 'run', fail)
    with pytest.raises(libraries.Missing, match='The console needs preact'):
        libraries.fetch(tmp_path / 'vendor')
