"""The data of an unmanaged volume, copied to a pool of this deployment through its driver.

    claim     the pool's capacity and the record's host, in one transaction
    begin     a new export, named in the record before it is made; then the exports of earlier copies are ended
    copy      from the recorded position; the position is recorded after a flush
    compare   both sides, byte for byte, through a new session
    complete  the claim is settled, and the record becomes available, in one transaction

A copy may be killed at any point and repeated. ``migration_copy`` in the record's admin_metadata names the copy that
may write: ``<export id> <position>``. A copy writes only after it has opened its export and has found its own name in
the record. The next copy ends that export after it has written its own name there. So an earlier process that continues
cannot write to a volume that is in use.
"""

from __future__ import annotations

import hashlib
import time
import uuid
from collections.abc import Callable
from typing import NamedTuple

from pynamodb.expressions.condition import Condition
from pynamodb.expressions.update import Action

from chalicelib import errors
from chalicelib.device import BlockDevice
from chalicelib.drivers.base import Driver, ModelUpdate, VolumeRef
from chalicelib.models import Pool, Volume, base
from chalicelib.operations import common, reservations
from chalicelib.rules import states
from chalicelib.scheduler.pools import PoolState
from chalicelib.tasks import backends
from cinderless.errors import REFUSED, Failure
from cinderless.migration import ledger
from cinderless.migration.items import Item
from cinderless.migration.source import Source

#: Reports the bytes that are done.
Show = Callable[[int], None]

#: Keys of admin_metadata: the host in Cinder of data that is not here yet; the copy under way; that host afterwards.
SOURCE, COPY, COPIED = 'migration_source', 'migration_copy', 'migration_copied_from'

#: Attributes of the record that a copy changes.
CHANGED = frozenset({'status', 'previous_status', 'admin_metadata', 'updated_at'})

#: Bytes that are read at once, and seconds between two records of the position.
STEP, CHECKPOINT = 4 << 20, 10.0

GIB = 1 << 30

_AGAIN = 'run this again'


class Result(NamedTuple):
    """``digest``: the SHA-256 of both sides."""

    size: int
    digest: str


def is_copied(volume: Volume) -> bool:
    """Return whether the data of a volume that a migration brought was copied here, or is being copied."""
    return COPIED in volume.admin_metadata or COPY in volume.admin_metadata


def check_row(source: Source, id: str) -> None:
    """Raise Failure unless Cinder has the volume, available and not attached."""
    rows = source.having('volumes', 'id', [id])
    if not rows:
        raise Failure(f'the database of Cinder has no volume {id}', REFUSED)
    [row] = rows
    attached = [
        one['id']
        for one in source.having('volume_attachment', 'volume_id', [id])
        if one['attach_status'] not in (states.DETACHED, states.DELETED)
    ]
    problem = f'it has the attachment {attached[0]}' if attached else ''
    if row['status'] != states.AVAILABLE:
        problem = problem or f'its status is {row["status"]}'
    if row['migration_status'] and row['migration_status'] not in states.NOT_MIGRATING:
        problem = problem or f'its migration_status is {row["migration_status"]}'
    if problem:
        raise Failure(f'volume {id} is in use in Cinder ({problem}): detach it there first, and {_AGAIN}', REFUSED)


def find(id: str) -> Volume:
    """Return the record of a volume whose data can be copied, or has been. Raises Failure for another one."""
    try:
        volume = Volume.find_anywhere(id)
    except errors.VolumeNotFound:
        raise Failure(f'there is no volume {id} here: bring its record with cinderless migrate run', REFUSED) from None
    key = ('Volume', volume.project_id, volume.id)
    if key not in ledger.marks_of([Item(*key, {})]):
        raise Failure(f'volume {id} was not brought by cinderless migrate', REFUSED)
    if COPIED not in volume.admin_metadata and (
        volume.status != states.MAINTENANCE or SOURCE not in volume.admin_metadata
    ):
        raise Failure(f'volume {id} is not an unmanaged one: its status is {volume.status}', REFUSED)
    return volume


