"""As test_caches: quotas, default types, QoS specs, encryption, group types, services and zones changed elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.instances.clients import BIG, FAST, Client, name
from tests.instances.test_caches import ON_BIG, ON_FAST, remember
from tests.run_statistics import Counting

#: Yields what was found and what was right, one pair for each cell.
Cells = Callable[[Client, Client], Iterator[tuple[str, Any, Any]]]


def _remember_volume(b: Client) -> str:
    id = b.volume()
    remember(b)
    return id


def _status(answer: tuple[int, Any]) -> int:
    return answer[0]


def _group(b: Client) -> int:
    kind = b.do('POST', '/group_types', {'group_type': {'name': name()}})['group_type']['id']
    body = {'group': {'group_type': kind, 'volume_types': ['__DEFAULT__']}}
    return _status(b.ask('POST', '/groups', body, role='member'))


def _snapshot(b: Client, volume: str) -> int:
    status = _status(b.ask('POST', '/snapshots', {'snapshot': {'volume_id': volume}}, role='member'))
    b.instance.call('settle', messages=[])
    return status


def _extend(b: Client, volume: str, size: int) -> int:
    status = b.act(volume, 'os-extend', {'new_size': size}, role='member')
    b.instance.call('settle', messages=[])
    return status


def _limited(b: Client, volume: str) -> dict[str, int]:
    """What each reader of limits answers, in an order in which none hides another."""
    size = b.show(volume)['size']
    return {
        'create': _status(b.create()),
        'snapshot': _snapshot(b, volume),
        'extend': _extend(b, volume, size + 1),
        'group': _group(b),
    }


def _used(a: Client) -> dict[str, int]:
    """Limits that leave nothing: what is in use."""
    found = a.do('GET', f'/os-quota-sets/{a.project}?usage=true')['quota_set']
    return {resource: found[resource]['in_use'] for resource in ('volumes', 'snapshots', 'gigabytes', 'groups')}


def project_quota(a: Client, b: Client) -> Iterator[tuple[str, Any, Any]]:
    yield from _quota(a, b, a.set_quota)
    volume = _remember_volume(b)
    a.set_quota(**_used(a))
    a.do('DELETE', f'/os-quota-sets/{a.project}')
    yield from (('deleted', found, 202) for found in _limited(b, volume).values())


def class_quota(a: Client, b: Client) -> Iterator[tuple[str, Any, Any]]:
    try:
        yield from _quota(a, b, a.set_class)
    finally:
        a.set_class(volumes=-1, snapshots=-1, gigabytes=-1, groups=-1, per_volume_gigabytes=-1)


def _quota(a: Client, b: Client, limit: Callable[..., None]) -> Iterator[tuple[str, Any, Any]]:
    volume = _remember_volume(b)
    used = _used(a)
    limit(**used)
    yield from ((f'lowered: {reader}', found, 413) for reader, found in _limited(b, volume).items())
    yield 'lowered: show', b.do('GET', f'/os-quota-sets/{b.project}')['quota_set']['volumes'], used['volumes']
    limit(volumes=50, snapshots=50, gigabytes=500, groups=50)
    yield from ((f'raised: {reader}', found, 202) for reader, found in _limited(b, volume).items())
    limit(per_volume_gigabytes=5)
    yield 'size: create', _status(b.create(size=6)), 413
    yield 'size: extend', _extend(b, volume, 6), 413
    limit(per_volume_gigabytes=-1)
    yield 'size raised: create', _status(b.create(size=6)), 202


def default_type(a: Client, b: Client) -> Iterator[tuple[str, Any, Any]]:
    fast, big = a.create_type(name(), ON_FAST), a.create_type(name(), ON_BIG)
    remember(b)
    for change, chosen, host in (('created', fast, FAST), ('changed', big, BIG), ('changed back', fast, FAST)):
        a.do('PUT', f'/default-types/{a.project}', {'default_type': {'volume_type': chosen}})
        yield f'{change}: create', b.settled(b.create())['os-vol-host-attr:host'], host  # type: ignore[index]
        yield f'{change}: show', b.do('GET', f'/default-types/{b.project}')['default_type']['volume_type_id'], chosen
    a.do('DELETE', f'/default-types/{a.project}')
    yield 'deleted: create', b.settled(b.create())['volume_type'], '__DEFAULT__'  # type: ignore[index]


def encryption(a: Client, b: Client) -> Iterator[tuple[str, Any, Any]]:
    made = name()
    id = a.create_type(made)
    remember(b, made)
    facts = {'provider': 'luks', 'control_location': 'front-end', 'cipher': 'aes-xts-plain64', 'key_size': 256}
    encryption = a.do('POST', f'/types/{id}/encryption', {'encryption': facts})['encryption']
    yield 'created: create', b.settled(b.create(made))['encrypted'], True  # type: ignore[index]
    plain = name()
    id = a.create_type(plain)
    encryption = a.do('POST', f'/types/{id}/encryption', {'encryption': facts})['encryption']
    remember(b, plain)
    a.do('DELETE', f'/types/{id}/encryption/{encryption["encryption_id"]}')
    yield 'deleted: create', b.settled(b.create(plain))['encrypted'], False  # type: ignore[index]


def qos(a: Client, b: Client) -> Iterator[tuple[str, Any, Any]]:
    made = name()
    id = a.create_type(made)
    volume = b.volume(volume_type=made)

    def found() -> Any:
        return b.instance.call('qos_of', project=b.project, id=volume)

    yield 'none', found(), [None, {}]
    body = {'qos_specs': {'name': name(), 'consumer': 'both', 'total_iops_sec': '100'}}
    specs = a.do('POST', '/qos-specs', body)['qos_specs']['id']
    a.do('GET', f'/qos-specs/{specs}/associate?vol_type_id={id}')
    yield 'associated', found()[1], {'total_iops_sec': '100'}
    a.do('PUT', f'/qos-specs/{specs}', {'qos_specs': {'total_iops_sec': '200'}})
    yield 'changed', found()[1], {'total_iops_sec': '200'}
    a.do('GET', f'/qos-specs/{specs}/disassociate?vol_type_id={id}')
    yield 'disassociated', found(), [None, {}]


def group_type(a: Client, b: Client) -> Iterator[tuple[str, Any, Any]]:
    remember(b)
    kind = a.do('POST', '/group_types', {'group_type': {'name': name()}})['group_type']['id']
    body = {'group': {'group_type': kind, 'volume_types': ['__DEFAULT__']}}
    yield 'created', _status(b.ask('POST', '/groups', body, role='member')), 202
    other = a.do('POST', '/group_types', {'group_type': {'name': name()}})['group_type']['id']
    b.do('GET', f'/group_types/{other}')
    a.do('DELETE', f'/group_types/{other}')
    body['group']['group_type'] = other
    yield 'deleted', _status(b.ask('POST', '/groups', body, role='member')), 404


def services(a: Client, b: Client) -> Iterator[tuple[str, Any, Any]]:
    """Disabled, frozen and enabled again. The pool that is preferred otherwise is the one that is closed."""
    only = name()
    a.create_type(only, ON_BIG)
    volume = b.volume(volume_type=only)
    for closing, opening in (('disable', 'enable'), ('freeze', 'thaw')):
        remember(b, only)
        b.instance.call('settle', messages=[])
        a.service(closing, 'cinderless@big')
        try:
            yield f'{closing}: create', b.settled(b.create())['os-vol-host-attr:host'], FAST  # type: ignore[index]
            yield f'{closing}: its only pool', b.settled(b.create(only))['status'], 'error'  # type: ignore[index]
            yield f'{closing}: dry run', _status(b.ask('POST', '/volumes?dry_run=1', {'volume': {'size': 1}})), 200
            accepted = _extend(b, volume, b.show(volume)['size'] + 1)
            grown = accepted == 202 and b.show(volume)['size']
            yield (
                f'{closing}: extend',
                accepted if closing == 'freeze' else bool(grown and grown > 1),
                (400 if closing == 'freeze' else False),
            )
            if closing == 'freeze':
                yield 'freeze: snapshot', _snapshot(b, volume), 400
                yield 'freeze: delete', _status(b.ask('DELETE', f'/volumes/{volume}', role='member')), 400
            body = {'host': 'cinderless@big', 'force_host_copy': False}
            fast = b.volume()
            yield f'{closing}: migrate', b.act(fast, 'os-migrate_volume', body), 400
        finally:
            a.service(opening, 'cinderless@big')
        yield f'{opening}: create', b.settled(b.create(only))['os-vol-host-attr:host'], BIG  # type: ignore[index]
        yield f'{opening}: snapshot', _snapshot(b, volume), 202


def zones(a: Client, b: Client) -> Iterator[tuple[str, Any, Any]]:
    zone, other, host = name('z'), name('z'), f'cinderless@{name("b")}'
    remember(b)
    yield 'unknown', _status(b.create(availability_zone=zone)), 400
    a.instance.call('add_backend', host=host, zone=zone)
    a.instance.call('report')
    b.instance.call('add_backend', host=host, zone=zone)  # the document is shared
    yield 'created', b.settled(b.create(availability_zone=zone))['os-vol-host-attr:host'], f'{host}#pool'  # type: ignore[index]
    a.instance.call('add_backend', host=host, zone=other)
    a.instance.call('report')
    yield 'moved: old', _status(b.create(availability_zone=zone)), 400
    yield 'moved: new', _status(b.create(availability_zone=other)), 202
    a.instance.call('forget_service', host=host)
    yield 'deleted', _status(b.create(availability_zone=other)), 400


@pytest.mark.parametrize(
    'cells',
    [project_quota, class_quota, default_type, encryption, qos, group_type, services, zones],
    ids=lambda cells: cells.__name__,
)
def test_no_reader_acts_on_what_was(clients: tuple[Client, Client], cells: Cells, counted: Counting) -> None:
    a, b = clients
    if cells not in (project_quota, class_quota):
        b.set_quota(volumes=-1, gigabytes=-1, snapshots=-1, groups=-1)
    found = list(cells(a, b))
    violations = [one for one in found if one[1] != one[2]]
    counted(f'cells of {cells.__name__} changed by another instance', len(found))
    counted('violations', len(violations))
    assert violations == []
