"""The changes between two snapshots of a volume (ListChangedBlocks), and the snapshots kept for the comparison.

A backup's snapshot is deleted when the backup is done, so the next backup has nothing to compare with. With the option
``keep_backup_snapshots`` the last one of each volume stays: the tag ``cinder:for`` marks it as not a user's snapshot,
and names its volume.
"""

from __future__ import annotations

import functools
import logging

from chalicelib.device import Changes
from chalicelib.drivers.base import SnapshotRef, VolumeRef
from chalicelib.drivers.ebs_client import Api
from chalicelib.drivers.ebs_device import BLOCK, PAGE, Missing, NotReadable, direct, runs
from chalicelib.drivers.ebs_objects import Objects, tags

logger = logging.getLogger(__name__)


def since(objects: Objects, snapshot: SnapshotRef, older: SnapshotRef) -> Changes | None:
    """Return None unless both are completed, of one EBS volume and of one size, and the older one was taken first."""
    first, second = objects.find_snapshot(older), objects.require_snapshot(snapshot)
    if first is None or first['State'] != 'completed' or first['StartTime'] > second['StartTime']:
        return None
    if older.kept and not tags(first).get('cinder:for'):
        return None
    if any(first[fact] != second[fact] for fact in ('VolumeId', 'VolumeSize')):
        return None
    return functools.partial(_changed, objects.api, first['SnapshotId'], second['SnapshotId'])


def _changed(api: Api, first: str, second: str, offset: int, length: int) -> list[tuple[int, int]] | None:
    """Return the differing blocks as (offset, length) in bytes; None when EBS cannot compare the two (any more)."""
    try:
        indexes = _indexes(api, first, second, offset // BLOCK, -(-(offset + length) // BLOCK))
    except (Missing, NotReadable) as error:
        logger.warning('all of %s is read: %s', second, error.message)
        return None
    return [(start * BLOCK, (stop - start) * BLOCK) for start, stop in runs(indexes)]


def _indexes(api: Api, first: str, second: str, start: int, stop: int) -> list[int]:
    """The indexes from ``start`` to before ``stop``. A page may be empty."""
    found: list[int] = []
    place: dict[str, int | str] = {'StartingBlockIndex': start}
    while True:
        page = direct(
            api, second, 'ListChangedBlocks', FirstSnapshotId=first, SecondSnapshotId=second, MaxResults=PAGE, **place
        )
        found += [one['BlockIndex'] for one in page['ChangedBlocks']]
        if not page.get('NextToken') or (found and found[-1] >= stop):
            return [index for index in found if index < stop]
        place = {'NextToken': page['NextToken']}


def keep(objects: Objects, snapshot: SnapshotRef) -> None:
    """Keep a backup's snapshot instead of the volume's previously kept one; a missing one is success."""
    volume = snapshot.volume
    row = objects.find_snapshot(snapshot)
    if row is None:
        return
    if tags(row).get('cinder:for') != volume.name:
        objects.tag(row['SnapshotId'], {'cinder:for': volume.name}, snapshot)
    drop(objects, volume, spared=snapshot.name)


def drop(objects: Objects, volume: VolumeRef, spared: str = '') -> None:
    """Delete the kept snapshots of a volume, except one by name."""
    for row in objects.snapshots({**objects.deployed(), 'tag:cinder:for': volume.name}):
        name = tags(row)['cinder:name']
        if name.startswith('snapshot-') and name != spared:
            objects.remove_snapshot(row['SnapshotId'], volume)
