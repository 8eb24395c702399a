"""Both services compared through their APIs, as an administrator sees them: record by record, field by field."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from cinderless.migration import items
from cinderless.migration.hosts import HostMap
from cinderless.migration.items import Finding

#: Takes a path below the endpoint of the API, with its query; returns the JSON of the answer.
Fetch = Callable[[str], dict[str, Any]]

#: Newest version that Cinder 23 and this service have, so that both views have the same fields.
MICROVERSION = '3.70'

#: Records of one page.
PAGE = 500


class Resource(NamedTuple):
    """A list of the API. ``fields``: those that must be equal; others name the service itself, or its hosts."""

    path: str
    key: str
    fields: tuple[str, ...]


_DESCRIBED = ('id', 'name', 'description', 'created_at', 'metadata')

RESOURCES = (
    Resource(
        'volumes/detail',
        'volumes',
        (
            *(*_DESCRIBED, 'size', 'status', 'user_id', 'bootable', 'encrypted', 'multiattach', 'group_id'),
            *('volume_type', 'volume_type_id', 'snapshot_id', 'source_volid', 'volume_image_metadata'),
            *('availability_zone', 'consumes_quota', 'os-vol-tenant-attr:tenant_id', 'os-vol-mig-status-attr:name_id'),
        ),
    ),
    Resource(
        'snapshots/detail',
        'snapshots',
        (*_DESCRIBED, 'size', 'status', 'volume_id', 'user_id', 'group_snapshot_id', 'consumes_quota'),
    ),
    Resource(
        'attachments/detail',
        'attachments',
        ('id', 'status', 'volume_id', 'instance', 'attach_mode', 'attached_at', 'connection_info'),
    ),
    Resource('groups/detail', 'groups', ('id', 'name', 'description', 'created_at', 'status', 'group_type')),
    Resource('backups/detail', 'backups', (*_DESCRIBED, 'size', 'volume_id', 'container', 'user_id')),
    Resource('volume-transfers/detail', 'transfers', ('id', 'name', 'volume_id', 'created_at')),
    Resource('types', 'volume_types', ('id', 'name', 'description', 'is_public', 'extra_specs', 'qos_specs_id')),
    Resource('qos-specs', 'qos_specs', ('id', 'name', 'consumer', 'specs')),
)

#: Status of a volume here whose data is still with its old backend, and of a backup whose data is not imported.
_ADAPTED = {'volumes': 'maintenance', 'backups': 'error'}


def compare(old: Fetch, new: Fetch, hosts: HostMap) -> Iterator[Finding]:
    """Yield a finding for each record of Cinder that the new API does not have, or shows with another value."""
    projects = set[str]()
    for resource in RESOURCES:
        there = {record['id']: record for record in every(new, resource)}
        for record in every(old, resource):
            if resource.key == 'volumes':
                projects.add(str(record['os-vol-tenant-attr:tenant_id']))
            yield from _differences(resource, record, there.get(record['id']), hosts)
    for project in sorted(projects):
        yield from _compare_limits(old, new, project)


def every(fetch: Fetch, resource: Resource) -> Iterator[dict[str, Any]]:
    """Yield all records of a list, of all projects, page by page."""
    marker = ''
    while True:
        query = f'all_tenants=1&is_public=None&limit={PAGE}' if resource.key == 'volume_types' else _query()
        page = fetch(f'{resource.path}?{query}{marker}')[resource.key]
        yield from page
        if len(page) < PAGE:
            return
        marker = f'&marker={page[-1]["id"]}'


def _query() -> str:
    return f'all_tenants=1&limit={PAGE}'


def _differences(
    resource: Resource, record: Mapping[str, Any], found: Mapping[str, Any] | None, hosts: HostMap
) -> Iterator[Finding]:
    if found is None:
        yield items.left_out(resource.key, record['id'], 'the new API does not have it', 'see the plan for the reason')
        return
    for field in resource.fields:
        before, after = record.get(field), found.get(field)
        if field == 'status' and after == _ADAPTED.get(resource.key):
            continue
        if before != after and (before or after):
            problem = f'{field} is {before!r} in Cinder and {after!r} here'
            yield items.left_out(resource.key, record['id'], problem, 'run again, or see what changed it here')
    host = record.get('os-vol-host-attr:host')
    wanted = hosts.of(str(host)).pool if host else None
    if wanted and found.get('os-vol-host-attr:host') != wanted:  # an unmanaged one has no host until it is copied
        problem = f'it is on {found.get("os-vol-host-attr:host")} instead of {wanted}'
        yield items.left_out(resource.key, record['id'], problem, 'correct the table of backends, or see what moved it')


def _compare_limits(old: Fetch, new: Fetch, project: str) -> Iterator[Finding]:
    """Compare the limits of a project; its usage may differ by what is left out."""
    before, after = (fetch(f'os-quota-sets/{project}')['quota_set'] for fetch in (old, new))
    for name, limit in before.items():
        if name in after and name != 'id' and after[name] != limit:
            problem = f'the limit of {name} is {limit} in Cinder and {after[name]} here'
            yield items.left_out('quota_set', project, problem, 'set it with cinder quota-update')


def of_cloud(name: str) -> Fetch:
    """Return the API of a cloud of clouds.yaml, as openstacksdk reaches it."""
    import openstack

    api = openstack.connect(cloud=name).block_storage

    def fetch(path: str) -> dict[str, Any]:
        answer = api.get(f'/{path}', microversion=MICROVERSION)
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found

    return fetch
