"""Each route checks the rule that Cinder's own policies document for its request; other routes are in tables here."""

from __future__ import annotations

import re

from chalicelib.api.resource import Route
from chalicelib.api.resources import routes
from chalicelib.rules.policies import ANY_AUTHENTICATED
from tests.run_statistics import Counting
from tests.unit.policy_defaults import RULES

#: (method, path, action)
Request = tuple[str, str, str | None]

#: Requests whose documented rule guards fields of the answer, or is checked after that of all services.
OTHER_RULES = {
    ('GET', '/group_types/{}', None): ANY_AUTHENTICATED,
    ('GET', '/limits', None): ANY_AUTHENTICATED,
    ('PUT', '/os-services/freeze', None): 'volume_extension:services:update',
    ('PUT', '/os-services/thaw', None): 'volume_extension:services:update',
    ('PUT', '/os-services/failover_host', None): 'volume_extension:services:update',
}

#: First words of paths that are extensions of this service, or older forms of a resource with the rules of the newer.
WITHOUT_DOCUMENTS = (
    '/backup-schedules', '/consistencygroups', '/cgsnapshots', '/os-volume-manage', '/os-snapshot-manage',
    '/os-services/reconciliation', '/os-services/confirm-reconciliation', '/os-services/dead-letters', '/operations',
)  # fmt: skip

#: Requests that Cinder's policies do not document, or under another path -> the rule that its code checks.
UNDOCUMENTED = {
    **dict.fromkeys(
        [
            ('GET', '/attachments', None), ('GET', '/attachments/detail', None), ('GET', '/attachments/{}', None),
            ('GET', '/group_types', None), ('GET', '/os-availability-zone', None), ('GET', '/extensions', None),
            ('GET', '/extensions/{}', None), ('GET', '/resource_filters', None),
        ],
        ANY_AUTHENTICATED,
    ),
    **dict.fromkeys(
        [('PUT', f'/os-services/{name}', None) for name in
         ('enable', 'disable', 'disable-log-reason', 'get-log', 'set-log')],
        'volume_extension:services:update',
    ),
    **dict.fromkeys([('PUT', '/clusters/enable', None), ('PUT', '/clusters/disable', None)], 'clusters:update'),
    ('PUT', '/volumes/{}', None): 'volume:update',
    ('POST', '/snapshots/{}/action', 'os-update_snapshot_status'):
        'snapshot_extension:snapshot_actions:update_snapshot_status',
    ('PUT', '/snapshots/{}/metadata', None): 'volume:update_snapshot_metadata',
    ('PUT', '/types/{}', None): 'volume_extension:type_update',
    ('DELETE', '/types/{}', None): 'volume_extension:type_delete',
    ('PUT', '/default-types/{}', None): 'volume_extension:default_set_or_update',
    ('GET', '/backups/{}/export_record', None): 'backup:export-import',
    ('POST', '/backups/import_record', None): 'backup:backup-import',
    ('POST', '/backups/{}/action', 'cinderless:scrub'): 'backup:scrub',
    ('POST', '/backups/{}/action', 'cinderless:drill'): 'backup:drill',
    ('POST', '/backups/{}/action', 'cinderless:copy'): 'backup:copy',
    ('POST', '/groups/action', 'create-from-src'): 'group:get',
    ('PUT', '/os-hosts', None): 'volume_extension:hosts',
    ('GET', '/os-quota-sets/{}/defaults', None): 'volume_extension:quotas:show',
}  # fmt: skip


def shape(path: str) -> str:
    """Return a path without names of variables and query, in the spelling of the routes."""
    return re.sub(r'{[^}]*}', '{}', path.partition('?')[0]).rstrip('/').replace('volume_transfers', 'volume-transfers')


def documented() -> dict[Request, set[str]]:
    found: dict[Request, set[str]] = {}
    for name, rule in RULES.items():
        for request in rule['requests']:  # type: ignore[attr-defined]
            method, _, rest = request.partition(' ')
            path, _, action = rest.strip().partition(' (')
            found.setdefault((method, shape(path.strip()), action.strip(' ()') or None), set()).add(name)
    return found


def key_of(route: Route) -> Request:
    return route.method, shape(route.path), route.action


def test_each_route_checks_the_rule_that_cinder_documents(counted: Counting) -> None:
    rules, differing, undocumented = documented(), {}, {}
    for route in routes():
        key = key_of(route)
        if key in rules and route.policy not in rules[key]:
            differing[key] = route.policy
        elif key not in rules and not route.path.startswith(WITHOUT_DOCUMENTS):
            undocumented[key] = route.policy
    counted('routes compared with the rules that Cinder documents', len(routes()))
    assert differing == OTHER_RULES
    assert undocumented == UNDOCUMENTED
