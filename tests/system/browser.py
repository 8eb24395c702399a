"""Debian's Chromium, driven by Playwright: one browser for a session, a clean context for each test.

A test fails for anything that the page writes to the console as an error, for an exception in it, and for a request to
another origin.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect, sync_playwright

from tests.system.cloud import ROOT, Cloud

CHROMIUM = shutil.which('chromium') or '/usr/bin/chromium'

#: Milliseconds for one expectation: the machine may be busy.
PATIENCE = 60_000

#: Where screenshots are kept.
SCREENSHOTS = ROOT / '.build' / 'screenshots'

expect.set_options(timeout=PATIENCE)


@pytest.fixture(scope='session')
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM)
        yield browser
        browser.close()


class Visitor:
    """A user before the console, and what went wrong in the page."""

    def __init__(self, context: BrowserContext, cloud: Cloud) -> None:
        self.page: Page = context.new_page()
        self.page.set_default_timeout(PATIENCE)
        self.url = f'{cloud.ready["volume"].removesuffix("/v3")}/console'
        self.faults: list[str] = []
        #: Statuses of answers that a test expects, which Chromium also writes to the console.
        self.expected: set[int] = set()
        self.page.on('console', self._written)
        self.page.on('pageerror', lambda error: self.faults.append(f'exception: {error}'))
        self.page.on('request', self._requested)

    def _written(self, message: ConsoleMessage) -> None:
        expected = any(f'status of {status}' in message.text for status in self.expected)
        if message.type in ('error', 'warning') and not expected:
            self.faults.append(f'{message.type}: {message.text} ({message.location})')

    def _requested(self, request: Any) -> None:
        if not request.url.startswith((self.url.removesuffix('/console'), 'data:')):
            self.faults.append(f'request to {request.url}')

    def log_in(self, user: str, password: str | None = None, project: str = '') -> None:
        self.page.goto(self.url)
        self.page.get_by_label('User').fill(user)
        self.page.get_by_label('Password', exact=True).fill(user if password is None else password)
        self.page.get_by_label('Project').fill(project)
        self.page.get_by_role('button', name='Log in', exact=True).click()

    def enter(self, user: str) -> None:
        """Log in, and wait for the overview."""
        self.log_in(user)
        expect(self.page.get_by_role('heading', name='Overview')).to_be_visible()

    def go(self, screen: str, title: str) -> None:
        self.page.goto(f'{self.url}#/{screen}')
        expect(self.page.get_by_role('heading', level=1, name=title)).to_be_visible()

    def press(self, name: str) -> None:
        self.page.get_by_role('button', name=name, exact=True).first.click()

    def fill(self, **values: str) -> None:
        """Fill the open dialog, by names of fields; an option of a list is chosen by its value."""
        for name, value in values.items():
            field = self.page.locator(f'dialog [name={name}]')
            if field.evaluate('field => field.tagName') == 'SELECT':
                field.select_option(value)
            else:
                field.fill(value)

    def send(self, button: str) -> None:
        """Press the button of the open dialog, and wait until it has closed."""
        self.page.locator('dialog').get_by_role('button', name=button, exact=True).click()
        expect(self.page.locator('dialog')).to_have_count(0)

    def sees(self, text: str) -> None:
        expect(self.page.get_by_text(text).first).to_be_visible()

    def status(self, text: str) -> None:
        """Wait for the status beside the heading."""
        expect(self.page.locator('.heading .badge')).to_have_text(text)

    def picture(self, name: str) -> None:
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SCREENSHOTS / f'{name}.png')


@pytest.fixture
def visitor(browser: Browser, cloud: Cloud) -> Iterator[Visitor]:
    context = browser.new_context(viewport={'width': 1200, 'height': 760})
    visitor = Visitor(context, cloud)
    yield visitor
    context.close()
    assert visitor.faults == []