def check(volume: Volume, origin: BlockDevice, pool: str) -> None:
    """Raise Failure for an origin of another size, and for a pool to which the volume cannot be copied."""
    size = int(volume.size) * GIB
    if origin.size != size:
        advice = 'is it the right one? then give both the same size in Cinder, and run the migration again'
        raise Failure(f'the origin has {origin.size} bytes, volume {volume.id} has {size}: {advice}', REFUSED)
    if volume.host not in (None, pool):
        raise Failure(f'volume {volume.id} is being copied to {volume.host}: give that pool', REFUSED)
    if Pool.find_or_none(base.GLOBAL, pool) is None:
        raise Failure(f'no backend here reports the pool {pool}: see cinderless backends show', REFUSED)
    if not backends.on(pool).capabilities.opens_volumes:
        advice = 'import a backup of it with cinderless backup import-cinder, and restore that'
        raise Failure(f'volumes of the pool {pool} cannot be opened for writing: {advice}', REFUSED)


def copy(volume: Volume, origin: BlockDevice, pool: str, unused: Callable[[], None], show: Show) -> Result:
    """Copy and compare; the volume is available then. ``show`` receives bytes: copied ones, then compared ones.

    ``unused`` raises Failure for a volume that came into use meanwhile. Raises Failure, and errors of drivers and
    devices; after any of them the copy can be repeated.
    """
    if volume.host is None:
        volume = _claim(volume, pool)
    driver = backends.on(pool)
    volume, export_id = _begin(volume, driver)
    ref = backends.volume_ref(volume, new=True)
    update = _created(driver, volume, ref)
    volume = _write(volume, origin, driver, ref, export_id, show)
    digest = _compared(volume, origin, driver, ref, export_id, show)
    unused()
    _complete(volume, update)
    return Result(origin.size, digest)


def _claim(volume: Volume, pool: str) -> Volume:
    record = {'name': pool, 'availability_zone': Pool.find(base.GLOBAL, pool).availability_zone}
    try:
        reservations.claim(volume, PoolState.from_record(record), Volume.status == states.MAINTENANCE)
    except reservations.NoCapacity:
        advice = 'openstack volume service set --enable enables it'
        problem = f'{pool} has no capacity for {volume.size} GiB, or its service is disabled'
        raise Failure(f'{problem} ({advice})', REFUSED) from None
    except errors.StateChanged:
        raise _other(volume) from None
    return Volume.find(volume.project_id, volume.id)


def _begin(volume: Volume, driver: Driver) -> tuple[Volume, str]:
    """Name a new export in the record; then end that of the earlier copy, whose process may still run.

    Copies before that one have lost their turn already, so their exports are ended first, and never add up.
    """
    ref, export_id, last = backends.volume_ref(volume, new=True), str(uuid.uuid4()), _copy_of(volume)
    for id in volume.exports.keys() - {last}:
        driver.close_volume(ref, id)
    entry = {'initiator': '', 'host': 'cinderless migrate copy', 'created_at': base.now(), 'attempt': export_id}
    entries = {id: one for id, one in volume.exports.items() if id == last} | {export_id: entry}
    metadata = {**volume.admin_metadata, COPY: f'{export_id} {_position(volume)}'}
    volume = _record(volume, [Volume.exports.set(entries), Volume.admin_metadata.set(metadata)])
    if len(entries) > 1:
        driver.close_volume(ref, last)
        volume = _record(volume, [Volume.exports.set({export_id: entry})])
    return volume, export_id


def _copy_of(volume: Volume) -> str:
    """Return the export of the copy that may write; '' for none."""
    return str(volume.admin_metadata.get(COPY, '')).partition(' ')[0]


def _position(volume: Volume) -> int:
    return int(volume.admin_metadata.get(COPY, '- 0').partition(' ')[2])


def _held(volume: Volume) -> Condition:
    """The condition that this copy is still the one that may write."""
    same: Condition = (Volume.status == states.MAINTENANCE) & (Volume.admin_metadata == volume.admin_metadata)
    return same


def _record(volume: Volume, actions: list[Action]) -> Volume:
    """Change the record while this copy may write; return it. Raises Failure when another copy has begun."""
    try:
        base.update(volume, [*actions, *base.touched(Volume)], _held(volume))
        return Volume.find(volume.project_id, volume.id)
    except (errors.StateChanged, errors.VolumeNotFound):
        raise _other(volume) from None


