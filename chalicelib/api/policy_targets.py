"""What policy rules are about: the objects whose attributes policy overrides may compare, as in Cinder.

tests/policies/targets.json has what Cinder passes to each rule. Only deployments with overrides import this module, and
a record's module is imported when a rule compares its attributes.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from chalicelib.api.request import Request
from chalicelib.api.resource import Route
from chalicelib.context import Context
from chalicelib.rules.policies import authorize

Find = Callable[[Context, str], Any]


def _finds(module: str) -> Find:
    """Return the ``get`` of a module of ``operations``, which is imported when it is called."""
    return lambda context, id: importlib.import_module(f'chalicelib.operations.{module}').get(context, id)


_volume, _snapshot, _backup = _finds('volumes'), _finds('snapshots'), _finds('backups')
_group, _group_snapshot, _transfer = _finds('groups'), _finds('group_snapshots'), _finds('transfers')

#: Rules of routes about one object that Cinder checks without it: the caller's own project and user count.
WITHOUT_OBJECT = frozenset({
    'volume:get_transfer', 'volume:accept_transfer', 'volume_extension:volume_actions:upload_image',
})  # fmt: skip

#: Rule -> (what finds its object, where the body has the object's id).
IN_BODY: Mapping[str, tuple[Find, tuple[str, ...]]] = {
    'backup:create': (_volume, ('backup.volume_id',)),
    'group:create_group_snapshot': (_group, ('group_snapshot.group_id', 'cgsnapshot.consistencygroup_id')),
    'snapshot_extension:snapshot_manage': (_volume, ('snapshot.volume_id',)),
    'volume:attachment_create': (_volume, ('attachment.volume_uuid',)),
    'volume:create_snapshot': (_volume, ('snapshot.volume_id',)),
    'volume:create_transfer': (_volume, ('transfer.volume_id',)),
}

#: Rule -> what finds its object by the path's id, where that is not the object of the path.
IN_PATH: Mapping[str, Find] = {
    'volume:delete_transfer': lambda context, id: _volume(context, _transfer(context, id).volume_id)
}

#: Collection -> the rule that Cinder checks first for each of its objects, since it reads the object. By default every
#: caller passes it who passes the route's own.
SHOWN_BY: Mapping[str, str] = {
    'snapshots': 'volume:get_snapshot',
    'backups': 'backup:get',
    'groups': 'group:get',
    'consistencygroups': 'group:get',
    'group_snapshots': 'group:get_group_snapshot',
    'cgsnapshots': 'group:get_group_snapshot',
}

#: Rules of routes on these objects that Cinder reads without that check.
NOT_SHOWN = frozenset({
    'volume_extension:snapshot_admin_actions:reset_status',
    'snapshot_extension:snapshot_actions:update_snapshot_status',
})  # fmt: skip

#: Rule of a route -> {where its body names another object: (the rule for that object, what finds it)}.
NAMED: Mapping[str, Mapping[str, tuple[str, Find]]] = {
    'volume:create': {
        'volume.snapshot_id': ('volume:get_snapshot', _snapshot),
        'volume.source_volid': ('volume:get', _volume),
        'volume.backup_id': ('backup:get', _backup),
        'volume.group_id': ('group:get', _group),
        'volume.consistencygroup_id': ('group:get', _group),
    },
    'backup:create': {'backup.snapshot_id': ('volume:get_snapshot', _snapshot)},
    'backup:restore': {'restore.volume_id': ('volume:get', _volume)},
    'group:get': {
        'source_group_id': ('group:get', _group),
        'group_snapshot_id': ('group:get_group_snapshot', _group_snapshot),
    },
    'group:create': {
        'consistencygroup-from-src.source_cgid': ('group:get', _group),
        'consistencygroup-from-src.cgsnapshot_id': ('group:get_group_snapshot', _group_snapshot),
    },
}


def finder(route: Route, request: Request, ids: Mapping[str, str], rule: str) -> Callable[[], Any] | None:
    """Return the function that finds the object of a route's rule, or of the rule that makes it visible.

    None for a rule without an object. The function reads once, and raises NotFound as the route itself does.
    """
    place = IN_BODY.get(rule if 'id' in ids else route.policy)
    if place is not None:
        find, members = place
        id = next(filter(None, (_member(request.body, member) for member in members)), '')
    else:
        found = IN_PATH.get(rule, route.find)
        if found is None or rule in WITHOUT_OBJECT or 'id' not in ids:
            return None
        find, id = found, ids['id']
    return functools.cache(lambda: find(request.context, id))


def authorize_others(route: Route, request: Request, ids: Mapping[str, str]) -> None:
    """Check what Cinder checks before a route's own rule: that the caller may read its object, and those it names.

    Raises PolicyNotAuthorized, and NotFound.
    """
    for rule, find in _others(route, request, ids):
        authorize(request.context, rule, find=functools.cache(find))


def _others(route: Route, request: Request, ids: Mapping[str, str]) -> Iterator[tuple[str, Callable[[], Any]]]:
    rule = SHOWN_BY.get(route.path.split('/')[1])
    if rule is not None and route.find is not None and route.policy not in NOT_SHOWN:
        yield rule, functools.partial(route.find, request.context, ids['id'])
    for member, (other, find) in NAMED.get(route.policy, {}).items():
        if id := _member(request.body, member):
            yield other, functools.partial(find, request.context, id)


def _member(body: Any, path: str) -> str | None:
    """Return the text at a path of a body; None if there is none."""
    for name in path.split('.'):
        body = body.get(name) if isinstance(body, dict) else None
    return str(body) if body else None
