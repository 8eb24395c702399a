"""Policy overrides at the API: what rules are about, and what they can never allow."""

from __future__ import annotations

import json
import types
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from chalicelib import aws, config, errors
from chalicelib.operations import cloud
from tests.api.front_door import Caller, FrontDoor
from tests.api.records import Records

Set = Callable[..., None]

OWN_ALONE = 'project_id:%(project_id)s and user_id:%(user_id)s'


@pytest.fixture
def overrides(door: FrontDoor, monkeypatch: pytest.MonkeyPatch) -> Iterator[Set]:
    """Sets the overrides of this deployment."""

    def put(**rules: Any) -> None:
        text = json.dumps({name.replace('__', ':'): rule for name, rule in rules.items()})
        monkeypatch.setenv('POLICY_OVERRIDES', text)
        config.settings.cache_clear()

    yield put
    monkeypatch.undo()
    config.settings.cache_clear()


@pytest.fixture
def manager(door: FrontDoor, project: str) -> Caller:
    """Another user of the project."""
    return door.caller('manager', project)


def test_a_rule_is_about_the_users_own_volume(overrides: Set, member: Caller, manager: Caller, make: Records) -> None:
    volume = make.volume(user_id='user-member')
    overrides(volume__update=OWN_ALONE, volume__create_snapshot=OWN_ALONE, volume__force_delete='@')
    body, snapshot = {'volume': {'name': 'x'}}, {'snapshot': {'volume_id': volume.id}}

    assert manager.put(f'/volumes/{volume.id}', body).status == 403
    assert manager.post('/snapshots', snapshot).status == 403
    assert member.put(f'/volumes/{volume.id}', body).status == 200
    assert member.post('/snapshots', snapshot).status == 202
    assert manager.get(f'/volumes/{volume.id}').status == 200


def test_a_volume_that_may_not_be_shown_does_not_exist(
    overrides: Set, member: Caller, manager: Caller, admin: Caller, make: Records
) -> None:
    """Cinder answers 404, for what is done to it and for what is made from it."""
    volume = make.volume(user_id='user-member', size=1)
    snapshot = make.snapshot(volume, user_id='user-member')
    overrides(volume__get=OWN_ALONE, volume__get_snapshot=OWN_ALONE)

    for caller in (manager, admin):
        assert caller.get(f'/volumes/{volume.id}').status == 404
        assert caller.act(f'/volumes/{volume.id}', 'os-extend', {'new_size': 2}).status == 404
        assert caller.post('/snapshots', {'snapshot': {'volume_id': volume.id}}).status == 404
        assert caller.post('/backups', {'backup': {'volume_id': volume.id}}).status == 404
        assert caller.post('/volumes', {'volume': {'source_volid': volume.id, 'size': 1}}).status == 403
        assert caller.post('/volumes', {'volume': {'snapshot_id': snapshot.id, 'size': 1}}).status == 403
        assert caller.delete(f'/snapshots/{snapshot.id}').status == 403
    assert member.post('/volumes', {'volume': {'source_volid': volume.id, 'size': 1}}).status == 202


def test_an_open_rule_opens_no_other_project(overrides: Set, stranger: Caller, make: Records) -> None:
    """As in Cinder: the rule passes, and the record is not found. A volume and one that never existed are alike."""
    volume, backup = make.volume(), make.backup(make.volume())
    names = ('get', 'get_all', 'update', 'delete', 'extend', 'force_delete', 'create_snapshot', 'attachment_create')
    overrides(**{f'volume__{name}': '@' for name in names}, backup__get='@', backup__delete='', admin_api='@')

    for method, path, body in (
        ('GET', f'/volumes/{volume.id}', None),
        ('PUT', f'/volumes/{volume.id}', {'volume': {'name': 'x'}}),
        ('DELETE', f'/volumes/{volume.id}?force=true', None),
        ('POST', f'/volumes/{volume.id}/action', {'os-extend': {'new_size': 9}}),
        ('POST', f'/volumes/{volume.id}/action', {'os-force_delete': None}),
        ('POST', f'/volumes/{volume.id}/action', {'os-reset_status': {'status': 'error'}}),
        ('POST', '/snapshots', {'snapshot': {'volume_id': volume.id}}),
        ('POST', '/attachments', {'attachment': {'volume_uuid': volume.id}}),
        ('GET', f'/backups/{backup.id}', None),
        ('DELETE', f'/backups/{backup.id}', None),
    ):
        answer = stranger.request(method, path, body, at='3.54')
        assert answer.status == 404, (method, path, answer.text)
    assert stranger.get('/volumes?all_tenants=1').body == {'volumes': []}
    assert volume.reload().status == 'available'


