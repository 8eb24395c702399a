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

#: (where, Cinder's way, our way, the reason).
DIFFERENCES = (
    (
        'any request',
        'some malformed requests end in 500',
        '400, 404 or 413 in the same shape',
        'a client can correct what it is told; every 500 is a fault of the service',
    ),
    (
        'a record of another project',
        'some paths answer 403 or 500',
        '404',
        "whether it exists is nobody else's business",
    ),
    (
        '`PUT /os-services/enable`, `/disable`',
        '29.0.0 answers 200 and saves nothing',
        'saved, and heeded by the scheduler',
        'the documented effect, and that of every release before',
    ),
    (
        '`PUT /os-services/failover_host`',
        '202 for backends that replicate',
        'always 400, in the words for a backend that does not',
        'no driver here replicates; fail-over to nowhere would only take the volumes away',
    ),
    (
        '`/clusters`',
        'groups of services that an operator configured',
        'one per backend, with its name and one service',
        'any number of workers serves a backend at once: [decision 15](decisions/0015-services-without-servers.md)',
    ),
    (
        '`POST /workers/cleanup`',
        'asks other services to finish what a dead one left',
        'always answers that there is nothing to do',
        'the reconciler takes up what is overdue each minute, whoever left it',
    ),
    (
        '`PUT /os-services/get-log`, `/set-log`',
        'levels of every process',
        'of the process that answers; of the others they are a parameter of the deployment',
        'functions have no address, and no process that stays',
    ),
    (
        '`PUT /os-hosts`, `PUT /os-hosts/{{id}}`',
        'routed by accident; 500',
        '400 that names the verbs that work',
        'no client calls them',
    ),
    (
        'other accidental routes (`POST /types/{{id}}/action create`, `POST /groups/action delete`, ...)',
        '400 or 404 of some kind',
        '400 or 404',
        'they never did anything',
    ),
    (
        '`os-unmanage`',
        'the object keeps its name, `volume-<id>` (LVM)',
        'it becomes `unmanaged-volume-<id>`, which the lists of manageable objects show',
        'nobody takes it for an orphan: [decision 17](decisions/0017-managing.md)',
    ),
    (
        '`backup_service` of a backup record',
        '`cinder.backup.drivers.s3.S3BackupDriver`',
        '`cinder.backup.drivers.cinderless.S3BackupDriver`',
        'Cinder refuses a record whose format it does not know, instead of failing in the middle of a restore',
    ),
    (
        '`container` of a backup',
        'at most 255 characters',
        'also at most 512 bytes, printable, and no part between slashes that is empty, `.` or `..`',
        'it is a part of the keys of S3, which are measured in bytes and listed as XML',
    ),
    (
        'pages of a list',
        'a next link repeats `offset`, so that every page skips records',
        'a next link has no `offset`',
        'following the links shows every record once',
    ),
    (
        'very long lists',
        'a page holds `limit` records',
        'a page beyond 5 MB is cut short, and has a next link',
        'a response of Lambda holds 6 MB',
    ),
    (
        'a body without `Content-Type`',
        '500',
        'read as JSON',
        'it is what the client means',
    ),
    (
        'a body of more than 112 KiB',
        '413 as text',
        '413 in the shape of every fault',
        'a client reads one shape',
    ),
    (
        'a body of more than 100 levels',
        'read, and refused for what is in it',
        '400',
        'no body of the API has six; whoever looks into one does so by recursion',
    ),
    (
        'a token of the system, without a project',
        'served, where no project is needed',
        '403 that asks for a project scope',
        "records are kept by project; an administrator's `all_tenants` sees all",
    ),
    (
        '`PUT /types/{{id}}`',
        'renames the default type, and volumes without a type fail then',
        'refuses to rename it',
        'the configuration names it',
    ),
    (
        '`PUT /default-types/{{id}}`',
        'asks Keystone whether the project exists',
        'takes any project',
        'a default of a project that is not there has no effect',
    ),
    (
        'QoS specs',
        'figures per GiB that are no numbers fail at attach',
        'refused when they are set',
        'the operator can correct them, the user who attaches cannot',
    ),
    (
        'groups',
        'any number of volumes',
        'at most 47, which leave or go with their group, never alone',
        'what is asked of a group is one transaction: [decision 11](decisions/0011-groups.md)',
    ),
    (
        'replication of groups',
        'the driver answers',
        'checked and accepted; `replication_status` becomes error, with a user message; no targets',
        'no driver here replicates',
    ),
    (
        'volumes from images, images of volumes',
        'every format that qemu-img converts, also by the locations of an image',
        'raw in a bare container, streamed through Glance and verified; anything else is refused (400)',
        'what other formats name inside (backing files, data files, descriptors) is how Cinder was attacked',
    ),
    (
        'a volume of an encrypted type from an image',
        'encrypted on its way',
        '400; the image can be copied onto an empty volume in a server',
        "encryption is the compute host's; a key never reaches a worker",
    ),
    (
        'unmanage',
        'the object keeps the name of its record',
        'it becomes `unmanaged-<name>`',
        'so that nobody takes it for an orphan: [decision 17](decisions/0017-managing.md)',
    ),
    (
        '`os-initialize_connection`, attachments with a connector',
        'in every status but maintenance; the export outlives a transfer, a restore, a reimage, ...',
        '400 while the data is made, moved, replaced, removed or on offer; whatever changes the right to the data ends '
        'the exports made before',
        'a former owner keeps no access: [decision 44](decisions/0044-exports-are-recorded.md)',
    ),
    (
        '`GET /attachments/detail`, `/attachments/{id}`',
        '`connection_info` holds the CHAP secret for every role of the project',
        'the secret is left out for callers that may not connect an attachment (readers, a role `service` alone)',
        'whoever reads it can read and write the data',
    ),
    (
        'attaching and detaching while a backend is away',
        '500 after a time-out of the message bus',
        '503 with Retry-After, records and exports as before; an outage of some seconds costs time only',
        'a repetition cures it',
    ),
    (
        '`os-reimage` of a volume that a host is connected to',
        'accepted',
        '409',
        'the data would change under the host',
    ),
    (
        'volume transfers',
        'any number of snapshots; a group is looked for at acceptance',
        'at most 46 snapshots; a volume in a group cannot be offered',
        'acceptance is one transaction: [decision 10](decisions/0010-transfers.md)',
    ),
    (
        'limits (`GET /limits`)',
        '`rate` lists rate limits where configured',
        'always empty',
        'API Gateway throttles, by account and by stage',
    ),
)


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
