"""Snapshots of FlexVols, alone or of several at once as a consistency group."""

from __future__ import annotations

import datetime
import re

from tests.ontap.errors import OntapError
from tests.ontap.queries import Record
from tests.ontap.state import Scope, State, identified, only, refuse

_INSIDE = re.compile(r'(?P<volume>/vol/[^/]+)/\.snapshot/(?P<snapshot>[^/]+)(?P<lun>/[^/]+)')


class Snapshots(State):
    def volume(self, scope: Scope, volume_uuid: str) -> Record:
        return self._one(self.volumes, scope, volume_uuid, '918235')

    def snapshots_of(self, scope: Scope, volume_uuid: str) -> list[Record]:
        volume = self.volume(scope, volume_uuid)
        return [one for one in self.snapshots if one['volume']['uuid'] == volume['uuid']]

    def create_snapshot(self, scope: Scope, volume_uuid: str, body: Record) -> Record:
        only(body, {'name', 'comment'})
        return self._freeze([self.volume(scope, volume_uuid)], body)[0]

    def delete_snapshot(self, scope: Scope, volume_uuid: str, snapshot_uuid: str) -> None:
        found = [one for one in self.snapshots_of(scope, volume_uuid) if one['uuid'] == snapshot_uuid]
        snapshot = found[0] if found else refuse('4')
        if self.busy_snapshots:
            self.busy_snapshots -= 1
            raise OntapError('x-held')
        self.snapshots.remove(snapshot)
        for lun in snapshot['_luns']:
            self.disks.delete(lun['uuid'])

    def create_group(self, scope: Scope, body: Record) -> Record:
        """Of volumes that exist: to make new ones this double does not know."""
        only(body, {'svm.name', 'name', 'volumes'})
        svm = self._svm_of(scope, body)
        if any(one['name'] == body['name'] and one['svm'] == svm for one in self.groups):
            raise OntapError('x-group')
        members = [self._member(svm, one) for one in body.get('volumes', [])]
        group = identified(name=body['name'], svm=svm, volumes=members or refuse('2'))
        self.groups.append(group)
        return group

    def delete_group(self, scope: Scope, group_uuid: str) -> None:
        """Its volumes stay, and so do the snapshots that were taken of them."""
        self.groups.remove(self._one(self.groups, scope, group_uuid, '4'))

    def create_group_snapshot(self, scope: Scope, group_uuid: str, body: Record) -> Record:
        only(body, {'name', 'comment', 'consistency_type'})
        members = [one['uuid'] for one in self._one(self.groups, scope, group_uuid, '4')['volumes']]
        return self._freeze([one for one in self.volumes if one['uuid'] in members], body)[0]

    def _member(self, svm: Record, member: Record) -> Record:
        if member.get('provisioning_options', {}).get('action') != 'add':
            raise OntapError('2', 'provisioning_options.action')
        found = [one for one in self.volumes if one['name'] == member.get('name') and one['svm'] == svm]
        volume = found[0] if found else refuse('917927')
        for group in self.groups:
            if any(one['uuid'] == volume['uuid'] for one in group['volumes']):
                raise OntapError('x-member', group['name'])
        return {'name': volume['name'], 'uuid': volume['uuid']}

    def _freeze(self, volumes: list[Record], body: Record) -> list[Record]:
        """Snapshot all volumes, point-in-time consistent."""
        if not body.get('name'):
            raise OntapError('2', 'name', 'name')
        uuids = {one['uuid'] for one in volumes}
        if any(one['name'] == body['name'] and one['volume']['uuid'] in uuids for one in self.snapshots):
            raise OntapError('x-snapshot', target='name')
        made = [self._snapshot(volume, body['name']) for volume in volumes]
        self.disks.clone_all({lun['_of']: lun['uuid'] for one in made for lun in one['_luns']})
        self.snapshots += made
        return made

    def _snapshot(self, volume: Record, name: str) -> Record:
        inside = [one for one in self.luns if one['location']['volume']['uuid'] == volume['uuid']]
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds')
        luns = [{**one, **identified(), '_of': one['uuid'], 'space': dict(one['space'])} for one in inside]
        return identified(
            name=name, svm=volume['svm'], volume={'name': volume['name'], 'uuid': volume['uuid']}, create_time=now,
            _luns=luns,
        )  # fmt: skip

    def _frozen(self, svm: Record, path: str) -> Record | None:
        """A LUN in a snapshot, by its path there; {} if it is not there, None if the path is none of a snapshot."""
        inside = _INSIDE.fullmatch(path)
        if inside is None:
            return None
        taken = [one for one in self.snapshots if one['svm'] == svm and one['name'] == inside['snapshot']]
        luns = (lun for one in taken for lun in one['_luns'])
        return next((lun for lun in luns if lun['name'] == inside['volume'] + inside['lun']), {})
