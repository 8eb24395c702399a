"""LUNs: made, cloned, copied, changed, deleted, and what is refused of that."""

from __future__ import annotations

import re
import uuid
from typing import Any

from tests.ontap.errors import OntapError
from tests.ontap.fabric import Unit
from tests.ontap.queries import Record, names
from tests.ontap.snapshots import Snapshots
from tests.ontap.state import GIB, Scope, identified, only, refuse

MIB = 1024**2

#: The largest LUN of a unified system (ONTAP 9.12.1P2 and later).
MAX_LUN = 128 * 1024 * GIB

_LUN_PATH = re.compile(r'/vol/(?P<volume>[^/]+)/(?P<base>[^/]+)')
_LUN_BASE = re.compile(r'[A-Za-z0-9._{}-]{1,255}')

_NEW_LUN = {
    'svm.name', 'name', 'os_type', 'comment', 'space.size', 'space.guarantee.requested',
    'space.scsi_thin_provisioning_support_enabled', 'qos_policy.name', 'clone.source.name', 'copy.source.name',
    'attributes',
}  # fmt: skip
_CHANGED_LUN = {
    'name', 'comment', 'space.size', 'space.guarantee.requested', 'space.scsi_thin_provisioning_support_enabled',
    'qos_policy.name', 'clone.source.name',
}  # fmt: skip


