"""LUNs that were there before us: brought under management by another name, and let go of by another.

A snapshot is a LUN like any other, so its comment says what it is of: ``snapshot of <uuid of the volume's LUN>``, or
the LUN's name where the uuid was not known. Comments end in ``by cinderless deployment <mark>``: only such LUNs are
ever removed because no record knows them. One without such a comment is taken for what the administrator says it is.
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

#: Put before the name of what is let go of.
_RELEASED = 'unmanaged-'


class Manager(Objects):
    """The verbs of manage and unmanage."""

    def manage_existing_get_size(self, volume: VolumeRef, existing_ref: Mapping[str, str]) -> int:
        with self._verb(volume):
            return _gigabytes(self._existing(volume, existing_ref))

    def manage_existing(self, volume: VolumeRef, existing_ref: Mapping[str, str]) -> ModelUpdate:
        """A LUN that is no whole number of GiB grows to the next."""
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
        """A LUN in the volume's pool that is not ours. Raises ManageExistingInvalidReference."""
        lun = self._luns.find_by(**_query(volume.pool, existing_ref)) or self._released(volume.pool, existing_ref)
        if lun is None or flexvol(lun) != volume.pool:
            raise _invalid(existing_ref, f'FlexVol {volume.pool} has no such LUN')
        if _OURS.fullmatch(base(lun)):
            raise _invalid(existing_ref, f'{lun["name"]} is managed already')
        return lun

    def _released(self, pool: str, existing_ref: Mapping[str, str]) -> Record | None:
        """A LUN that was unmanaged, by the name that it had before."""
        name = str(existing_ref.get('source-name', '')).rpartition('/')[2]
        if not _OURS.fullmatch(name):
            return None
        return self._luns.find_by(name=f'/vol/{pool}/{_RELEASED}{name}')

    def _existing_snapshot(self, snapshot: SnapshotRef, existing_ref: Mapping[str, str]) -> Record:
        """As ``_existing``; it must not be known to be of another LUN."""
        lun = self._existing(snapshot.volume, existing_ref)
        source, volume = _source(lun), snapshot.volume.provider_id
        if volume and _UUID.fullmatch(source) and source != volume:
            raise _invalid(existing_ref, f'its comment says that it is of LUN {source}, the volume is {volume}')
        return lun

    def _rename(self, ref: VolumeRef | SnapshotRef) -> None:
        with self._verb(ref):
            lun = self._find(ref)
            if lun:
                self._luns.change(lun, {'name': self._path(ref).replace(f'/{ref.name}', f'/{_RELEASED}{ref.name}')})


def comment(snapshot: SnapshotRef) -> str:
    """What a snapshot's LUN says of its source and of the deployment that made it."""
    return f'{_OF}{snapshot.volume.provider_id or snapshot.volume.name} {mark()}'


def mark() -> str:
    """What the comment of a LUN ends with that this deployment made."""
    return _BY + settings().deployment


def maker(lun: Record) -> str | None:
    """Return the deployment that made a LUN; None for one without a mark."""
    return str(lun.get('comment', '')).rpartition(_BY)[2] if _BY in str(lun.get('comment', '')) else None


def _source(lun: Record) -> str:
    """The uuid or name of what a snapshot's LUN is of; '' if it does not say."""
    text = str(lun.get('comment', ''))
    return text.removeprefix(_OF).partition(' ')[0] if text.startswith(_OF) else ''


def _is_snapshot(lun: Record) -> bool:
    """By its name, or by the one that it was let go under: volumes inherit comments from what they are made of."""
    return base(lun).removeprefix(_RELEASED).startswith('snapshot-')


def _gigabytes(lun: Record) -> int:
    """Rounded up."""
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
    """Cinder's references: source-name is a path or a name in the pool, source-id a uuid."""
    name, uuid = str(existing_ref.get('source-name', '')), str(existing_ref.get('source-id', ''))
    if re.fullmatch(r'[A-Za-z0-9._{}-]+', name):
        return {'name': f'/vol/{pool}/{name}'}
    if re.fullmatch(r'/vol/[A-Za-z0-9_]+/[A-Za-z0-9._{}-]+', name):
        return {'name': name}
    if _UUID.fullmatch(uuid):
        return {'uuid': uuid}
    raise _invalid(existing_ref, 'it needs source-name, the path of a LUN, or source-id, its uuid')


def _invalid(existing_ref: Mapping[str, str], reason: str) -> errors.ManageExistingInvalidReference:
    return errors.ManageExistingInvalidReference(existing_ref=dict(existing_ref), reason=reason)
