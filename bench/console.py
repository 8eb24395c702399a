"""The console as a browser sees it, and the log of operations behind it: measured on a separate local cloud.

The browser is Debian's Chromium without a cache: each first view is in a new context.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

from bench.figures import spread
from bench.service import Client, _timed
from local.launch import launched

#: Views of each kind, and volumes whose creation, renaming and deletion fill the log.
VIEWS, VOLUMES = 7, 40

#: Requests for a median.
TIMES = 30

#: What the browser received for the page: [requests, bytes as sent, bytes of the files].
RECEIVED = """() => {
  const found = [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]
    .filter(one => one.name.includes('/console'));
  const sum = name => found.reduce((total, one) => total + one[name], 0);
  return [found.length, sum('encodedBodySize'), sum('decodedBodySize')];
}"""


def run() -> list[tuple[str, str]]:
    """Measure everything in a local cloud of its own. Returns (measurement, figure)."""
    with tempfile.TemporaryDirectory(prefix='cinderless-bench-') as name:
        state = Path(name) / 'state'
        with launched(state) as facts:
            client = Client(facts, state / 'clouds.yaml')
            client.unlimited()
            return [*_views(client.url.removesuffix('/v3') + '/console'), *_operations(client)]


def _views(url: str) -> list[tuple[str, str]]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which('chromium') or '/usr/bin/chromium')
        _view(browser, url)  # the first one pays for imports, as a cold start would
        views = [_view(browser, url) for _ in range(VIEWS)]
        browser.close()
    requests, sent, files = views[0][3]
    return [
        ('console, first view (log-in form), p50', spread([view[0] for view in views])),
        ('console, log-in to overview, p50', spread([view[1] for view in views])),
        ('console, later view (overview), p50', spread([view[2] for view in views])),
        ('console, files of the first view', f'{requests}, {sent / 1000:.0f} kB sent, {files / 1000:.0f} kB'),
    ]


def _view(browser: Browser, url: str) -> tuple[float, float, float, list[int]]:
    """Seconds to the log-in form, from there to the overview, and to the overview again; what was received first."""
    context = browser.new_context()
    page = context.new_page()
    began = time.perf_counter()
    page.goto(url)
    page.get_by_label('User').wait_for()
    form = time.perf_counter() - began
    received: list[int] = page.evaluate(RECEIVED)
    page.get_by_label('User').fill('demo')
    page.get_by_label('Password', exact=True).fill('demo')
    began = time.perf_counter()
    page.get_by_role('button', name='Log in', exact=True).click()
    _see_overview(page)
    logged_in = time.perf_counter() - began
    began = time.perf_counter()
    page.reload()
    _see_overview(page)
    later = time.perf_counter() - began
    context.close()
    return form, logged_in, later, received


def _see_overview(page: Page) -> None:
    """Wait until the overview shows data, not only its frame."""
    page.locator('a.tile').first.wait_for()


def _operations(client: Client) -> list[tuple[str, str]]:
    volumes = [client.create() for _ in range(VOLUMES)]
    for volume in volumes:
        client.wait(volume)
    renames = [_timed(lambda id=each: _rename(client, id)) for each in volumes[:TIMES]]  # type: ignore[misc]
    newest: list[dict[str, Any]] = client.call('GET', '/operations?limit=100')['operations']
    created = next(each['id'] for each in newest if each['action'] == 'create')
    lists = [_timed(lambda: client.call('GET', '/operations?limit=50')) for _ in range(TIMES)]
    shown = [_timed(lambda: client.call('GET', f'/operations/{created}')) for _ in range(TIMES)]
    return [
        ('GET /v3/operations, 50 of them, p50', spread(lists)),
        ('GET /v3/operations/{id} with its steps, p50', spread(shown)),
        ('PUT volume (complete with its response, logged), p50', spread(renames)),
    ]


def _rename(client: Client, id: str) -> None:
    client.call('PUT', f'/volumes/{id}', {'volume': {'name': 'renamed'}})
