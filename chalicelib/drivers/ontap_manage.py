"""Existing LUNs: bring them under management by a rename, and stop managing them by another.

A snapshot is a LUN like any other, so its comment names the source: ``snapshot of <uuid of the volume's LUN>``, or the
LUN's name where the uuid was unknown. Comments end in ``by cinderless deployment <mark>``: only such LUNs are deleted
when no record refers to them. For a LUN without such a comment, the administrator's reference decides.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from chalicelib import errors
from chalicelib.config import settings
from chalicelib.drivers.base import GIB, ManageableObject, ModelUpdate, SnapshotRef, VolumeRef
from chalicelib.drivers.ontap_client import Record
from chalicelib.drivers.ontap_luns import base, flexvol
from chalicelib.drivers.ontap_objects import Objects

_OURS = re.compile(r'(volume|snapshot)-[0-9a-f-]{36}')
_UUID = re.compile('[0-9a-f-]{36}')
_OF = 'snapshot of '
_BY = 'by cinderless deployment '

#: The prefix of an unmanaged object's name.
_RELEASED = 'unmanaged-'


class Manager(Objects):
    """The verbs of manage and unmanage."""

    def manage_existing_get_size(self, volume: VolumeRef, existing_ref: Mapping[str, str]) -> int:
        with self._verb(volume):
            return _gigabytes(self._existing(volume, existing_ref))

    def manage_existing(self, volume: VolumeRef, existing_ref: Mapping[str, str]) -> ModelUpdate:
        """A LUN whose size is not a whole number of GiB grows to the next."""
        with self._verb(volume, volume.size):
            lun = self._find(volume)
            if lun is None:
                lun = self._existing(volume, existing_ref)
                self._luns.change(lun, {'name': self._path(volume)})
            if lun['space']['size'] < volume.size * GIB:
                self._luns.change(lun, {'space': {'size': volume.size * GIB}})
            return self._update(volume, lun)

    def get_manageable_volumes(self, pool: str) -> list[ManageableObject]:
        return [_manageable(lun) for lun in self._inside(pool) if not _is_snapshot(lun)]

    def unmanage(self, volume: VolumeRef) -> None:
        self._rename(volume)

    def manage_existing_snapshot_get_size(self, snapshot: SnapshotRef, existing_ref: Mapping[str, str]) -> int:
        with self._verb(snapshot):
            return _gigabytes(self._existing_snapshot(snapshot, existing_ref))

    def manage_existing_snapshot(self, snapshot: SnapshotRef, existing_ref: Mapping[str, str]) -> ModelUpdate:
        with self._verb(snapshot, snapshot.size):
            lun = self._find(snapshot)
            if lun is None:
                lun = self._existing_snapshot(snapshot, existing_ref)
                if not _source(lun):
                    self._luns.change(lun, {'comment': comment(snapshot)})
                self._luns.change(lun, {'name': self._path(snapshot)})
            return {'provider_id': lun['uuid']}

    def get_manageable_snapshots(self, pool: str) -> list[ManageableObject]:
        luns = self._inside(pool)
        names = {lun['uuid']: base(lun) for lun in luns}
        return [_manageable(lun, names) for lun in luns if _is_snapshot(lun)]

    def unmanage_snapshot(self, snapshot: SnapshotRef) -> None:
        self._rename(snapshot)

    def _inside(self, pool: str) -> list[Record]:
        with self._verb():
            return self._luns.records('name,space.size,status.mapped,comment', **{'location.volume.name': pool})

    def _existing(self, volume: VolumeRef, existing_ref: Mapping[str, str]) -> Record:
        """Return an unmanaged LUN in the volume's pool. Raises ManageExistingInvalidReference."""
        lun = self._luns.find_by(**_query(volume.pool, existing_ref)) or self._released(volume.pool, existing_ref)
        if lun is None or flexvol(lun) != volume.pool:
            raise _invalid(existing_ref, f'FlexVol {volume.pool} does not have this LUN')
        if _OURS.fullmatch(base(lun)):
            raise _invalid(existing_ref, f'{lun["name"]} is already managed')
        return lun

    def _released(self, pool: str, existing_ref: Mapping[str, str]) -> Record | None:
        """Return a LUN that was unmanaged, by its former name."""
        name = str(existing_ref.get('source-name', '')).rpartition('/')[2]
        if not _OURS.fullmatch(name):
            return None
        return self._luns.find_by(name=f'/vol/{pool}/{_RELEASED}{name}')

    def _existing_snapshot(self, snapshot: SnapshotRef, existing_ref: Mapping[str, str]) -> Record:
        """Like ``_existing``; raises also when the LUN is known to be a snapshot of another LUN."""
        lun = self._existing(snapshot.volume, existing_ref)
        source, volume = _source(lun), snapshot.volume.provider_id
        if volume and _UUID.fullmatch(source) and source != volume:
            raise _invalid(existing_ref, f'its comment names LUN {source} as its source, the volume is {volume}')
        return lun

    def _rename(self, ref: VolumeRef | SnapshotRef) -> None:
        with self._verb(ref):
            lun = self._find(ref)
            if lun:
                self._luns.change(lun, {'name': self._path(ref).replace(f'/{ref.name}', f'/{_RELEASED}{ref.name}')})


