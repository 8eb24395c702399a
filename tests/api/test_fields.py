"""Which members a response has, by version and by the caller's role: small tables in the project's own words."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from pynamodb.attributes import UnicodeAttribute

from chalicelib import models
from chalicelib.api.request import Request
from chalicelib.api.views import backups, groups, snapshots, volumes
from chalicelib.context import Context
from chalicelib.models import base
from chalicelib.models.pool import service_uuid
from tests.api.front_door import Caller, FrontDoor


def words(text: str) -> set[str]:
    return set(text.split())


VOLUME = words(
    'id status size availability_zone created_at updated_at name description volume_type snapshot_id source_volid '
    'metadata links user_id bootable encrypted replication_status consistencygroup_id multiattach attachments'
)
SNAPSHOT = words('id created_at updated_at name description volume_id status size metadata')
BACKUP = words(
    'id status size object_count availability_zone container created_at updated_at name description fail_reason '
    'volume_id links is_incremental has_dependent_backups snapshot_id data_timestamp'
)

#: Member -> (version that it came with, whether only administrators see it).
VOLUME_LATER = {
    'migration_status': ('3.0', True),
    'os-vol-tenant-attr:tenant_id': ('3.0', False),
    'os-vol-mig-status-attr:migstat': ('3.0', True),
    'os-vol-mig-status-attr:name_id': ('3.0', True),
    'os-vol-host-attr:host': ('3.0', True),
    'group_id': ('3.13', False),
    'provider_id': ('3.21', True),
    'shared_targets': ('3.48', False),
    'service_uuid': ('3.48', False),
    'cluster_name': ('3.61', True),
    'volume_type_id': ('3.63', False),
    'encryption_key_id': ('3.64', False),
    'consumes_quota': ('3.65', False),
    'volume_image_metadata': ('3.0', False),
}
SNAPSHOT_LATER = {
    'os-extended-snapshot-attributes:project_id': ('3.0', False),
    'os-extended-snapshot-attributes:progress': ('3.0', False),
    'group_snapshot_id': ('3.14', False),
    'user_id': ('3.41', False),
    'consumes_quota': ('3.65', False),
}
BACKUP_LATER = {
    'os-backup-project-attr:project_id': ('3.18', True),
    'metadata': ('3.43', False),
    'user_id': ('3.56', True),
    'encryption_key_id': ('3.64', False),
}

TABLES = {
    'volume': (VOLUME, VOLUME_LATER),
    'snapshot': (SNAPSHOT, SNAPSHOT_LATER),
    'backup': (BACKUP, BACKUP_LATER),
}

#: What each of them must have for all its members to show.
FACTS = {
    'volume': {'encryption_key_id': str(uuid.uuid4()), 'volume_image_metadata': {'image_id': 'x'}},
    'snapshot': {},
    'backup': {'encryption_key_id': str(uuid.uuid4())},
}


def minor(version: str) -> int:
    return int(version.partition('.')[2])


def turns(kind: str) -> list[int]:
    """The versions before and at every change, and both ends."""
    changes = {minor(since) for since, _ in TABLES[kind][1].values()}
    return sorted({0, 71} | changes | {max(0, change - 1) for change in changes})


CASES = [(kind, at, role) for kind in TABLES for at in turns(kind) for role in ('member', 'admin')]


@pytest.mark.parametrize(('kind', 'at', 'role'), CASES)
def test_members_of_show_and_of_the_detailed_list(
    door: FrontDoor, project: str, make: Any, kind: str, at: int, role: str
) -> None:
    always, later = TABLES[kind]
    expected = always | {
        name for name, (since, admin) in later.items() if minor(since) <= at and (role == 'admin' or not admin)
    }
    record = getattr(make, kind)(**FACTS[kind])
    caller = door.caller(role, project)
    shown = caller.get(f'/{kind}s/{record.id}', at=f'3.{at}').body[kind]
    (listed,) = caller.get(f'/{kind}s/detail', at=f'3.{at}').body[f'{kind}s']
    assert set(shown) == expected
    assert listed == shown


def test_what_stays_hidden_when_it_is_not_there(member: Caller, make: Any) -> None:
    volume = make.volume(encryption_key_id='00000000-0000-0000-0000-000000000000')
    shown = member.get(f'/volumes/{volume.id}', at='3.71').body['volume']
    assert shown['encrypted'] is True
    assert not {'encryption_key_id', 'volume_image_metadata'} & set(shown)


def test_create_answers_less_than_show(admin: Caller) -> None:
    created = admin.post('/volumes', {'volume': {'size': 1}}, at='3.71').body['volume']
    assert not [name for name in created if ':' in name]
    assert 'migration_status' in created


def test_a_volume_names_its_service(admin: Caller, make: Any) -> None:
    placed, new = make.volume(host='host@lvm#pool'), make.volume(host=None)
    shown = {id: admin.get(f'/volumes/{id}', at='3.48').body['volume']['service_uuid'] for id in (placed.id, new.id)}
    assert shown == {placed.id: service_uuid('cinder-volume', 'host@lvm'), new.id: None}


@pytest.mark.parametrize(
    ('stored', 'at', 'shown'),
    [(None, '3.48', True), (None, '3.68', True), (None, '3.69', None), (False, '3.68', False), (False, '3.69', False)],
)
def test_shared_targets(member: Caller, make: Any, stored: bool | None, at: str, shown: bool | None) -> None:
    volume = make.volume(shared_targets=stored)
    assert member.get(f'/volumes/{volume.id}', at=at).body['volume']['shared_targets'] is shown


@pytest.mark.parametrize(
    ('stored', 'shown'),
    [
        ('managing', 'creating'),
        ('error_managing', 'error'),
        ('error_managing_deleting', 'deleting'),
        ('error', 'error'),
    ],
)
def test_statuses_shown_under_another_word(member: Caller, make: Any, stored: str, shown: str) -> None:
    volume = make.volume(status=stored)
    assert member.get(f'/volumes/{volume.id}').body['volume']['status'] == shown


def test_bootable_is_a_text(member: Caller, make: Any) -> None:
    shown = [member.get(f'/volumes/{make.volume(bootable=b).id}').body['volume']['bootable'] for b in (True, False)]
    assert shown == ['true', 'false']


def test_dates_have_six_digits_and_no_zone(member: Caller, make: Any) -> None:
    volume = make.volume(created_at='2026-11-22T00:40:09.000000')
    shown = member.get(f'/volumes/{volume.id}').body['volume']
    assert (shown['created_at'], shown['updated_at']) == ('2026-11-22T00:40:09.000000', None)


def test_visible_administrative_metadata_is_among_the_users(member: Caller, make: Any) -> None:
    volume = make.volume(metadata={'k': 'v'}, admin_metadata={'readonly': 'True', 'secret': 'x'})
    assert member.get(f'/volumes/{volume.id}').body['volume']['metadata'] == {'k': 'v', 'readonly': 'True'}
    assert member.get(f'/volumes/{volume.id}/metadata').body['metadata'] == {'k': 'v'}


@pytest.mark.parametrize(('role', 'service', 'has_host'), [('member', None, False), ('admin', None, True),
                                                       ('member', 'service@s', True)])  # fmt: skip
def test_the_host_of_an_attachment(
    door: FrontDoor, project: str, make: Any, role: str, service: str | None, has_host: bool
) -> None:
    volume, attachment = make.attached()
    answer = door.caller(role, project).get(f'/volumes/{volume.id}', headers={'X-Service-Token': service})
    (shown,) = answer.body['volume']['attachments']
    assert shown == {
        'id': volume.id,
        'attachment_id': attachment.id,
        'volume_id': volume.id,
        'server_id': attachment.instance_id,
        'host_name': 'compute1' if has_host else None,
        'device': '/dev/vdb',
        'attached_at': attachment.attached_at,
    }


def test_a_reservation_is_no_attachment_yet(member: Caller, make: Any) -> None:
    volume = make.volume()
    make.attachment(volume)
    assert member.get(f'/volumes/{volume.id}').body['volume']['attachments'] == []


@pytest.mark.parametrize('role', ['member', 'admin'])
@pytest.mark.parametrize('kind', [models.Volume, models.Snapshot, models.Backup, models.Group])
def test_members_have_the_order_and_values_of_their_fields(kind: type[base.Record], role: str) -> None:
    view = {'Volume': volumes, 'Snapshot': snapshots, 'Backup': backups, 'Group': groups}[kind.__name__].DETAIL
    record = kind.from_raw_data({})
    for number, (name, declared) in enumerate(kind.get_attributes().items()):
        if isinstance(declared, UnicodeAttribute) and number % 3:
            record.attribute_values[name] = f'{name} of it'
    context = Context(user_id='user', project_id='project', roles=frozenset({role}), microversion=(3, 70))
    request = Request(context, None, {}, {}, 'http://host', None)
    fields = [each for each in view.fields if each.shown(request) and (each.when is None or each.when(record))]
    fields.sort(key=lambda each: each.when is not None)
    shown = view.of(request)(record)
    assert list(shown.items()) == [(each.name, each.value(record, request)) for each in fields]
