"""The table of the API: the modules that declare the routes of each path.

A module is imported at the first request of one of its paths, so that a cold start loads only what it serves.
``routes`` returns the whole table, for the template, the documents and the tests.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Mapping

from chalicelib.api.resource import Resource, Route

#: Both forms of a path; the project's id is optional at any version.
PREFIXES = ('/v3', '/v3/{project_id}')

#: Beginning of a path below /v3 -> the modules that declare its routes; the longest match counts. Each module has the
#: path's collection: the first one creates it, the others add to it.
MODULES: Mapping[str, tuple[str, ...]] = {
    '/volumes': ('volumes',),
    '/volumes/{id}/action': ('volume_actions', 'volume_images', 'volume_metadata', 'managing'),
    '/volumes/{id}/metadata': ('volume_metadata',),
    '/volumes/{id}/encryption': ('volume_metadata',),
    '/attachments': ('attachments',),
    '/snapshots': ('snapshots',),
    '/snapshots/{id}/action': ('snapshots', 'managing'),
    '/snapshots/{id}/metadata': ('snapshot_metadata',),
    '/types': ('volume_types',),
    '/types/{id}/extra_specs': ('extra_specs',),
    '/types/{id}/encryption': ('type_encryption',),
    '/qos-specs': ('qos_specs',),
    '/default-types': ('default_types',),
    '/backups': ('backups',),
    '/volume-transfers': ('volume_transfers',),
    '/os-volume-transfer': ('volume_transfers',),
    '/group_types': ('group_types',),
    '/groups': ('groups',),
    '/groups/action': ('group_actions',),
    '/groups/{id}/action': ('group_actions',),
    '/group_snapshots': ('group_snapshots',),
    '/consistencygroups': ('consistencygroups',),
    '/cgsnapshots': ('cgsnapshots',),
    '/backup-schedules': ('backup_schedules',),
    '/os-availability-zone': ('availability_zones',),
    '/os-services': ('services',),
    '/os-services/reconciliation': ('reconciliations',),
    '/os-services/confirm-reconciliation': ('reconciliations',),
    '/os-services/dead-letters': ('dead_letters',),
    '/os-services/get-log': ('log_levels',),
    '/os-services/set-log': ('log_levels',),
    '/clusters': ('clusters',),
    '/os-hosts': ('hosts',),
    '/capabilities': ('capabilities',),
    '/workers': ('workers',),
    '/scheduler-stats': ('scheduler_stats',),
    '/limits': ('limits',),
    '/os-quota-sets': ('quota_sets',),
    '/os-quota-class-sets': ('quota_sets',),
    '/messages': ('messages',),
    '/operations': ('operations',),
    '/extensions': ('extensions',),
    '/resource_filters': ('resource_filters',),
    '/os-volume-manage': ('managing',),
    '/manageable_volumes': ('managing',),
    '/os-snapshot-manage': ('managing',),
    '/manageable_snapshots': ('managing',),
}


def routes_of(path: str) -> list[Route]:
    """Return the routes of one path below /v3 (``/volumes/{id}``); none for an unknown path."""
    beginning = beginning_of(path)
    return [] if beginning is None else [route for route in _resource(beginning).routes if route.path == path]


def routes() -> list[Route]:
    """Return the whole table; imports every module."""
    found = dict.fromkeys([_resource(beginning) for beginning in MODULES])
    return [route for resource in found for route in resource.routes]


def beginning_of(path: str) -> str | None:
    """Return the row of ``MODULES`` for a path."""
    parts = path.split('/')
    beginnings = ('/'.join(parts[:end]) for end in range(len(parts), 1, -1))
    return next((each for each in beginnings if each in MODULES), None)


@functools.cache
def _resource(beginning: str) -> Resource:
    """Import the modules of a row; return their collection, with all routes."""
    modules = [importlib.import_module(f'chalicelib.api.{name}') for name in MODULES[beginning]]
    collection = beginning.split('/')[1]
    named = vars(modules[0]).values()
    return next(each for each in named if isinstance(each, Resource) and each.collection == collection)
