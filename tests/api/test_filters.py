"""Every filter that is advertised matches a record that has the value, and no other; every sort key sorts."""

from __future__ import annotations

import re
import urllib.parse
import uuid
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from chalicelib.api.filters import EXTENSIONS, RESOURCE_FILTERS
from chalicelib.api.openapi import LIST, QUERIES
from chalicelib.models import BackupSchedule, Operation, Snapshot, Transfer, VolumeType, base
from tests.api.front_door import Caller
from tests.api.records import Records

ONE, OTHER = str(uuid.uuid4()), str(uuid.uuid4())


class Case(NamedTuple):
    """A filter's text that one record matches, the facts of that record, and those of one that it does not."""

    text: str
    facts: dict[str, Any]
    others: dict[str, Any]


def plain(name: str, one: Any = 'one', other: Any = 'other', text: str | None = None) -> Case:
    return Case(str(one) if text is None else text, {name: one}, {name: other})


_NAME = plain('name')
_MOMENTS = ('2026-11-20T00:00:00.000000', '2026-11-10T00:00:00.000000')
_METADATA = Case("{'a': '1'}", {'metadata': {'a': '1', 'b': '2'}}, {'metadata': {'a': '2'}})
_NO_QUOTA = plain('consumes_quota', False, True, 'false')

#: Resource -> filter -> case.
CASES: dict[str, dict[str, Case]] = {
    'volume': {
        'name': _NAME,
        'status': plain('status', 'error', 'available'),
        'metadata': _METADATA,
        'bootable': plain('bootable', True, False, 'true'),
        'migration_status': plain('migration_status', 'error', 'success'),
        'availability_zone': plain('availability_zone'),
        'group_id': plain('group_id', ONE, OTHER),
        'size': plain('size', 7, 8),
        'created_at': plain('created_at', *_MOMENTS, 'gt:2026-11-15T00:00:00'),
        'updated_at': plain('updated_at', *_MOMENTS, 'gt:2026-11-15T00:00:00'),
        'consumes_quota': _NO_QUOTA,
    },
    'backup': {
        'name': _NAME, 'status': plain('status', 'error', 'available'), 'volume_id': plain('volume_id', ONE, OTHER),
    },
    'snapshot': {
        'name': _NAME,
        'status': plain('status', 'error', 'available'),
        'volume_id': plain('volume_id', ONE, OTHER),
        'metadata': _METADATA,
        'availability_zone': Case('one', {'zone': 'one'}, {'zone': 'other'}),
        'consumes_quota': _NO_QUOTA,
    },
    'group': {'name': _NAME},
    'group_snapshot': {
        'name': _NAME, 'status': plain('status', 'error', 'available'), 'group_id': plain('group_id', ONE, OTHER),
    },
    'attachment': {
        'volume_id': plain('volume_id', ONE, OTHER),
        'status': plain('attach_status', 'attached', 'reserved'),
        'instance_id': plain('instance_id', ONE, OTHER),
        'attach_status': plain('attach_status', 'attached', 'reserved'),
    },
    'message': {
        'resource_uuid': plain('resource_uuid', ONE, OTHER),
        'resource_type': plain('resource_type', 'VOLUME', 'VOLUME_BACKUP'),
        'event_id': Case('VOLUME_VOLUME_001_003', {'detail_id': '003'}, {'detail_id': '004'}),
        'request_id': plain('request_id'),
        'message_level': Case('ERROR', {}, {}),
    },
    'pool': {'name': plain('id', 'host@lvm#one', 'host@lvm#other'), 'volume_type': Case('one', {}, {})},
    'volume_type': {
        'is_public': plain('is_public', False, True, 'false'),
        'extra_specs': Case("{'a': 'b'}", {'extra_specs': {'a': 'b'}}, {'extra_specs': {'a': 'c'}}),
    },
    'backup_schedule': {'name': _NAME, 'volume_id': plain('volume_id', ONE, OTHER)},
    'operation': {
        'resource_id': plain('resource_id', ONE, OTHER),
        'resource_type': plain('resource_type', 'volume', 'backup'),
        'action': plain('action', 'create', 'delete'),
        'status': Case('failed', {'end': {'failed': True}}, {'end': {'failed': False}}),
        'since': Case('2026-11-15T00:00:00', {'created_at': _MOMENTS[0]}, {'created_at': _MOMENTS[1]}),
    },
    'transfer': {'name': _NAME, 'volume_id': plain('volume_id', ONE, OTHER)},
}  # fmt: skip

PATHS = {
    'volume': 'volumes', 'backup': 'backups', 'snapshot': 'snapshots', 'group': 'groups',
    'group_snapshot': 'group_snapshots', 'attachment': 'attachments', 'message': 'messages', 'volume_type': 'types',
    'backup_schedule': 'backup-schedules', 'transfer': 'volume-transfers',
    'operation': 'operations',
}  # fmt: skip

#: Tested on their own: a filter that every record matches, and the list of pools.
ALONE = {('message', 'message_level'), ('pool', 'name'), ('pool', 'volume_type')}


