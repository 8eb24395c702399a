"""``make docs``: write the pages that follow from the code. A test holds that they are up to date."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path

from chalicelib.api import openapi
from chalicelib.api.resource import Route
from chalicelib.api.resources import routes
from chalicelib.drivers.base import Capabilities, Driver, Option
from chalicelib.drivers.registry import DRIVERS
from chalicelib.rules import microversions
from docs import account_limits, cost, workflows
from docs.differences import DIFFERENCES
from docs.drivers import calls

FOLDER = Path(__file__).resolve().parent

API = """# The API

Cinder's Block Storage API v3, microversions {minimum} to {maximum}. Every path is served below `/v3` and below
`/v3/{{project_id}}`; `GET /openapi.json` (no token needed) describes the same in OpenAPI 3.1, with the schemas of all
bodies. What is not in the list below answers 404. This page is generated from the routes: `make docs`.

- [What differs from Cinder, and why](#what-differs-from-cinder-and-why)
- [What comes with each microversion](#what-comes-with-each-microversion)
- [The routes](#the-routes)

## What differs from Cinder, and why

Statuses, bodies, headers and error messages are Cinder 29's, microversion by microversion. These are not:

| where | Cinder 29 | here | why |
|---|---|---|---|
{differences}

## What comes with each microversion

| version | what |
|---|---|
{versions}

## The routes

The rule is the policy that a caller must pass; `chalicelib/rules/policies.py` says who does. The parameters are of the
query; *list* means `limit`, `marker`, `offset`, `sort`, `sort_key`, `sort_dir`, `all_tenants` and `with_count`.

| method | path | action | versions | success | rule | parameters |
|---|---|---|---|---|---|---|
{rows}
"""


def api_page() -> str:
    """docs/api.md."""
    rows = '\n'.join(_row(route) for route in sorted(routes(), key=_order))
    minimum, maximum = microversions.text(microversions.MINIMUM), microversions.text(microversions.MAXIMUM)
    differences = '\n'.join(f'| {" | ".join(cells)} |' for cells in DIFFERENCES).replace('{{', '{').replace('}}', '}')
    versions = '\n'.join(f'| {version} | {fact} |' for version, fact in microversions.FACTS.items())
    return API.format(minimum=minimum, maximum=maximum, rows=rows, differences=differences, versions=versions)


def _order(route: Route) -> tuple[str, str, str]:
    return route.path, route.method, route.action or ''


def _row(route: Route) -> str:
    action = f'`{route.action}`' if route.action else ''
    cells = (route.method, f'`{route.path}`', action, _versions(route), str(route.status), f'`{route.policy}`')
    return f'| {" | ".join((*cells, _parameters(route)))} |'


def _parameters(route: Route) -> str:
    names = openapi.QUERIES.get((route.method, route.path), ())
    own = [f'`{name}`' for name in names if name not in openapi.LIST or (name == 'all_tenants' and len(names) == 1)]
    return ', '.join(['*list*', *own] if 'limit' in names else own)


def _versions(route: Route) -> str:
    since, until = microversions.text(route.since), microversions.text(route.until)
    return f'{since}+' if route.until == microversions.MAXIMUM else f'{since}-{until}'


#: Field of Capabilities -> what it means to an operator. A field without a line here fails the documents' test.
SUPPORT = {
    'storage_protocol': 'protocol',
    'opens_volumes': 'workers read and write volumes themselves (else: snapshots out, whole volumes in)',
    'snapshot_attached': 'snapshots and clones of attached volumes, of one moment',
    'clone': 'clones on the backend',
    'revert': 'revert to a snapshot on the backend',
    'online_extend': 'extend while attached',
    'multiattach': 'multiattach',
    'manage': 'manage and unmanage volumes',
    'manage_snapshots': 'manage and unmanage snapshots',
    'shared_targets': 'one target for many volumes (`shared_targets`)',
    'retype': 'retype in place',
    'consistent_group_snapshots': 'snapshots of several volumes, of one moment',
    'path_accounts': 'an account and sessions for each path (else: one path per host and volume)',
    'read_only_paths': 'a read-only attachment cannot be written to (else: the host keeps to it)',
    'zeroed_volumes': 'new volumes surely read as zeroes',
    'changed_blocks': 'incremental backups read only what has changed',
}


def drivers_page() -> str:
    """docs/drivers.md: written by hand, but for its tables of what each driver supports, takes, and calls."""
    text = (FOLDER / 'drivers.md').read_text()
    text = _filled(text, 'support', f'{_support(drivers())}\n\n{_options(drivers())}')
    head, *rows = calls()
    return _filled(text, 'calls', _table(head, rows))


def _filled(text: str, mark: str, what: str) -> str:
    """Put something between ``<!-- mark -->`` and ``<!-- /mark -->``."""
    before, _, rest = text.partition(f'<!-- {mark} -->')
    after = rest.partition(f'<!-- /{mark} -->')[2]
    return f'{before}<!-- {mark} -->\n\n{what}\n\n<!-- /{mark} -->{after}'


def drivers() -> dict[str, type[Driver]]:
    """Kind -> class, of the drivers that are there."""
    there = {kind: place for kind, place in DRIVERS.items() if importlib.util.find_spec(place[0])}
    return {kind: getattr(importlib.import_module(module), name) for kind, (module, name) in there.items()}


def _support(kinds: Mapping[str, type[Driver]]) -> str:
    fields = [field.name for field in dataclasses.fields(Capabilities)]
    rows = [[SUPPORT[field], *(_cell(kind.capabilities, field) for kind in kinds.values())] for field in fields]
    return _table(['', *kinds], rows)


def _cell(capabilities: Capabilities, field: str) -> str:
    value = getattr(capabilities, field)
    return {True: 'yes', False: '-'}.get(value, str(value))


def _options(kinds: Mapping[str, type[Driver]]) -> str:
    rows = [
        [kind, f'`{name}`', option.kind.__name__, 'yes' if option.required else '-', _default(option)]
        for kind, driver in kinds.items()
        for name, option in driver.OPTIONS.items()
    ]
    return _table(['driver', 'option', 'type', 'required', 'default'], rows)


def _default(option: Option) -> str:
    if option.secret:
        return 'a secret'
    return '-' if option.default is None else f'`{option.default}`'


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ['---'] * len(heads), *rows]
    return '\n'.join(f'| {" | ".join(line)} |' for line in lines)


#: Page -> what it must say.
PAGES = {
    'account-limits.md': account_limits.page,
    'api.md': api_page,
    'cost.md': cost.page,
    'drivers.md': drivers_page,
    'workflows.md': workflows.page,
}


def main() -> None:
    for name, page in PAGES.items():
        (FOLDER / name).write_text(page())
        print(f'docs/{name}')


if __name__ == '__main__':
    main()