def comment(snapshot: SnapshotRef) -> str:
    """Return the comment of a snapshot's LUN: its source, and the deployment that made it."""
    return f'{_OF}{snapshot.volume.provider_id or snapshot.volume.name} {mark()}'


def mark() -> str:
    """Return the end of the comment of LUNs that this deployment made."""
    return _BY + settings().deployment


def maker(lun: Record) -> str | None:
    """Return the deployment that made a LUN; None for one without a mark."""
    return str(lun.get('comment', '')).rpartition(_BY)[2] if _BY in str(lun.get('comment', '')) else None


def _source(lun: Record) -> str:
    """Return the uuid or name of a snapshot LUN's source; '' if the comment has none."""
    text = str(lun.get('comment', ''))
    return text.removeprefix(_OF).partition(' ')[0] if text.startswith(_OF) else ''


def _is_snapshot(lun: Record) -> bool:
    """Decide by the name, or by the former name if it is unmanaged: volumes inherit comments from their sources."""
    return base(lun).removeprefix(_RELEASED).startswith('snapshot-')


def _gigabytes(lun: Record) -> int:
    """Return the size in GiB, rounded up."""
    return -(-int(lun['space']['size']) // GIB)


def _manageable(lun: Record, names: Mapping[str, str] | None = None) -> ManageableObject:
    """``names`` of all LUNs by uuid, for a snapshot's source."""
    mapped = lun.get('status', {}).get('mapped') and not _OURS.fullmatch(base(lun))
    source = _source(lun) if names is not None else ''
    return ManageableObject(
        reference={'source-name': str(lun['name'])},
        size=_gigabytes(lun),
        reason_not_safe='it is mapped to a host' if mapped else None,
        source_reference={'source-name': (names or {}).get(source, source)} if source else None,
    )


def _query(pool: str, existing_ref: Mapping[str, str]) -> dict[str, str]:
    """Read Cinder's references: source-name is a path or a name in the pool, source-id a uuid."""
    name, uuid = str(existing_ref.get('source-name', '')), str(existing_ref.get('source-id', ''))
    if re.fullmatch(r'[A-Za-z0-9._{}-]+', name):
        return {'name': f'/vol/{pool}/{name}'}
    if re.fullmatch(r'/vol/[A-Za-z0-9_]+/[A-Za-z0-9._{}-]+', name):
        return {'name': name}
    if _UUID.fullmatch(uuid):
        return {'uuid': uuid}
    raise _invalid(existing_ref, 'set source-name to the path of a LUN, or source-id to its uuid')


def _invalid(existing_ref: Mapping[str, str], reason: str) -> errors.ManageExistingInvalidReference:
    return errors.ManageExistingInvalidReference(existing_ref=dict(existing_ref), reason=reason)
