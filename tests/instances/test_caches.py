"""What one instance has just changed, another that remembers the old acts on at once: every cached kind, every reader.

Each cell has instance ``b`` read (and so remember), instance ``a`` change, and ``b`` read again. Nothing waits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.instances.clients import FAST, Client, name
from tests.run_statistics import Counting

On = dict[str, str]
ON_FAST, ON_BIG = {'volume_backend_name': 'fast'}, {'volume_backend_name': 'big'}

#: Reads a type by its name and id: answers its host, True, or the status of a refusal.
Reader = Callable[[Client, Client, str, str], Any]


def _host(answer: dict[str, Any] | int) -> Any:
    return answer if isinstance(answer, int) else answer['os-vol-host-attr:host']


def create_by_name(a: Client, b: Client, type_name: str, id: str) -> Any:
    return _host(b.settled(b.create(type_name)))


def create_by_id(a: Client, b: Client, type_name: str, id: str) -> Any:
    return _host(b.settled(b.create(id)))


def work_of_another(a: Client, b: Client, type_name: str, id: str) -> Any:
    """The instance that changed the type accepts the volume; the one that remembers the old type places it."""
    status, body = a.create(type_name)
    if status != 202:
        return status
    b.instance.call('settle', messages=a.instance.call('take_queue'))
    return _host(b.show(body['volume']['id']))


def retype(a: Client, b: Client, type_name: str, id: str) -> Any:
    volume = b.volume(volume_type=a.create_type(name(), ON_FAST))  # on fast already: retyped in place
    status = b.act(volume, 'os-retype', {'new_type': type_name, 'migration_policy': 'on-demand'})
    if status != 202:
        return status
    b.instance.call('settle', messages=[])
    found = b.show(volume)
    return _host(found) if found['volume_type'] == type_name else 404


def dry_run(a: Client, b: Client, type_name: str, id: str) -> Any:
    status, body = b.ask('POST', '/volumes?dry_run=1', {'volume': {'size': 1, 'volume_type': type_name}})
    return body['placement']['candidates'][0]['host'] if status == 200 else status


def get_pools(a: Client, b: Client, type_name: str, id: str) -> Any:
    status, body = b.ask('GET', f'/scheduler-stats/get_pools?volume_type={type_name}')
    return body['pools'][0]['name'] if status == 200 and len(body['pools']) == 1 else status


def group(a: Client, b: Client, type_name: str, id: str) -> Any:
    kind = b.do('POST', '/group_types', {'group_type': {'name': name()}})['group_type']['id']
    status, body = b.ask('POST', '/groups', {'group': {'group_type': kind, 'volume_types': [type_name]}}, role='member')
    if status != 202:
        return status
    b.instance.call('settle', messages=[])
    volume = b.settled(b.create(type_name, group_id=body['group']['id']))
    b.ask('POST', f'/groups/{body["group"]["id"]}/action', {'delete': {'delete-volumes': True}}, role='member')
    b.instance.call('settle', messages=[])
    return _host(volume)


def default_type(a: Client, b: Client, type_name: str, id: str) -> Any:
    status, _ = b.ask('PUT', f'/default-types/{b.project}', {'default_type': {'volume_type': type_name}})
    if status != 200:
        return status
    volume = b.settled(b.create())
    b.do('DELETE', f'/default-types/{b.project}')
    return _host(volume)


def show(a: Client, b: Client, type_name: str, id: str) -> Any:
    status, body = b.ask('GET', f'/types/{id}')
    return _of_specs(body['volume_type']['extra_specs']) if status == 200 else status


def listed(a: Client, b: Client, type_name: str, id: str) -> Any:
    found = [one for one in b.do('GET', '/types')['volume_types'] if one['name'] == type_name]
    return _of_specs(found[0]['extra_specs']) if found else 404


def shown_specs(a: Client, b: Client, type_name: str, id: str) -> Any:
    status, body = b.ask('GET', f'/types/{id}/extra_specs')
    return _of_specs(body['extra_specs']) if status == 200 else status


def quota_key(a: Client, b: Client, type_name: str, id: str) -> Any:
    status, _ = b.ask('PUT', f'/os-quota-sets/{b.project}', {'quota_set': {f'volumes_{type_name}': 7}})
    return True if status == 200 else 404


def shown_quota(a: Client, b: Client, type_name: str, id: str) -> Any:
    found = b.do('GET', f'/os-quota-sets/{b.project}')['quota_set']
    return True if f'volumes_{type_name}' in found else 404


def _of_specs(specs: On) -> str:
    return f'cinderless@{specs["volume_backend_name"]}#pool'


TYPE_READERS: tuple[Reader, ...] = (
    create_by_name, create_by_id, work_of_another, retype, dry_run, get_pools, group, default_type, show, listed,
    shown_specs, quota_key, shown_quota,
)  # fmt: skip

#: Readers to whom the name alone means nothing.
BY_ID = (create_by_id, show, shown_specs)


def remember(b: Client, type_name: str = '') -> None:
    """Have the second instance fill its caches."""
    b.do('GET', '/types')
    b.ask('POST', '/volumes?dry_run=1', {'volume': {'size': 1, **({'volume_type': type_name} if type_name else {})}})
    b.ask('POST', '/volumes?dry_run=1', {'volume': {'size': 1, 'availability_zone': 'nova'}})
    b.do('GET', f'/os-quota-sets/{b.project}')


def agrees(found: Any, wanted: Any) -> bool:
    """True accepts any host; the refusal of a deleted record may be 400 or 404."""
    if wanted == 404:
        return found in (400, 404)
    return found is True or found == wanted


@pytest.mark.parametrize('reader', TYPE_READERS, ids=lambda reader: reader.__name__)
def test_types(clients: tuple[Client, Client], reader: Reader, counted: Counting) -> None:
    a, b = clients
    b.set_quota(volumes=-1, gigabytes=-1, groups=-1)
    violations = [
        (change, found, wanted)
        for change in TYPE_CHANGES
        for found, wanted in TYPE_CHANGES[change](a, b, reader)
        if not agrees(found, wanted)
    ]
    counted('cells of types changed by another instance', len(TYPE_CHANGES))
    counted('violations', len(violations))
    assert violations == []


def _created(a: Client, b: Client, reader: Reader) -> Iterator[tuple[Any, Any]]:
    remember(b)
    made = name()
    id = a.create_type(made, ON_FAST)
    yield reader(a, b, made, id), FAST


def _changed(a: Client, b: Client, reader: Reader) -> Iterator[tuple[Any, Any]]:
    made = name()
    id = a.create_type(made, ON_BIG)
    remember(b, made)
    a.do('PUT', f'/types/{id}/extra_specs/volume_backend_name', ON_FAST)
    yield reader(a, b, made, id), FAST


def _deleted(a: Client, b: Client, reader: Reader) -> Iterator[tuple[Any, Any]]:
    made = name()
    id = a.create_type(made, ON_FAST)
    remember(b, made)
    a.do('DELETE', f'/types/{id}')
    yield reader(a, b, made, id), 404


def _replaced(a: Client, b: Client, reader: Reader) -> Iterator[tuple[Any, Any]]:
    """Another type has the name now."""
    made = name()
    old = a.create_type(made, ON_BIG)
    remember(b, made)
    a.do('DELETE', f'/types/{old}')
    yield reader(a, b, made, a.create_type(made, ON_FAST)), FAST


def _renamed(a: Client, b: Client, reader: Reader) -> Iterator[tuple[Any, Any]]:
    old, new = name(), name()
    id = a.create_type(old, ON_FAST)
    remember(b, old)
    a.do('PUT', f'/types/{id}', {'volume_type': {'name': new}})
    if reader not in BY_ID:
        yield reader(a, b, old, id), 404
    yield reader(a, b, new, id), FAST


def _hidden(a: Client, b: Client, reader: Reader) -> Iterator[tuple[Any, Any]]:
    """A member may not use it any more."""
    if reader not in (create_by_name, create_by_id, work_of_another, group):
        return
    made = name()
    id = a.create_type(made, ON_FAST)
    remember(b, made)
    a.do('PUT', f'/types/{id}', {'volume_type': {'is_public': False}})
    yield reader(a, b, made, id), 404
    a.do('POST', f'/types/{id}/action', {'addProjectAccess': {'project': a.project}})
    yield reader(a, b, made, id), FAST


def _relaxed(a: Client, b: Client, reader: Reader) -> Iterator[tuple[Any, Any]]:
    """A refusal by what is remembered of a type is none: no transaction would notice it."""
    if reader not in (create_by_name, create_by_id, work_of_another, retype, group, default_type):
        return
    made = name()
    id = a.create_type(made, {**ON_FAST, 'provisioning:min_vol_size': '5'})
    b.ask('POST', '/volumes', {'volume': {'size': 1, 'volume_type': made}}, role='member')  # refused, and remembered
    a.do('DELETE', f'/types/{id}/extra_specs/provisioning:min_vol_size')
    yield reader(a, b, made, id), FAST


TYPE_CHANGES: dict[str, Callable[[Client, Client, Reader], Iterator[tuple[Any, Any]]]] = {
    'created': _created,
    'changed': _changed,
    'deleted': _deleted,
    'replaced': _replaced,
    'renamed': _renamed,
    'hidden and shown': _hidden,
    'relaxed': _relaxed,
}