def test_a_service_token_is_still_required(
    overrides: Set, member: Caller, make: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cinder's protection against CVE-2023-2088 is not a policy."""
    _, attachment = make.attached()
    nova = types.SimpleNamespace(attachment_of=lambda server, volume: attachment.id)
    monkeypatch.setattr(cloud, 'compute', lambda: nova)
    overrides(volume__attachment_delete='@', volume_extension__volume_actions__detach='@')

    assert member.delete(f'/attachments/{attachment.id}', at='3.27').status == 409


@pytest.mark.parametrize('rule', ['@', 'role:member', 'rule:admin_api'])
def test_administrators_by_override_see_no_log_of_other_projects(
    overrides: Set, member: Caller, stranger: Caller, make: Records, rule: str
) -> None:
    member.post('/volumes', {'volume': {'size': 1}})
    overrides(context_is_admin=rule, admin_api='@', xena_system_admin_or_project_reader='@')

    assert len(member.get('/operations').body['operations']) == 1
    assert stranger.get('/operations?all_tenants=1').body['operations'] == []
    [operation] = member.get('/operations').body['operations']
    assert stranger.get(f'/operations/{operation["id"]}').status == 404


def test_overrides_of_extensions_only_restrict(overrides: Set, member: Caller, reader: Caller, make: Records) -> None:
    backup = make.backup(make.volume())
    overrides(backup__scrub='@', operation__get_all='role:member', xena_system_admin_or_project_member='@')

    assert reader.act(f'/backups/{backup.id}', 'cinderless:scrub', {}).status == 403
    assert reader.get('/operations').status == 403
    assert member.get('/operations').status == 200


def test_an_override_makes_administrators_as_in_cinder(
    overrides: Set, member: Caller, admin: Caller, stranger: Caller, make: Records
) -> None:
    volume = make.volume()
    overrides(context_is_admin=f'project_id:{stranger.project}')

    assert stranger.get('/os-services').status == 200
    assert stranger.act(f'/volumes/{volume.id}', 'os-reset_status', {'status': 'error'}).status == 202
    assert member.get('/os-services').status == 403


def test_fields_of_a_view_follow_their_rules(overrides: Set, member: Caller, admin: Caller, make: Records) -> None:
    volume = make.volume(host='h@b#p')
    overrides(volume_extension__volume_host_attribute='role:reader', volume_extension__volume_tenant_attribute='!')

    shown = member.get(f'/volumes/{volume.id}').body['volume']
    assert shown['os-vol-host-attr:host'] == 'h@b#p'
    assert 'os-vol-tenant-attr:tenant_id' not in shown


def test_a_quota_of_another_project_is_shown_by_an_open_rule(
    overrides: Set, member: Caller, stranger: Caller, project: str
) -> None:
    """As in Cinder, whose rule is the only check; a quota has no user to compare."""
    overrides(**{'volume_extension__quotas__show': '@', 'volume_extension__default_get': 'user_id:%(user_id)s'})

    assert stranger.get(f'/os-quota-sets/{project}').status == 200
    assert member.get(f'/default-types/{project}', at='3.62').status == 403


def test_rules_that_no_route_has(overrides: Set, member: Caller, admin: Caller, make: Records) -> None:
    """Cinder checks them in the middle of an operation."""
    kind = make.type(extra_specs={'multiattach': '<is> True'})
    volume, plain = make.volume(multiattach=True, bootable=True, status='in-use', size=1), make.volume()
    overrides(**{f'volume__{name}': 'role:admin' for name in
                 ('multiattach', 'multiattach_bootable_volume', 'extend_attached_volume')})  # fmt: skip

    assert member.post('/volumes', {'volume': {'size': 1, 'volume_type': kind.name}}).status == 403
    assert member.post('/attachments', {'attachment': {'volume_uuid': volume.id}}, at='3.54').status == 403
    assert member.act(f'/volumes/{volume.id}', 'os-extend', {'new_size': 2}, at='3.42').status == 403
    retype = {'new_type': kind.name, 'migration_policy': 'never'}
    assert member.act(f'/volumes/{plain.id}', 'os-retype', retype).status == 403
    assert admin.post('/volumes', {'volume': {'size': 1, 'volume_type': kind.name}}).status == 202


@pytest.mark.parametrize('rule', ['role:admin or', None, 7, 'rule:volume:get_all', 'http://x/', [[7], 7]])
def test_a_rule_that_is_not_usable_denies(overrides: Set, admin: Caller, rule: Any) -> None:
    overrides(volume__get_all=rule)

    assert admin.get('/volumes').status == 403
    assert admin.get('/backups').status == 200


def test_a_document_that_is_none_refuses_every_request(
    overrides: Set, admin: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    for text in ('[]', '{', 'x', 'eA==', '"x"'):
        overrides()
        monkeypatch.setenv('POLICY_OVERRIDES', text)
        config.settings.cache_clear()
        assert admin.get('/volumes').status == 503, text


def test_a_document_that_cannot_be_read_refuses_every_request(
    overrides: Set, admin: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The defaults could allow more."""

    def unreachable(name: str) -> str:
        raise errors.ServiceUnavailable(reason='no answer')

    overrides()
    monkeypatch.setenv('POLICY_OVERRIDES', '/stack/policy-overrides')
    monkeypatch.setattr(aws, 'parameter', unreachable)
    config.settings.cache_clear()
    assert admin.get('/volumes').status == 503
