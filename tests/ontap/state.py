"""What an ONTAP cluster remembers, and what all its verbs need."""

from __future__ import annotations

import dataclasses
import threading
import uuid
from typing import Any

from tests.ontap.disks import Disks
from tests.ontap.errors import OntapError
from tests.ontap.queries import Record, names

GIB = 1024**3


@dataclasses.dataclass
class Scope:
    """The authenticated caller: an SVM's administrator, or the cluster's, who may act within an SVM by a header."""

    svm: str | None


class State:
    """One cluster with an SVM ``svm1`` to work in, and another owner's SVM ``svm2``."""

    def __init__(self, disks: Disks, portals: list[str] | None = None, size: int = 100 * GIB) -> None:
        self.disks = disks
        self.lock = threading.RLock()
        self.svms = [identified(name='svm1', state='running'), identified(name='svm2', state='running')]
        self.aggregates = [
            identified(name='aggr1', block_storage={'primary': {'disk_class': 'solid_state', 'raid_type': 'raid_dp'}})
        ]
        self.volumes = [
            self._flexvol('svm1', 'svm1_root', GIB, root=True),
            self._flexvol('svm1', 'fast', size),
            self._flexvol('svm1', 'slow', size),
            self._flexvol('svm2', 'theirs', size),
        ]
        self.services = [
            {'svm': self.svm(name), 'enabled': True, 'target': {'name': f'iqn.1992-08.com.netapp:sn.{name}:vs.1'}}
            for name in ('svm1', 'svm2')
        ]
        self.interfaces = [
            self._interface('svm1', f'iscsi_{number}', address, 'data_iscsi')
            for number, address in enumerate(portals or ['192.0.2.1', '192.0.2.2'])
        ]
        self.interfaces += [
            self._interface('svm1', 'mgmt', '192.0.2.9', 'management_https'),
            self._interface('svm2', 'theirs', '192.0.2.10', 'data_iscsi'),
        ]
        self.luns: list[Record] = []
        self.snapshots: list[Record] = []
        self.groups: list[Record] = []
        self.igroups: list[Record] = []
        self.maps: list[Record] = []
        self.credentials: list[Record] = []
        self.policies: list[Record] = []
        self._passwords: dict[str, tuple[str, str]] = {}
        #: Polls until a LUN copy is complete, and the number of clones to refuse with "device busy".
        self.copy_takes = 0
        self.busy_clones = 0
        #: The number of deletions of a FlexVol's snapshots to refuse with "busy".
        self.busy_snapshots = 0

    def svm(self, name: str) -> Record:
        return next(
            ({'name': one['name'], 'uuid': one['uuid']} for one in self.svms if one['name'] == name), {}
        ) or refuse('2621462')

    def lun(self, scope: Scope, lun_uuid: str) -> Record:
        return self._one(self.luns, scope, lun_uuid, '5374875')

    def _svm_of(self, scope: Scope, body: Record) -> Record:
        name = body.get('svm', {}).get('name') or scope.svm
        if name is None:
            raise OntapError('2621707')
        if scope.svm not in (None, name):
            raise OntapError('2621462')
        return self.svm(name)

    def _policy(self, svm: Record, name: str) -> Record:
        found = [one for one in self.policies if one['name'] == name and one['svm'] == svm]
        return {'name': name, 'uuid': found[0]['uuid']} if found else refuse('4')

    def _one(self, records: list[Record], scope: Scope, record_uuid: str, missing: str) -> Record:
        found = [one for one in records if one['uuid'] == record_uuid and scope.svm in (None, one['svm']['name'])]
        return found[0] if found else refuse(missing)

    def _flexvol(self, svm: str, name: str, size: int, root: bool = False) -> Record:
        return identified(
            name=name, svm=self.svm(svm), style='flexvol', type='rw', state='online', is_svm_root=root,
            space={'size': size, 'available': size, 'afs_total': size}, guarantee={'type': 'none'},
            efficiency={'dedupe': 'background', 'compression': 'none'}, encryption={'enabled': False},
            snapmirror={'is_protected': False}, snapshot_directory_access_enabled=True, aggregates=[{'name': 'aggr1'}],
        )  # fmt: skip

    def _interface(self, svm: str, name: str, address: str, service: str) -> Record:
        return identified(
            name=name, svm=self.svm(svm), enabled=True, state='up', services=[service], ip={'address': address}
        )


def only(body: Record, known: set[str]) -> None:
    for name in names(body):
        if name not in known and name.split('.')[0] not in known:
            raise OntapError('262179', name)


def identified(**facts: Any) -> Record:
    return {'uuid': str(uuid.uuid4()), **facts}


def refuse(code: str) -> Any:
    raise OntapError(code)