def _move_to(volume: Volume, position: int) -> Volume:
    metadata = {**volume.admin_metadata, COPY: f'{_copy_of(volume)} {position}'}
    return _record(volume, [Volume.admin_metadata.set(metadata)])


def _other(volume: Volume) -> Failure:
    return Failure(f'volume {volume.id} was changed meanwhile: is another copy of it running? if not, {_AGAIN}')


def _created(driver: Driver, volume: Volume, ref: VolumeRef) -> ModelUpdate:
    """Create the object. A backend that is full gets its capacity back, so that another pool can be chosen."""
    try:
        return driver.create_volume(ref)
    except errors.BackendFull as error:
        failed = reservations.FailedPlacement({}, leftover=True)
        reservations.release_failed_placement(volume, _held(volume), failed)
        kept = {key: value for key, value in volume.admin_metadata.items() if key != COPY}
        _record(volume, [Volume.exports.set({}), Volume.admin_metadata.set(kept)])
        raise Failure(f'{ref.host} is full ({error.message}): give another pool with --to', REFUSED) from None


def _write(volume: Volume, origin: BlockDevice, driver: Driver, ref: VolumeRef, export_id: str, show: Show) -> Volume:
    """Copy from the recorded position to the end; return the record."""
    try:
        with driver.open_volume(ref, export_id, 'rw') as target:
            _check_target(target, ref)
            position = _position(volume)
            volume = _move_to(volume, position)  # the export is open now: is it still this copy's turn?
            recorded = time.monotonic()
            while position < origin.size:
                position += _write_step(origin, target, position)
                show(position)
                if time.monotonic() - recorded >= CHECKPOINT:
                    target.flush()
                    volume, recorded = _move_to(volume, position), time.monotonic()
            target.flush()
            return _move_to(volume, position)
    finally:
        driver.close_volume(ref, export_id)


def _check_target(target: BlockDevice, ref: VolumeRef) -> None:
    if target.size < ref.size * GIB:
        raise Failure(f'{ref.name} has {target.size} bytes on {ref.host}, less than {ref.size} GiB', REFUSED)


def _write_step(origin: BlockDevice, target: BlockDevice, position: int) -> int:
    length = min(STEP, origin.size - position)
    data = origin.read(position, length)
    if data.count(0) == length:
        target.zero(position, length)
    else:
        target.write(position, data)
    return length


def _compared(volume: Volume, origin: BlockDevice, driver: Driver, ref: VolumeRef, export_id: str, show: Show) -> str:
    """Return the SHA-256 of both sides. Raises Failure for different ones; then the next copy begins at the start."""
    here, there = hashlib.sha256(), hashlib.sha256()
    try:
        with driver.open_volume(ref, export_id, 'ro') as target:
            for position in range(0, origin.size, STEP):
                length = min(STEP, origin.size - position)
                ours, theirs = target.read(position, length), origin.read(position, length)
                here.update(ours)
                there.update(theirs)
                if ours != theirs:
                    _move_to(volume, 0)
                    place = position + next(at for at in range(length) if ours[at] != theirs[at])
                    advice = f'was the origin written meanwhile? {_AGAIN}: it copies all of it again'
                    raise Failure(f'the copy differs from the origin at byte {place}: {advice}')
                show(origin.size + position + length)
    finally:
        driver.close_volume(ref, export_id)
    if here.digest() != there.digest():
        raise Failure(f'the SHA-256 of the copy differs from that of the origin: {_AGAIN}')
    return here.hexdigest()


def _complete(volume: Volume, update: ModelUpdate) -> None:
    metadata = {key: value for key, value in volume.admin_metadata.items() if key not in (SOURCE, COPY)}
    actions = [
        Volume.status.set(states.AVAILABLE),
        Volume.previous_status.remove(),
        Volume.operation.remove(),
        Volume.exports.set({}),
        Volume.admin_metadata.set({**metadata, COPIED: volume.admin_metadata[SOURCE]}),
        Volume.shared_targets.set(backends.on(str(volume.host)).capabilities.shared_targets),
        *(common.set_or_remove(getattr(Volume, name), value) for name, value in update.items()),
        *base.touched(Volume),
    ]
    try:
        reservations.start_next_step(volume, _held(volume), actions)
    except errors.StateChanged:
        raise _other(volume) from None