def _schedule(make: Records, **facts: Any) -> BackupSchedule:
    usual = {'created_at': base.now(), 'user_id': 'u', 'volume_id': ONE, 'cron': '0 0 * * *', 'next_run_at': base.now()}
    made: BackupSchedule = make._saved(BackupSchedule, usual | facts)
    return made


def _operation(make: Records, **facts: Any) -> Operation:
    usual = {'created_at': base.now(), 'user_id': 'u', 'resource_id': ONE, 'resource_type': 'volume', 'first': {}}
    made: Operation = make._saved(Operation, usual | facts)
    return made


def _snapshot(make: Records, zone: str = 'nova', **facts: Any) -> Snapshot:
    return make.snapshot(make.volume(availability_zone=zone), **facts)


def _transfer(make: Records, **facts: Any) -> Transfer:
    usual = {'created_at': base.now(), 'user_id': 'u', 'volume_id': ONE, 'salt': 'aa', 'crypt_hash': 'bb'}
    made: Transfer = make._saved(Transfer, usual | facts)
    return made


MAKERS: dict[str, Callable[..., Any]] = {
    'volume': lambda make, **facts: make.volume(**facts),
    'backup': lambda make, **facts: make.backup(**facts),
    'snapshot': _snapshot,
    'group': lambda make, **facts: make.group(**facts),
    'group_snapshot': lambda make, **facts: make.group_snapshot(**facts),
    'attachment': lambda make, **facts: make.attachment(make.volume(), **facts),
    'message': lambda make, **facts: make.message(**facts),
    'volume_type': lambda make, **facts: make.type(**facts),
    'backup_schedule': _schedule,
    'operation': _operation,
    'transfer': _transfer,
}

ADVERTISED = sorted({(kind, name) for kind, names in {**RESOURCE_FILTERS, **EXTENSIONS}.items() for name in names})


def ids(answer: Any) -> list[str]:
    assert answer.status == 200, answer.text
    (rows,) = (value for value in answer.body.values() if isinstance(value, list))
    return [row['id'] for row in rows]


def asked(caller: Caller, kind: str, query: dict[str, str]) -> list[str]:
    return ids(caller.get(f'/{PATHS[kind]}?{urllib.parse.urlencode(query)}', at='3.71'))


def test_every_advertised_filter_has_a_case() -> None:
    assert set(ADVERTISED) <= {(kind, name) for kind, names in CASES.items() for name in names}
    by_path = {path: kind for kind, path in PATHS.items()}
    for (method, path), names in QUERIES.items():
        kind = by_path.get(path.strip('/').partition('/')[0])
        if method == 'GET' and kind in ('backup', 'transfer', 'attachment', 'message') and '{' not in path:
            assert {*names} - {*LIST} <= {*CASES[kind]}, path


@pytest.mark.parametrize(('kind', 'name'), [pair for pair in ADVERTISED if pair not in ALONE])
def test_an_advertised_filter_matches_what_has_the_value_and_nothing_else(
    kind: str, name: str, member: Caller, admin: Caller, make: Records
) -> None:
    case = CASES[kind][name]
    mine = MAKERS[kind](make, **case.facts).id
    MAKERS[kind](make, **case.others)
    caller = admin if kind == 'volume_type' else member
    found = asked(caller, kind, {name: case.text})
    if kind == 'volume_type':  # of all projects
        assert mine in found
        assert {*found} <= {one.id for one in base.every(VolumeType, base.GLOBAL) if _fits(one, case)}
    else:
        assert found == [mine]


def _fits(record: Any, case: Case) -> bool:
    ((name, value),) = case.facts.items()
    known = getattr(record, name)
    return bool(value.items() <= known.items()) if isinstance(value, dict) else bool(known == value)


@pytest.mark.parametrize('name', ['name', 'volume_id', 'source_project_id', 'created_at', 'id'])
@pytest.mark.parametrize('path', ['volume-transfers', 'os-volume-transfer'])
def test_transfers_are_filtered_by_what_they_show(
    name: str, path: str, reader: Caller, make: Records, project: str
) -> None:
    mine = _transfer(make, name='one', volume_id=OTHER)
    _transfer(make, name='two')
    text = project if name == 'source_project_id' else str(getattr(mine, name))
    found = ids(reader.get(f'/{path}?{urllib.parse.urlencode({name: text})}', at='3.71'))
    assert mine.id in found
    assert (len(found) == 2) == (name == 'source_project_id')


@pytest.mark.parametrize('name', ['salt', 'crypt_hash', 'user_id', 'revision', 'schema_version', 'foo', 'salt~'])
@pytest.mark.parametrize('path', ['volume-transfers', 'os-volume-transfer', 'volume-transfers/detail'])
@pytest.mark.parametrize('role', ['reader', 'admin'])
def test_no_other_column_filters_transfers(name: str, path: str, role: str, member: Caller, make: Records) -> None:
    """A caller that could filter by salt and hash could guess both, letter by letter."""
    transfer = _transfer(make)
    text = str(getattr(transfer, name.rstrip('~'), 'x'))
    caller = member.door.caller(role, member.project)
    assert caller.get(f'/{path}?{name}={text}', at='3.71').body['transfers'] == []


