"""``make docs``: write the pages that follow from the code. A test holds that they are up to date."""

from __future__ import annotations

from pathlib import Path

from chalicelib.api.resource import Route
from chalicelib.api.resources import routes
from chalicelib.rules import microversions

FOLDER = Path(__file__).resolve().parent

API = """# The API

Cinder's Block Storage API v3, microversions {minimum} to {maximum}. Every path is served below `/v3` and below
`/v3/{{project_id}}`. The rule is the policy that a caller must pass; `chalicelib/rules/policies.py` says who does.
What is not in this list answers 404. This page is generated from the routes: `make docs`.

| method | path | action | versions | success | rule |
|---|---|---|---|---|---|
{rows}
"""


def api_page() -> str:
    """docs/api.md."""
    rows = '\n'.join(_row(route) for route in sorted(routes(), key=_order))
    minimum, maximum = microversions.text(microversions.MINIMUM), microversions.text(microversions.MAXIMUM)
    return API.format(minimum=minimum, maximum=maximum, rows=rows)


def _order(route: Route) -> tuple[str, str, str]:
    return route.path, route.method, route.action or ''


def _row(route: Route) -> str:
    action = f'`{route.action}`' if route.action else ''
    return f'| {route.method} | `{route.path}` | {action} | {_versions(route)} | {route.status} | `{route.policy}` |'


def _versions(route: Route) -> str:
    since, until = microversions.text(route.since), microversions.text(route.until)
    return f'{since}+' if route.until == microversions.MAXIMUM else f'{since}-{until}'


#: Page -> what it must say.
PAGES = {'api.md': api_page}


def main() -> None:
    for name, page in PAGES.items():
        (FOLDER / name).write_text(page())
        print(f'docs/{name}')


if __name__ == '__main__':
    main()
