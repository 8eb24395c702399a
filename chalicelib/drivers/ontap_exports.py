"""Access to LUNs: every initiator sees an SVM's one target, and on it the LUNs that are mapped to its igroup.

* A host has one igroup and one CHAP account for all its volumes; both stay after its last volume, until the comparison
  with the records removes them a day later. The LUN's attributes note which of its exports a host has, so that the map
  is removed with the last of them. A clone inherits its source's attributes: a note counts only on the LUN that it
  names.
* The service's own workers have an initiator, an igroup and an account per export, which are removed with it.
* An account is created before the igroup and the igroup before the map, so an existing map means that all exists.
* LUN numbers are derived from the LUN, instead of the lowest free one: a host that missed a detach does not see
  another volume's data under the old number (OSSA-2023-003).
"""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from chalicelib.drivers.connection_info import letters
from chalicelib.drivers.ontap_client import Client, Record, Refused
from chalicelib.errors import InvalidConnector

#: iqn, eui or naa names of initiators (RFC 3720, section 3.2.6), in their canonical lower case.
_INITIATOR = re.compile(r'iqn\.\d{4}-\d{2}\.[a-z0-9.-]+(:[a-z0-9.:-]+)?|eui\.[0-9a-f]{16}|naa\.[0-9a-f]{16,32}')
_LONGEST_INITIATOR = 223

_WORKER = 'iqn.2010-10.org.openstack:cinderless-'
_HOSTS, _WORKERS = 'cinderless-host-', 'cinderless-path-'
_NOTE = 'cinderless-export-'

#: Codes of NetApp's tables: existing objects, missing objects, and unknown names.
_MAPPED, _HAS_ACCOUNT, _NOTED = '1254207', '5374142', '5374930'
_NO_IGROUP = ('5374852', '5374878')
_NO_MAP, _NO_ACCOUNT, _NO_NOTE, _NO_MEMBER = '5374922', '5374895', '5374931', '5374034'
_IGROUP_EXISTS, _IN_USE = '5374023', '1254213'

_NUMBERS = 4095
_TRIES = 8

#: Seconds for which the SVM's target and portals are cached.
_FRESH = 300.0

IGROUPS = '/protocols/san/igroups'
MAPS = '/protocols/san/lun-maps'
CREDENTIALS = '/protocols/san/iscsi/credentials'
SESSIONS = '/protocols/san/iscsi/sessions'


class Target(NamedTuple):
    """The SVM's iSCSI service."""

    iqn: str
    svm_uuid: str
    addresses: list[str]


class Initiator(NamedTuple):
    """An initiator and its igroup."""

    name: str
    igroup: str


def host(name: Any) -> Initiator:
    """Return a connector's initiator. Raises InvalidConnector."""
    if not name:
        raise InvalidConnector(missing='initiator')
    lower = str(name).lower()
    if len(lower) > _LONGEST_INITIATOR or not _INITIATOR.fullmatch(lower):
        raise InvalidConnector(missing=f'initiator: {str(name)[:60]!r} is not an iSCSI name')
    return Initiator(lower, _HOSTS + _digest(lower))


def worker(object_name: str, export_id: str) -> Initiator:
    """Return the service's own initiator of one export."""
    digest = _digest(f'{object_name}\n{export_id}')
    return Initiator(_WORKER + digest, _WORKERS + digest)


