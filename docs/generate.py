"""``make docs``: write the pages that are generated from the code. A test verifies that they are up to date."""

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
from docs import account_limits, configuration, cost, decision_index, deployer_policies, program, workflows
from docs.differences import DIFFERENCES
from docs.drivers import calls

FOLDER = Path(__file__).resolve().parent

API = """# The API

Cinder's Block Storage API v3, microversions {minimum} to {maximum}. Every path is below `/v3` and below
`/v3/{{project_id}}`. `GET /openapi.json` (without a token) describes the API in OpenAPI 3.1, with the schemas of all
bodies. Other paths return 404. This page is generated from the routes: `make docs`.

- [Differences from Cinder](#differences-from-cinder)
- [Repeat a POST](#repeat-a-post)
- [Microversions](#microversions)
- [Routes](#routes)

## Differences from Cinder

Statuses, bodies, headers and error messages are those of Cinder 29 at each microversion, with these exceptions:

| where | Cinder 29 | Cinderless | reason |
|---|---|---|---|
{differences}

## Repeat a POST

A POST with the header `Idempotency-Key` is done once. A client that received no response (a closed connection, 504,
503) sends the same request with the same key, and receives the response of the first one.

```console
$ curl -X POST -H "X-Auth-Token: $TOKEN" -H "Idempotency-Key: $(uuidgen)" -H "Content-Type: application/json" \\
    -d '{{"volume": {{"size": 10}}}}' $ENDPOINT/volumes
```

| | |
|---|---|
| key | 1 to 255 printable ASCII characters; otherwise 400 |
| routes | every POST below `/v3`; not `POST /identity/v3/auth/tokens`. Other methods ignore the header. |
| scope | project, user and path (with or without the project's id). Two users may use the same key. |
| same key, other body, query or microversion | 422 |
| same key while the first request is served | waits up to 3 seconds, then 409 with `Retry-After` |
| first request interrupted | its key is free after 30 seconds; the next request completes the response |
| a response that is repeated | has the header `Idempotent-Replayed: true` and a new `x-openstack-request-id` |
| kept | 2xx responses, and 4xx responses after the work was accepted, for 24 hours |
| not kept | 5xx and other 4xx responses: nothing was accepted, and the next request with the key is served |
| token and policy | checked for every request: 401 without a valid token, 403 after the role was removed |

A completed response shows the record as it is then; it is 404 if the record was deleted. Responses with secrets are
stored encrypted. `X-OpenStack-Request-ID` does not have this effect: Nova sends one id with all requests for a server,
which may need several equal volumes.

## Microversions

| version | change |
|---|---|
{versions}

## Routes

The rule is the policy that the caller must pass (`chalicelib/rules/policies.py`). Parameters are those of the query;
*list* means `limit`, `marker`, `offset`, `sort`, `sort_key`, `sort_dir`, `all_tenants` and `with_count`.

| method | path | action | versions | success | rule | parameters |
|---|---|---|---|---|---|---|
{rows}
"""


def api_page() -> str:
    """docs/reference/api.md."""
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


#: Field of Capabilities -> its meaning for an operator. A field without a line fails a test.
SUPPORT = {
    'storage_protocol': 'protocol',
    'opens_volumes': 'workers read and write volumes directly (otherwise: they read snapshots and write whole volumes)',
    'snapshot_attached': 'point-in-time consistent snapshots and clones of attached volumes',
    'clone': 'clones on the backend',
    'revert': 'revert to a snapshot on the backend',
    'online_extend': 'extend while attached',
    'multiattach': 'multiattach',
    'manage': 'manage and unmanage volumes',
    'manage_snapshots': 'manage and unmanage snapshots',
    'shared_targets': 'one target for many volumes (`shared_targets`)',
    'retype': 'retype in place',
    'consistent_group_snapshots': 'point-in-time consistent snapshots of several volumes',
    'export_accounts': 'an account and sessions for each export (otherwise: one export per host and volume)',
    'read_only_exports': 'read-only attachments are enforced (otherwise: the host must respect them)',
    'zeroed_volumes': 'new volumes read as zeroes',
    'changed_blocks': 'incremental backups read only changed blocks',
}


def drivers_page() -> str:
    """docs/reference/drivers.md: written by hand, except for the tables of capabilities, options and calls."""
    text = (FOLDER / 'reference' / 'drivers.md').read_text()
    text = _filled(text, 'support', f'{_support(drivers())}\n\n{_options(drivers())}')
    head, *rows = calls()
    return _filled(text, 'calls', _table(head, rows))


def _filled(text: str, mark: str, what: str) -> str:
    """Return ``text`` with ``what`` between ``<!-- mark -->`` and ``<!-- /mark -->``."""
    before, _, rest = text.partition(f'<!-- {mark} -->')
    after = rest.partition(f'<!-- /{mark} -->')[2]
    return f'{before}<!-- {mark} -->\n\n{what}\n\n<!-- /{mark} -->{after}'


def drivers() -> dict[str, type[Driver]]:
    """Return {kind: class} of the drivers whose modules exist."""
    existing = {kind: place for kind, place in DRIVERS.items() if importlib.util.find_spec(place[0])}
    return {kind: getattr(importlib.import_module(module), name) for kind, (module, name) in existing.items()}


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


#: Page -> the function that returns its text.
PAGES = {
    'decisions/index.md': decision_index.page,
    'reference/account-limits.md': account_limits.page,
    'reference/deployer-policies.md': deployer_policies.page,
    'reference/api.md': api_page,
    'reference/configuration.md': configuration.page,
    'reference/cost.md': cost.page,
    'reference/drivers.md': drivers_page,
    'reference/program.md': program.page,
    'reference/workflows.md': workflows.page,
}


def main() -> None:
    for name, page in PAGES.items():
        (FOLDER / name).write_text(page())
        print(f'docs/{name}')


if __name__ == '__main__':
    main()
