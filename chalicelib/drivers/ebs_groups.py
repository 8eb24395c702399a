"""Snapshots of several volumes at one point in time (CreateSnapshots).

EC2 can snapshot the volumes of one instance together; an unattached volume has no writer. Volumes of two instances
cannot be snapshotted together: that is refused.

CreateSnapshots has no token, and gives all its snapshots the same tags. So each is made with ``cinder:group``, and for
every volume with ``cinder:of:<its id>``, which holds the name for the snapshot of that volume. After a crash, these
tags find snapshots without a name, also in ``delete_snapshot``.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence

from chalicelib import errors
from chalicelib.drivers.base import ModelUpdate, SnapshotRef
from chalicelib.drivers.ebs_client import Unsure
from chalicelib.drivers.ebs_objects import CONSISTENT, Objects, Row, listed, tags

#: Volumes of one group; their tags must fit into the 50 of a snapshot.
MOST = 40

#: Device names of an instance's root volume, which is excluded by a different parameter.
_ROOTS = ('/dev/xvda', '/dev/sda1')

_GROUPS = uuid.UUID('0c5d7d4e-6a39-5b7f-9a55-0b6f1d7c4b11')

#: EC2 id of a volume -> its requested snapshot.
_Wanted = Mapping[str, SnapshotRef]


def freeze(objects: Objects, backend: str, snapshots: Sequence[SnapshotRef]) -> list[ModelUpdate]:
    """Take all, or none. If only some exist they are of another point in time: all are taken again."""
    if len(snapshots) > MOST:
        raise _refused(backend, f'{len(snapshots)} volumes are too many: at most {MOST} are possible together')
    volumes = [objects.require(one.volume) for one in snapshots]
    wanted = {str(row['VolumeId']): one for row, one in zip(volumes, snapshots, strict=True)}
    key = str(uuid.uuid5(_GROUPS, ' '.join(sorted(one.id for one in snapshots))))
    named = _by_volume(objects.snapshots(objects.named([one.name for one in snapshots])))
    if named.keys() == wanted.keys():
        return _updates(named, wanted)
    made = _by_volume(objects.snapshots(_group(objects, key)))
    if made.keys() != wanted.keys():
        _remove(objects, wanted, [*named.values(), *made.values()])
        made = _take(objects, backend, volumes, wanted, key)
    for id, row in made.items():
        _name(objects, row, wanted[id])
    _settle(objects, key, {row['SnapshotId']: wanted[id].name for id, row in made.items()}, snapshots[0])
    return _updates(made, wanted)


def _updates(made: Mapping[str, Row], wanted: _Wanted) -> list[ModelUpdate]:
    return [{'provider_id': made[id]['SnapshotId']} for id in wanted]


def _settle(objects: Objects, key: str, named: Mapping[str, str], ref: SnapshotRef) -> None:
    """Wait until all are listed with their names; delete snapshots of an attempt that were not listed before."""
    rows: list[Row] = []

    def look() -> bool:
        rows[:] = objects.snapshots(_group(objects, key))
        listed_names = {row['SnapshotId']: tags(row).get('cinder:name') for row in rows}
        return all(listed_names.get(id) == name for id, name in named.items())

    objects.api.wait(look, CONSISTENT)
    for row in rows:
        if row['SnapshotId'] not in named:
            objects.remove_snapshot(row['SnapshotId'], ref)


def remove_unnamed(objects: Objects, snapshot: SnapshotRef) -> None:
    """Delete unnamed snapshots of a group that a crash left."""
    found = objects.find(snapshot.volume)
    if found is not None:
        id = str(found['VolumeId'])
        rows = objects.snapshots({**objects.deployed(), f'tag:cinder:of:{id}': snapshot.name, 'volume-id': id})
        _remove(objects, {id: snapshot}, rows)


def _by_volume(rows: Iterable[Row]) -> dict[str, Row]:
    return {str(row['VolumeId']): row for row in rows if row['State'] != 'error'}


def _group(objects: Objects, key: str) -> dict[str, str]:
    return {**objects.deployed(), 'tag:cinder:group': key}


def _take(objects: Objects, backend: str, volumes: Sequence[Row], wanted: _Wanted, key: str) -> dict[str, Row]:
    instances = {one['InstanceId'] for row in volumes for one in row['Attachments']}
    if len(instances) > 1:
        raise _refused(
            backend, f'they are attached to {len(instances)} instances, and only those of one can be combined'
        )
    attached = {str(row['VolumeId']) for row in volumes if row['Attachments']}
    marks = {'group': key, **{f'of:{id}': one.name for id, one in wanted.items()}}
    made: dict[str, Row] = {}
    try:
        made |= _together(objects, wanted, marks, instances.pop()) if instances else {}
        if made.keys() != attached:
            raise _refused(backend, 'EC2 took others: one of the volumes may be the root volume of its instance')
        for id in wanted.keys() - attached:
            made[id] = objects.make_snapshot(id, wanted[id], wanted[id].name, marks)
        _check_idle(objects, wanted.keys() - attached)
    except errors.DriverError:
        _remove(objects, wanted, [*made.values(), *objects.snapshots(_group(objects, key))])
        raise
    return made


def _together(objects: Objects, wanted: _Wanted, marks: Mapping[str, str], instance: str) -> dict[str, Row]:
    """Take the requested snapshots of an instance's volumes, and no others."""
    specification: Row = {'InstanceId': instance, 'ExcludeBootVolume': True}
    others = _others(objects.volumes({'attachment.instance-id': instance}), wanted, instance)
    if others:
        specification['ExcludeDataVolumeIds'] = others
    first = next(iter(wanted.values()))
    tagged = listed(objects.marks(f'group-{marks["group"]}', first.volume.project_id, marks))
    request = {
        'InstanceSpecification': specification,
        'TagSpecifications': [{'ResourceType': 'snapshot', 'Tags': tagged}],
    }
    for _ in range(3):
        try:
            return _by_volume(objects.ec2('CreateSnapshots', first, repeatable=False, **request)['Snapshots'])
        except Unsure:
            objects.api.sleep(CONSISTENT)
            found = _by_volume(objects.snapshots(_group(objects, marks['group'])))
            if found:
                return found
    raise objects.api.unavailable(f'CreateSnapshots of {instance} got no answer')