class Luns(Snapshots):
    def create_lun(self, scope: Scope, body: Record) -> Record:
        only(body, _NEW_LUN)
        svm = self._svm_of(scope, body)
        volume, base = self._place(svm, body.get('name', ''))
        if any(lun['name'] == body['name'] and lun['svm'] == svm for lun in self.luns):
            raise OntapError('5374242', target='name')
        source = self._source(svm, body)
        lun = self._new_lun(svm, volume, base, body, source)
        self._reserve(volume, lun, 0)
        if source:
            self.disks.clone(source['uuid'], lun['uuid'])
        else:
            self.disks.create(lun['uuid'], lun['space']['size'])
        self.luns.append(lun)
        return lun

    def _source(self, svm: Record, body: Record) -> Record | None:
        kind = next((kind for kind in ('clone', 'copy') if kind in body), None)
        if kind is None:
            for field in ('os_type', 'space'):
                if field not in body:
                    raise OntapError('5374884', target=field)
            return None
        for field in {'os_type', 'space.size', 'attributes'} & set(names(body)):
            raise OntapError('5374883' if kind == 'clone' else '5374943', target=field)
        source = self._lun_of(svm, body[kind]['source']['name'], f'{kind}.source')
        if kind == 'clone':
            self._may_clone(source, body['name'])
        return source

    def _may_clone(self, source: Record, name: str) -> None:
        if self.busy_clones:
            self.busy_clones -= 1
            raise OntapError('x-busy')
        if source['location']['volume']['name'] != name.split('/')[2]:
            raise OntapError('13565952', 'the source and the destination must be in the same volume')

    def _new_lun(self, svm: Record, volume: Record, base: str, body: Record, source: Record | None) -> Record:
        """A clone or copy has its source's attributes, but neither its QoS policy nor its thin-provisioning flag."""
        space = body.get('space', {})
        size = source['space']['size'] if source else self._size(space['size'])
        lun = identified(
            name=body['name'],
            svm=svm,
            os_type=source['os_type'] if source else body['os_type'],
            comment=body.get('comment', (source or {}).get('comment', '')),
            serial_number=uuid.uuid4().hex[:12],
            location={'volume': {'name': volume['name'], 'uuid': volume['uuid']}, 'logical_unit': base},
            space={
                'size': size,
                'used': 0,
                'guarantee': {'requested': bool(space.get('guarantee', {}).get('requested', True))},
                'scsi_thin_provisioning_support_enabled': bool(
                    space.get('scsi_thin_provisioning_support_enabled', False)
                ),
            },
            status={'state': 'online', 'mapped': False},
            attributes=[dict(one) for one in (source or {}).get('attributes', [])],
        )
        if 'qos_policy' in body:
            lun['qos_policy'] = self._policy(svm, body['qos_policy']['name'])
        if 'copy' in body:
            lun['copy'] = {'source': {'name': source['name'] if source else '', 'progress': {'state': 'replicating'}}}
            lun['_copy'] = self.copy_takes
        return lun

    def refresh_copies(self) -> None:
        """Advance each copy by one poll. A complete copy is shown for two minutes in ONTAP, here once."""
        for lun in self.luns:
            if '_copy' not in lun:
                continue
            if lun['_copy'] < 0:
                del lun['copy'], lun['_copy']
                continue
            if lun['_copy'] == 0:
                lun['copy']['source']['progress']['state'] = 'complete'
            lun['_copy'] -= 1

    def change_lun(self, scope: Scope, lun_uuid: str, body: Record) -> None:
        only(body, _CHANGED_LUN)
        lun = self.lun(scope, lun_uuid)
        self._refuse_copying(lun)
        if 'clone' in body:
            self._overwrite(lun, body)
            return
        space = body.get('space', {})
        if 'name' in body:
            self._rename(lun, body['name'])
        lun['comment'] = body.get('comment', lun['comment'])
        if 'qos_policy' in body:
            name = body['qos_policy']['name']
            lun['qos_policy'] = self._policy(lun['svm'], name) if name else {'name': ''}
        if 'size' in space and self._size(space['size']) < lun['space']['size']:
            raise OntapError('5374892', target='space.size')
        if space:
            before = lun['space']['size'] if lun['space']['guarantee']['requested'] else 0
            changed = {**lun, 'space': {**lun['space'], **space}}
            self._reserve(self._volume(lun), changed, before)
            lun['space'] = changed['space']
            self.disks.change(unit(lun))

    def _overwrite(self, lun: Record, body: Record) -> None:
        """Data and size become the source's; maps, serial number, uuid and the thin-provisioning flag stay."""
        if set(names(body)) != {'clone.source.name'}:
            raise OntapError('5374942', target='clone')
        source = self._lun_named(lun['svm'], body['clone']['source']['name'], 'clone.source')
        self._may_clone(source, lun['name'])
        lun['space']['size'] = source['space']['size']
        lun['attributes'], lun['comment'] = [dict(one) for one in source['attributes']], source['comment']
        self.disks.change(unit(lun), source['uuid'])

    def _rename(self, lun: Record, name: str) -> None:
        volume, base = self._place(lun['svm'], name)
        if any(one['name'] == name and one['svm'] == lun['svm'] for one in self.luns):
            raise OntapError('5374242', target='name')
        if volume['name'] != lun['location']['volume']['name']:
            raise OntapError('3')  # a move, which this double does not know
        lun['name'], lun['location']['logical_unit'] = name, base

    def delete_lun(self, scope: Scope, lun_uuid: str, mapped_too: bool) -> None:
        lun = self.lun(scope, lun_uuid)
        maps = [one for one in self.maps if one['lun']['uuid'] == lun_uuid]
        if maps and not mapped_too:
            raise OntapError('1254197')
        if any(one.get('copy', {}).get('source', {}).get('name') == lun['name'] and '_copy' in one and one['_copy'] >= 0
               for one in self.luns):  # fmt: skip
            raise OntapError('7018919')
        for one in maps:
            self._remove_map(one)
        self.luns.remove(lun)
        self.disks.delete(lun_uuid)

    def add_attribute(self, scope: Scope, lun_uuid: str, body: Record) -> None:
        only(body, {'name', 'value'})
        lun = self.lun(scope, lun_uuid)
        if not body.get('name') or not body.get('value'):
            raise OntapError('5374928')
        if len(body['name'].encode()) + len(body['value'].encode()) > 4092:
            raise OntapError('5374929')
        if any(one['name'] == body['name'] for one in lun['attributes']):
            raise OntapError('5374930')
        lun['attributes'].append({'name': body['name'], 'value': body['value']})

    def attribute(self, scope: Scope, lun_uuid: str, name: str) -> Record:
        found = [one for one in self.lun(scope, lun_uuid)['attributes'] if one['name'] == name]
        return found[0] if found else refuse('5374931')

    def remove_attribute(self, scope: Scope, lun_uuid: str, name: str) -> None:
        self.lun(scope, lun_uuid)['attributes'].remove(self.attribute(scope, lun_uuid, name))

    def shown_luns(self) -> list[Record]:
        """LUNs with their maps, as a GET shows them."""
        self.refresh_copies()
        for lun in self.luns:
            maps = [one for one in self.maps if one['lun']['uuid'] == lun['uuid']]
            lun['lun_maps'] = [
                {'igroup': one['igroup'], 'logical_unit_number': one['logical_unit_number']} for one in maps
            ]
            lun['status']['mapped'] = bool(maps)
        return self.luns

    def shown_volumes(self) -> list[Record]:
        for volume in self.volumes:
            volume['space']['available'] = volume['space']['size'] - self._reserved(volume)
        return self.volumes

    def _place(self, svm: Record, name: str) -> tuple[Record, str]:
        if '/.snapshot/' in name:
            raise OntapError('5374238')
        path = _LUN_PATH.fullmatch(name)
        if not path:
            raise OntapError('5374352', target='name')
        if not _LUN_BASE.fullmatch(path['base']):
            raise OntapError('5374121', target='name')
        volume = next((one for one in self.volumes if one['name'] == path['volume'] and one['svm'] == svm), None)
        if volume is None:
            raise OntapError('917927', target='name')
        if volume['is_svm_root']:
            raise OntapError('5374237')
        return volume, path['base']

    def _size(self, size: Any) -> int:
        if not isinstance(size, int) or isinstance(size, bool):
            raise OntapError('262197', 'space.size', 'space.size')
        if size < MIB:
            raise OntapError('5374124', target='space.size')
        if size > MAX_LUN:
            raise OntapError('5374125', target='space.size')
        return size

    def _reserve(self, volume: Record, lun: Record, before: int) -> None:
        wanted = lun['space']['size'] if lun['space']['guarantee']['requested'] else 0
        if self._reserved(volume) - before + wanted > volume['space']['size']:
            raise OntapError('x-space')

    def _reserved(self, volume: Record) -> int:
        inside = [lun for lun in self.luns if lun['location']['volume']['uuid'] == volume['uuid']]
        return sum(lun['space']['size'] for lun in inside if lun['space']['guarantee']['requested'])

    def _volume(self, lun: Record) -> Record:
        return next(one for one in self.volumes if one['uuid'] == lun['location']['volume']['uuid'])

    def _lun_of(self, svm: Record, name: str, target: str) -> Record:
        """A LUN, or one as it is in a snapshot of its volume."""
        found = self._frozen(svm, name)
        return self._lun_named(svm, name, target) if found is None else found or refuse('5374875')

    def _lun_named(self, svm: Record, name: str, target: str) -> Record:
        found = [lun for lun in self.luns if lun['name'] == name and lun['svm'] == svm]
        if not found:
            raise OntapError('5374875', target=target)
        self._refuse_copying(found[0])
        return found[0]

    def _refuse_copying(self, lun: Record) -> None:
        if lun.get('_copy', -1) >= 0 and lun['copy']['source']['progress']['state'] != 'complete':
            raise OntapError('7018919')


def unit(lun: Record) -> Unit:
    space = lun['space']
    return Unit(lun['uuid'], lun['serial_number'], space['size'], space['scsi_thin_provisioning_support_enabled'])
