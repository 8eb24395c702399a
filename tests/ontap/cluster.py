"""Who may reach LUNs: initiator groups, maps, CHAP credentials, sessions; and QoS policies."""

from __future__ import annotations

import re
from typing import Any

from tests.ontap.errors import OntapError
from tests.ontap.luns import Luns, unit
from tests.ontap.queries import Record
from tests.ontap.state import Scope, identified, only, refuse

_IQN = re.compile(r'iqn\.\d{4}-\d{2}\.[a-z0-9.-]+(:[a-z0-9.:-]+)?|eui\.[0-9a-fA-F]{16}')
_IGROUP = re.compile(r'[A-Za-z0-9][A-Za-z0-9._:-]{0,95}')


_FIXED = ('max_throughput_iops', 'max_throughput_mbps', 'min_throughput_iops', 'capacity_shared')
_ADAPTIVE = ('expected_iops', 'peak_iops', 'absolute_min_iops')


class Cluster(Luns):
    """One cluster, with all that the routes need of it."""

    def create_igroup(self, scope: Scope, body: Record) -> Record:
        only(body, {'svm.name', 'name', 'protocol', 'os_type', 'initiators', 'comment'})
        svm = self._svm_of(scope, body)
        if 'os_type' not in body:
            raise OntapError('2', 'os_type', 'os_type')
        if not _IGROUP.fullmatch(body.get('name', '')):
            raise OntapError('5373958', target='name')
        if any(one['name'] == body['name'] and one['svm'] == svm for one in self.igroups):
            raise OntapError('5374023', target='name')
        members = [{'name': str(one['name']).lower()} for one in body.get('initiators', [])]
        for member in members:
            _check_initiator(member['name'])
        igroup = identified(
            name=body['name'], svm=svm, protocol=body.get('protocol', 'mixed'), os_type=body['os_type'],
            initiators=members,
        )  # fmt: skip
        self.igroups.append(igroup)
        return igroup

    def delete_igroup(self, scope: Scope, igroup_uuid: str, mapped_too: bool) -> None:
        igroup = self._one(self.igroups, scope, igroup_uuid, '5374852')
        maps = [one for one in self.maps if one['igroup']['uuid'] == igroup_uuid]
        if maps and not mapped_too:
            raise OntapError('1254213')
        for one in maps:
            self._remove_map(one)
        self.igroups.remove(igroup)

    def add_initiator(self, scope: Scope, igroup_uuid: str, body: Record) -> None:
        only(body, {'name'})
        igroup = self._one(self.igroups, scope, igroup_uuid, '5374852')
        _check_initiator(body['name'])
        if {'name': body['name']} in igroup['initiators']:
            raise OntapError('1')
        igroup['initiators'].append({'name': body['name']})
        for entry in self.maps:
            if entry['igroup']['uuid'] == igroup_uuid:
                lun = next(one for one in self.luns if one['uuid'] == entry['lun']['uuid'])
                self.disks.show(body['name'], entry['logical_unit_number'], unit(lun))

    def remove_initiator(self, scope: Scope, igroup_uuid: str, name: str, mapped_too: bool) -> None:
        igroup = self._one(self.igroups, scope, igroup_uuid, '5374852')
        if {'name': name} not in igroup['initiators']:
            raise OntapError('5374034')
        maps = [one for one in self.maps if one['igroup']['uuid'] == igroup_uuid]
        if maps and not mapped_too:
            raise OntapError('1254213')
        igroup['initiators'].remove({'name': name})
        for one in maps:
            self.disks.hide(name, one['logical_unit_number'])

    def create_map(self, scope: Scope, body: Record) -> Record:
        only(body, {'svm.name', 'lun.name', 'lun.uuid', 'igroup.name', 'igroup.uuid', 'logical_unit_number'})
        svm = self._svm_of(scope, body)
        lun = self._named(self.luns, svm, body.get('lun'), '5374901', '5374875')
        igroup = self._named(self.igroups, svm, body.get('igroup'), '5374902', '5374878')
        self._refuse_copying(lun)
        members = {one['name'] for one in igroup['initiators']}
        near = [one for one in self.maps if members & self._members(one)]
        if any(one['lun']['uuid'] == lun['uuid'] and one['igroup']['uuid'] == igroup['uuid'] for one in self.maps):
            raise OntapError('1254207')
        if any(one['lun']['uuid'] == lun['uuid'] for one in near):
            raise OntapError('x-initiator')
        taken = {one['logical_unit_number'] for one in near}
        number = int(body.get('logical_unit_number', next(n for n in range(4096) if n not in taken)))
        if number in taken:
            raise OntapError('x-number')
        if not 0 <= number <= 4095:
            raise OntapError('262197', 'logical_unit_number', 'logical_unit_number')
        entry = {
            'svm': svm,
            'lun': {'name': lun['name'], 'uuid': lun['uuid']},
            'igroup': {'name': igroup['name'], 'uuid': igroup['uuid']},
            'logical_unit_number': number,
        }
        for member in members:
            self.disks.show(member, number, unit(lun))
        self.maps.append(entry)
        return entry

    def delete_map(self, scope: Scope, lun_uuid: str, igroup_uuid: str) -> None:
        self.lun(scope, lun_uuid)
        self._one(self.igroups, scope, igroup_uuid, '5374878')
        found = [one for one in self.maps if (one['lun']['uuid'], one['igroup']['uuid']) == (lun_uuid, igroup_uuid)]
        self._remove_map(found[0] if found else refuse('5374922'))

    def create_credentials(self, scope: Scope, body: Record) -> Record:
        only(body, {'svm.name', 'initiator', 'authentication_type', 'chap.inbound.user', 'chap.inbound.password'})
        svm, initiator = self._svm_of(scope, body), str(body.get('initiator', '')).lower()
        _check_initiator(initiator)
        if any(one['initiator'] == initiator and one['svm'] == svm for one in self.credentials):
            raise OntapError('5374142')
        account = _account(body)
        record = {'svm': svm, 'initiator': initiator, 'authentication_type': body['authentication_type']}
        self.credentials.append(record)
        self._set_account(record, account)
        return record

    def change_credentials(self, scope: Scope, svm_uuid: str, initiator: str, body: Record) -> None:
        only(body, {'authentication_type', 'chap.inbound.user', 'chap.inbound.password'})
        record = self._credentials(scope, svm_uuid, initiator)
        self._set_account(record, _account({'authentication_type': record['authentication_type'], **body}))

    def delete_credentials(self, scope: Scope, svm_uuid: str, initiator: str) -> None:
        if initiator == 'default':
            raise OntapError('5374148')
        record = self._credentials(scope, svm_uuid, initiator)
        self.credentials.remove(record)
        self._set_account(record, None)

    def sessions(self) -> list[Record]:
        return [
            {
                'svm': self.svm('svm1'),
                'initiator': {'name': name},
                'target_portal_group': 'iscsi_0',
                'tsih': number,
                'igroups': [
                    {'name': group['name'], 'uuid': group['uuid']}
                    for group in self.igroups
                    if {'name': name} in group['initiators']
                ],
            }
            for number, name in enumerate(self.disks.initiators())
        ]

    def create_policy(self, scope: Scope, body: Record) -> Record:
        only(body, {'svm.name', 'name', *(f'fixed.{one}' for one in _FIXED), *(f'adaptive.{one}' for one in _ADAPTIVE)})
        svm = self._svm_of(scope, body)
        if ('fixed' in body) == ('adaptive' in body) or not body.get('name'):
            raise OntapError('2', 'fixed or adaptive')
        if any(one['name'] == body['name'] and one['svm'] == svm for one in self.policies):
            raise OntapError('8454273', target='name')
        if 'adaptive' in body and not {'expected_iops', 'peak_iops'} <= set(body['adaptive']):
            raise OntapError('2', 'adaptive')
        policy = identified(**{**body, 'svm': svm})
        self.policies.append(policy)
        return policy

    def delete_policy(self, scope: Scope, policy_uuid: str) -> None:
        policy = self._one(self.policies, scope, policy_uuid, '4')
        if any(lun.get('qos_policy', {}).get('uuid') == policy_uuid for lun in self.luns):
            raise OntapError('x-policy')
        self.policies.remove(policy)

    def _named(self, records: list[Record], svm: Record, what: Any, unnamed: str, missing: str) -> Record:
        if not what:
            raise OntapError(unnamed)
        found = [one for one in records if one['svm'] == svm and all(one[key] == what[key] for key in what)]
        return found[0] if found else refuse(missing)

    def _members(self, entry: Record) -> set[str]:
        igroup = next(one for one in self.igroups if one['uuid'] == entry['igroup']['uuid'])
        return {one['name'] for one in igroup['initiators']}

    def _remove_map(self, entry: Record) -> None:
        for member in self._members(entry):
            self.disks.hide(member, entry['logical_unit_number'])
        self.maps.remove(entry)

    def _credentials(self, scope: Scope, svm_uuid: str, initiator: str) -> Record:
        found = [one for one in self.credentials if (one['svm']['uuid'], one['initiator']) == (svm_uuid, initiator)]
        if not found or scope.svm not in (None, found[0]['svm']['name']):
            raise OntapError('5374895')
        return found[0]

    def _set_account(self, record: Record, account: tuple[str, str] | None) -> None:
        if account:
            record['chap'] = {'inbound': {'user': account[0]}}
            self._passwords[record['initiator']] = account
        self.disks.authenticate(record['initiator'], account)


def _account(body: Record) -> tuple[str, str] | None:
    inbound = body.get('chap', {}).get('inbound', {})
    if body.get('authentication_type') != 'chap':
        if inbound:
            raise OntapError('5374900')
        return None
    if not inbound.get('user') or not inbound.get('password'):
        raise OntapError('5374149')
    return str(inbound['user']), str(inbound['password'])


def _check_initiator(name: str) -> None:
    if not _IQN.fullmatch(name):
        raise OntapError('5373993', target='initiator')