def _others(rows: Iterable[Row], wanted: _Wanted, instance: str) -> list[str]:
    """Return the instance's volumes to exclude, except its root volume, which another parameter excludes."""
    return [
        str(row['VolumeId'])
        for row in rows
        for one in row['Attachments']
        if one['InstanceId'] == instance and row['VolumeId'] not in wanted and one['Device'] not in _ROOTS
    ]


def _check_idle(objects: Objects, ids: Iterable[str]) -> None:
    """Raise BackendUnavailable for a volume that was attached, and maybe written to, before its snapshot was taken."""
    for id in ids:
        row = objects.volume(id)
        if row is None or row['Attachments']:
            raise objects.api.unavailable(f'{id} was attached while its group was frozen: repeat it')


def _name(objects: Objects, row: Row, snapshot: SnapshotRef) -> None:
    if tags(row).get('cinder:name') == snapshot.name:
        return
    objects.tag(row['SnapshotId'], {'Name': snapshot.name, 'cinder:name': snapshot.name}, snapshot)


def _remove(objects: Objects, wanted: _Wanted, rows: Iterable[Row]) -> None:
    for row in rows:
        objects.remove_snapshot(row['SnapshotId'], wanted.get(row['VolumeId'], next(iter(wanted.values()))))


def _refused(backend: str, reason: str) -> errors.NotSupported:
    return errors.NotSupported(backend=backend, operation='create_group_snapshot of these volumes', reason=reason)