class Exports:
    """Exports of one SVM. All CHAP secrets are derived from ``secret``."""

    def __init__(self, client: Client, secret: str) -> None:
        self._client = client
        self._key = secret.strip().encode()
        self._known: tuple[float, Target] | None = None

    def target(self) -> Target | None:
        """Return the iSCSI service and its portals, disabled ones only if all are; None without a service."""
        if self._known and time.monotonic() < self._known[0]:
            return self._known[1]
        service = self._client.first('/protocols/san/iscsi/services', fields='enabled,target.name')
        lifs = self._client.records('/network/ip/interfaces', services='data_iscsi', fields='ip.address,enabled')
        addresses = [lif['ip']['address'] for lif in lifs if lif['enabled']] or [lif['ip']['address'] for lif in lifs]
        if service is None or not service.get('enabled') or not addresses:
            return None
        target = Target(service['target']['name'], service['svm']['uuid'], addresses)
        self._known = (time.monotonic() + _FRESH, target)
        return target

    def account(self, initiator: str) -> tuple[str, str]:
        """Return CHAP user (20 characters) and secret (16): always the same, and stored in ONTAP only."""
        return self._letters(f'user\n{initiator}', 20), self._letters(f'secret\n{initiator}', 16)

    def add_note(self, lun: Record, export_id: str, initiator: str) -> None:
        """Record that the initiator has this export of the LUN. Overwrites an inherited note."""
        notes, name, value = _notes(lun), _NOTE + export_id, f'{lun["uuid"]} {initiator}'
        if notes.get(export_id) == initiator:
            return
        path = f'/storage/luns/{lun["uuid"]}/attributes'
        try:
            self._client.add(path, {'name': name, 'value': value})
        except Refused as refused:
            if refused.code != _NOTED:
                raise
            self._client.change(f'{path}/{name}', {'value': value})

    def exports(self, lun: Record) -> Mapping[str, str]:
        """Return export id -> initiator, for hosts."""
        return _notes(lun)

    def listed(self, lun: Record) -> list[tuple[str | None, str]]:
        """Return (export id, initiator or igroup) of the LUN's exports: notes, and maps without a note."""
        notes = _notes(lun)
        noted = {host(initiator).igroup for initiator in notes.values()}
        maps = [(None, igroup) for igroup in _igroups(lun) if igroup not in noted]
        return [*notes.items(), *maps]

    def map_lun(self, lun: Record, initiator: Initiator, target: Target) -> int:
        """Map the LUN to the initiator; return its number. One request suffices for a known host."""
        for entry in lun.get('lun_maps', []):
            if entry['igroup']['name'] == initiator.igroup:
                if not initiator.igroup.startswith(_HOSTS):  # an interrupted close may have removed it
                    self._add_initiator(initiator, target)
                return int(entry['logical_unit_number'])
        for is_known in [initiator.igroup.startswith(_HOSTS), False, False]:
            try:
                if not is_known:
                    self._add_initiator(initiator, target)
                return self._map(lun, initiator.igroup)
            except Refused as refused:
                if refused.code not in _NO_IGROUP:
                    raise
        raise self._client.unavailable(f'igroup {initiator.igroup} was removed in the meantime')

    def unmap_lun(self, lun: Record, igroup: str) -> None:
        """Remove the map; sessions lose the LUN at once. A missing one is success."""
        for entry in lun.get('lun_maps', []):
            if entry['igroup']['name'] == igroup:
                self._remove_if_present(f'{MAPS}/{lun["uuid"]}/{entry["igroup"]["uuid"]}', _NO_MAP, *_NO_IGROUP)

    def remove_note(self, lun: Record, export_id: str) -> None:
        """Remove a note. A missing one is success."""
        self._remove_if_present(f'/storage/luns/{lun["uuid"]}/attributes/{_NOTE}{export_id}', _NO_NOTE)

    def remove_worker(self, initiator: Initiator, target: Target) -> None:
        """Remove a worker's igroup, map and account. Missing ones are success.

        The initiator is removed first, and the map, by which a repeat finds the rest, last, with the igroup.
        """
        found = self._client.first(IGROUPS, name=initiator.igroup)
        group, mapped = f'{IGROUPS}/{found["uuid"]}' if found else '', {'allow_delete_while_mapped': 'true'}
        if group:
            self._remove_if_present(f'{group}/initiators/{initiator.name}', _NO_MEMBER, *_NO_IGROUP, **mapped)
        self._remove_if_present(f'{CREDENTIALS}/{target.svm_uuid}/{initiator.name}', _NO_ACCOUNT)
        if group:
            self._remove_if_present(group, *_NO_IGROUP, **mapped)

    def workers(self, lun: Record) -> Iterator[Initiator]:
        """Yield the workers to which the LUN is mapped."""
        for igroup in _igroups(lun):
            if igroup.startswith(_WORKERS):
                yield Initiator(_WORKER + igroup.removeprefix(_WORKERS), igroup)

    def hosts(self, lun: Record) -> list[str]:
        """Return the igroups of hosts to which the LUN is mapped."""
        return [igroup for igroup in _igroups(lun) if igroup.startswith(_HOSTS)]

    def user(self, lun: Record) -> str | None:
        """Return an initiator that has a session and to which the LUN is mapped, or None.

        ONTAP does not report which LUNs a host has open: any LUN mapped to a logged-in host counts as used.
        """
        igroups = _igroups(lun)
        if not igroups:
            return None
        query = {'igroups.name': '|'.join(igroups), 'fields': 'initiator.name'}
        session = self._client.first(SESSIONS, **query)
        return str(session['initiator']['name']) if session else None

    def idle(self) -> list[str]:
        """Return igroups without a map, present or not, whose initiators have an account here or are workers."""
        groups = self._client.records(IGROUPS, name='cinderless-*', fields='initiators.name')
        maps = self._client.records(MAPS, **{'igroup.name': 'cinderless-*', 'fields': 'igroup.name'})
        accounts = {_igroup_of(initiator) for initiator in self._accounts()}
        workers = {str(group['name']) for group in groups if group['name'].startswith(_WORKERS)}
        return sorted((accounts | workers) - {entry['igroup']['name'] for entry in maps})

    def remove_idle(self, igroup: str, target: Target) -> None:
        """Remove an igroup that maps nothing, and its initiators' accounts of this deployment.

        An attachment may run at the same time: ONTAP keeps a mapped igroup, and a new igroup gets its account again.
        """
        found = self._client.first(IGROUPS, name=igroup)
        try:
            if found is not None:
                self._remove_if_present(f'{IGROUPS}/{found["uuid"]}', *_NO_IGROUP)
        except Refused as refused:
            if refused.code != _IN_USE:
                raise
            return
        for initiator in self._accounts():
            if _igroup_of(initiator) == igroup:
                self._remove_if_present(f'{CREDENTIALS}/{target.svm_uuid}/{initiator}', _NO_ACCOUNT)
                if self._client.first(IGROUPS, name=igroup) is not None:
                    self._ensure_account(initiator, target)

    def _accounts(self) -> list[str]:
        """Return the initiators whose account has this deployment's secret."""
        found = self._client.records(CREDENTIALS, fields='chap.inbound.user')
        users = {one['initiator']: one.get('chap', {}).get('inbound', {}).get('user') for one in found}
        return sorted(initiator for initiator, user in users.items() if user == self.account(initiator)[0])

    def _add_initiator(self, initiator: Initiator, target: Target) -> None:
        """Create the account and the igroup of an initiator. ``remove_idle`` may remove them at the same time."""
        self._ensure_account(initiator.name, target)
        members = [{'name': initiator.name}]
        group = {'name': initiator.igroup, 'protocol': 'iscsi', 'os_type': 'linux', 'initiators': members}
        try:
            self._client.make(IGROUPS, group)
        except Refused as refused:
            if refused.code != _IGROUP_EXISTS:
                raise
            self._add_to_igroup(initiator)
            return
        if initiator.igroup.startswith(_HOSTS):
            self._ensure_account(initiator.name, target, again=True)

    def _ensure_account(self, initiator: str, target: Target, *, again: bool = False) -> None:
        """Create the account; ``again``: an existing account was created by this call, so its secret is right."""
        user, secret = self.account(initiator)
        body = {'authentication_type': 'chap', 'chap': {'inbound': {'user': user, 'password': secret}}}
        for _ in range(2):
            try:
                self._client.make(CREDENTIALS, {'initiator': initiator, **body})
                return
            except Refused as refused:
                if refused.code != _HAS_ACCOUNT:
                    raise
            try:
                if not again:
                    self._client.change(f'{CREDENTIALS}/{target.svm_uuid}/{initiator}', body)
                return
            except Refused as refused:
                if refused.code != _NO_ACCOUNT:  # removed in between
                    raise
        raise self._client.unavailable(f'the account of {initiator} was removed in the meantime')

    def _add_to_igroup(self, initiator: Initiator) -> None:
        found = self._client.first(IGROUPS, name=initiator.igroup, fields='initiators.name')
        if found and {'name': initiator.name} not in found.get('initiators', []):
            self._client.add(f'{IGROUPS}/{found["uuid"]}/initiators', {'name': initiator.name})

    def _map(self, lun: Record, igroup: str) -> int:
        """Map under the first free one of some numbers, else under a number of ONTAP's choice.

        NetApp's tables do not contain the error for a number in use, so any other error counts as that.
        """
        first = int(_digest(lun['uuid']), 16)
        body: Record = {'lun': {'name': lun['name']}, 'igroup': {'name': igroup}}
        for attempt in range(_TRIES):
            number = 1 + (first + attempt) % _NUMBERS
            try:
                self._client.make(MAPS, {**body, 'logical_unit_number': number})
                return number
            except Refused as refused:
                if refused.code == _MAPPED:
                    return self._number(lun, igroup)
                if refused.status == 404:
                    raise
        return int(self._client.make(MAPS, body)['logical_unit_number'])

    def _number(self, lun: Record, igroup: str) -> int:
        query = {'lun.uuid': lun['uuid'], 'igroup.name': igroup, 'fields': 'logical_unit_number'}
        found = self._client.first(MAPS, **query)
        if found is None:
            raise self._client.unavailable(f'the map of {lun["name"]} was removed in the meantime')
        return int(found['logical_unit_number'])

    def _remove_if_present(self, path: str, *codes: str, **query: str) -> None:
        """DELETE an object; a missing one is success."""
        try:
            self._client.remove(path, **query)
        except Refused as refused:
            if refused.code not in codes:
                raise

    def _letters(self, text: str, length: int) -> str:
        return letters(hmac.new(self._key, text.encode(), hashlib.sha256).digest(), length)


def _notes(lun: Record) -> dict[str, str]:
    notes = {}
    for attribute in lun.get('attributes', []):
        owner, _, initiator = attribute['value'].partition(' ')
        if attribute['name'].startswith(_NOTE) and owner == lun['uuid']:
            notes[attribute['name'].removeprefix(_NOTE)] = initiator
    return notes


def _igroups(lun: Record) -> list[str]:
    return [str(entry['igroup']['name']) for entry in lun.get('lun_maps', [])]


def _igroup_of(initiator: str) -> str:
    if initiator.startswith(_WORKER):
        return _WORKERS + initiator.removeprefix(_WORKER)
    return _HOSTS + _digest(initiator)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]