@pytest.mark.parametrize('key', ['salt', 'crypt_hash'])
def test_no_secret_sorts(key: str, reader: Caller, admin: Caller) -> None:
    for caller in reader, admin:
        answer = caller.get(f'/volume-transfers?sort={key}', at='3.71')
        assert answer.fault == ('badRequest', 400, 'Invalid input received: Invalid sort key')


def test_no_secret_is_a_filter_of_any_list(admin: Caller, make: Records) -> None:
    _, attachment = make.attached()
    attachment.update(actions=[type(attachment).sealed.set('opaque')])
    assert asked(admin, 'attachment', {'sealed': 'opaque'}) == []
    assert asked(admin, 'attachment', {'volume_id': attachment.volume_id}) == [attachment.id]


def test_each_secret_attribute_is_marked() -> None:
    """Whatever is named like a secret in a table."""
    from chalicelib import models

    for table in models.TABLES:
        if issubclass(table, base.Record):
            named = {name for name in table.get_attributes() if re.search('salt|hash|sealed|secret|password', name)}
            assert named - {'root_hash'} <= table.secret, table.__name__


SORTED = ('volume', 'snapshot', 'backup', 'group', 'group_snapshot', 'attachment', 'message', 'transfer')


@pytest.mark.parametrize('kind', SORTED)
def test_each_sort_key_sorts(kind: str, member: Caller, make: Records) -> None:
    """Every attribute that is taken as a key orders two records by its value, in both directions."""
    first, second = MAKERS[kind](make), MAKERS[kind](make)
    model = type(first)
    keyed = {'project_id', 'id'}
    for name in sorted(set(model.get_attributes()) - keyed):
        if not base.has_order(model, name):
            continue
        for record, value in ((first, 0), (second, 1)):
            setattr(record, name, _value(model, name, value))
            record.save()
        assert asked(member, kind, {'sort': f'{name}:asc'}) == [first.id, second.id], name
        assert asked(member, kind, {'sort': f'{name}:desc'}) == [second.id, first.id], name


def _value(model: Any, name: str, rank: int) -> Any:
    kind = type(model.get_attributes()[name]).__name__
    if kind == 'BooleanAttribute':
        return bool(rank)
    return rank if kind == 'NumberAttribute' else ('2026-01-0' + str(rank + 1) if name.endswith('_at') else 'ab'[rank])


def test_pools_by_name_and_type(admin: Caller, make: Records) -> None:
    make.service()
    make.pool('host@lvm#one')
    make.pool('host@lvm#other')
    try:
        named = admin.get('/scheduler-stats/get_pools?name=host@lvm%23one', at='3.71').body['pools']
        assert [pool['name'] for pool in named] == ['host@lvm#one']
        kind = make.type(extra_specs={'volume_backend_name': 'elsewhere'})
        assert admin.get(f'/scheduler-stats/get_pools?volume_type={kind.name}', at='3.71').body['pools'] == []
        fitting = make.type(extra_specs={'volume_backend_name': 'lvm'})
        assert len(admin.get(f'/scheduler-stats/get_pools?volume_type={fitting.name}', at='3.71').body['pools']) == 2
    finally:
        from tests.api import memory

        memory.empty()


def test_messages_by_level(member: Caller, make: Records) -> None:
    mine = make.message().id
    assert asked(member, 'message', {'message_level': 'ERROR'}) == [mine]
    assert asked(member, 'message', {'message_level': 'INFO'}) == []


@pytest.mark.parametrize('text', ['creating', 'managing'])
def test_a_status_matches_as_it_is_shown_and_as_it_is_stored(text: str, member: Caller, make: Records) -> None:
    mine = make.volume(status='managing').id
    make.volume()
    assert member.get(f'/volumes/{mine}').body['volume']['status'] == 'creating'
    assert asked(member, 'volume', {'status': text}) == [mine]


def test_a_part_of_a_snapshots_zone(admin: Caller, make: Records) -> None:
    mine = _snapshot(make, 'zone-one').id
    _snapshot(make, 'other')
    assert asked(admin, 'snapshot', {'availability_zone~': 'E-ON'}) == [mine]
    assert asked(admin, 'snapshot', {'availability_zone': 'zone'}) == []


#: Texts with the form of a Python literal that Python makes no value of: each raises an error of its own.
NO_LITERALS = ['{[]: 1}', '{[]}', '{{}: 1}', '9' * 5000, '(' * 300, '-' * 3000 + '1', '[' * 5000, '"\x00', "{'a': }"]


@pytest.mark.parametrize('text', NO_LITERALS, ids=range(len(NO_LITERALS)))
@pytest.mark.parametrize(('kind', 'name'), sorted(set(ADVERTISED) - ALONE))
def test_texts_that_are_no_literals(admin: Caller, kind: str, name: str, text: str) -> None:
    """No record matches them, or they are refused."""
    answer = admin.get(f'/{PATHS[kind]}?{urllib.parse.urlencode({name: text})}', at='3.71')
    assert answer.status in (200, 400), answer.text
