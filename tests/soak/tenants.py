"""The tenants' load. Each tenant knows what it may find: a call that returned has happened, a failed one may have."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import itertools
import random
import threading
import time
import traceback
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import keystoneauth1.exceptions
from cinderclient import exceptions

from chalicelib.errors import DeviceError
from chalicelib.iscsi import open_device
from tests.system.clients import User, unique
from tests.system.crash import BLOCK, is_transitional, pattern

#: Errors of clients whose request failed, and which does not show whether it was carried out.
CLIENT_ERRORS = (keystoneauth1.exceptions.ClientException, exceptions.ClientException)

#: Places of a volume that are written: BLOCK bytes each.
PLACES = 32

#: Volumes of a tenant, seconds that it waits for one status, and between two looks.
MOST_VOLUMES, PATIENCE, LOOK = 6, 150, 0.3

#: Statuses that last until the client ends its attachments.
OF_CLIENTS = ('attaching', 'detaching', 'reserved', 'in-use')

#: Codes of a refusal: nothing was done.
REFUSED = range(400, 500)

Blocks = dict[int, set[int]]


class Doubt(Exception):
    """The request failed, and may have been carried out."""


class Refused(Exception):
    """The service refused the request: nothing was done."""


@dataclasses.dataclass(eq=False)
class Expected:
    """A resource: the client of its project, and the allowed values of size and data.

    ``blocks``: place -> allowed values, 0 for an unwritten one; None where the data is unknown.
    """

    user: User
    sizes: set[int]
    blocks: Blocks | None
    source: str = ''
    doubtful: bool = False
    gone: bool = False

    def merge(self, others: Blocks | None) -> None:
        """Allow other data too: an operation that replaces it may have happened."""
        if self.blocks is None or others is None:
            self.blocks = None
            return
        for place in self.blocks.keys() | others.keys():
            self.blocks[place] = self.blocks.get(place, {0}) | others.get(place, {0})


def copied(blocks: Blocks | None) -> Blocks | None:
    return None if blocks is None else {place: set(values) for place, values in blocks.items()}


class Tenant:
    """One client thread with volumes, snapshots and backups of its own; it also hands volumes to a second project."""

    def __init__(self, users: tuple[User, User], admin: User, number: int, seed: int) -> None:
        self.users, self.admin = users, admin
        self.draw = random.Random(f'{seed}/tenant {number}')
        self.counts: collections.Counter[str] = collections.Counter()
        self.volumes: dict[str, Expected] = {}
        self.snapshots: dict[str, Expected] = {}
        self.backups: dict[str, Expected] = {}
        #: Names of resources whose creation failed, and which may exist.
        self.maybe: set[str] = set()
        self.broken: list[str] = []
        self._values = itertools.count(number * 10_000_000 + 1)
        #: A host belongs to one project: each project's initiator has another name.
        self._initiators = {user: f'iqn.2004-10.com.example:soak-{number}-{user.project}' for user in users}
        self._stopped = threading.Event()

    def run(self, stopped: threading.Event, failed: threading.Event) -> None:
        self._stopped = stopped
        while not stopped.is_set() and not failed.is_set():
            work, weight = zip(*self._works(), strict=True)
            (chosen,) = self.draw.choices(work, weight)
            try:
                chosen()
            except (Doubt, Refused, DeviceError):
                time.sleep(LOOK)
            except Exception:
                self.broken.append(traceback.format_exc())
                failed.set()

    def resume(self) -> None:
        """Wait for statuses again, after a run that was stopped."""
        self._stopped = threading.Event()

    def _works(self) -> list[tuple[Callable[[], None], int]]:
        return [
            (self.create, 4 if len(self._live()) < MOST_VOLUMES else 0), (self.write, 6), (self.compare, 4),
            (self.extend, 2), (self.snapshot, 3), (self.delete_snapshot, 1), (self.clone, 2), (self.revert, 2),
            (self.back_up, 4), (self.restore, 3), (self.delete_backup, 1), (self.hand_over, 1), (self.migrate, 2),
            (self.list_all, 2), (self.rename, 2), (self.delete, 3 if len(self._live()) > MOST_VOLUMES // 2 else 1),
        ]  # fmt: skip

    # Requests

    def call(self, name: str, request: Callable[[], Any]) -> Any:
        """Send one request. Raises Doubt or Refused."""
        try:
            answer = request()
        except CLIENT_ERRORS as error:
            code = getattr(error, 'code', None) or getattr(error, 'http_status', None)
            if code in REFUSED:
                self.counts['refused'] += 1
                raise Refused(f'{name}: {error}') from error
            self.counts['failed'] += 1
            raise Doubt(f'{name}: {error}') from error
        self.counts[name] += 1
        return answer

    def settled(self, manager: Any, id: str) -> Any:
        """Return the resource when nothing is in progress for it. Raises Refused when it does not exist, or Doubt."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and not self._stopped.is_set():
            with contextlib.suppress(Doubt):
                found = self.call('show', lambda: manager.get(id))
                if not is_transitional(found.status):
                    return found
            time.sleep(LOOK)
        raise Doubt(f'{id} does not settle')

    # Choices

    def _live(self) -> list[str]:
        return [id for id, one in self.volumes.items() if not one.gone and not one.doubtful]

    def _volume(self, status: str = 'available') -> tuple[str, Expected]:
        """Choose a volume that has the status. Raises Refused when the chosen one has not."""
        if not (live := self._live()):
            raise Refused('there is no volume')
        id = self.draw.choice(live)
        one = self.volumes[id]
        found = self.settled(one.user.cinder.volumes, id)
        if found.status.startswith('error'):
            one.blocks = None
            self._delete(id, one)
        if found.status in OF_CLIENTS:
            self.detach(id, one)
        if found.status != status:
            raise Refused(f'{id} is {found.status}')
        return id, one

    def _one_of(self, kept: dict[str, Expected], manager: str) -> tuple[str, Expected]:
        live = [id for id, one in kept.items() if not one.gone and not one.doubtful]
        if not live:
            raise Refused('there is none')
        id = self.draw.choice(live)
        one = kept[id]
        found = self.settled(getattr(one.user.cinder, manager), id)
        if found.status != 'available':
            self.remove(kept, id, manager)
            raise Refused(f'{id} is {found.status}')
        return id, one

    def _make(
        self, kept: dict[str, Expected], manager: str, one: Expected, request: Callable[[str], Any]
    ) -> tuple[str, Any]:
        """Create a resource and wait for it. After a failed request its name may exist."""
        name = unique('soak')
        self.maybe.add(name)
        try:
            made = self.call(f'create {manager}', lambda: request(name))
        except Refused:
            self.maybe.discard(name)
            raise
        self.maybe.discard(name)
        id = str(made.volume_id if manager == 'restores' else made.id)
        kept[id] = one
        collection = 'volumes' if manager == 'restores' else manager
        found = self.settled(getattr(one.user.cinder, collection), id)
        if found.status != 'available':
            one.blocks = None
        return id, found

    # Work

    def create(self) -> None:
        user = self.draw.choice(self.users)
        one = Expected(user, {1}, {})
        self._make(self.volumes, 'volumes', one, lambda name: user.cinder.volumes.create(1, name=name))

    def clone(self) -> None:
        if self.snapshots and self.draw.random() < 0.5:
            id, source = self._one_of(self.snapshots, 'volume_snapshots')
            facts = {'snapshot_id': id}
        else:
            id, source = self._volume()
            facts = {'source_volid': id}
        size = max(source.sizes)
        one = Expected(source.user, {size}, copied(source.blocks))
        volumes = source.user.cinder.volumes
        self._make(self.volumes, 'volumes', one, lambda name: volumes.create(size, name=name, **facts))

    def extend(self) -> None:
        id, one = self._volume()
        before = set(one.sizes)
        new = max(before) + 1
        if new > 3:
            return
        one.sizes = before | {new}
        try:
            self.call('extend', lambda: one.user.cinder.volumes.extend(id, new))
        except Refused:
            one.sizes = before
            raise
        found = self.settled(one.user.cinder.volumes, id)
        one.sizes = {found.size} if found.status == 'available' else one.sizes

    def snapshot(self) -> None:
        id, volume = self._volume()
        one = Expected(volume.user, set(volume.sizes), copied(volume.blocks), source=id)
        made = volume.user.cinder.volume_snapshots
        self._make(self.snapshots, 'volume_snapshots', one, lambda name: made.create(id, name=name))

    def revert(self) -> None:
        """Cinder reverts to the newest snapshot only."""
        id, one = self._volume()
        found = self.call(
            'list snapshots', lambda: one.user.cinder.volume_snapshots.list(search_opts={'volume_id': id})
        )
        newest = max(found, key=lambda each: each.created_at, default=None)
        if newest is None or newest.id not in self.snapshots:
            return
        to = self.snapshots[newest.id]
        before = copied(one.blocks)
        one.merge(copied(to.blocks))
        try:
            self.call('revert', lambda: one.user.cinder.volumes.revert_to_snapshot(id, newest.id))
        except Refused:
            one.blocks = before
            raise
        if self.settled(one.user.cinder.volumes, id).status == 'available':
            self._settle_data(id, one)

    def back_up(self) -> None:
        id, volume = self._volume()
        one = Expected(volume.user, set(volume.sizes), copied(volume.blocks), source=id)
        finished = [each for each in self.backups.values() if each.source == id and not each.gone]
        incremental = bool(finished) and self.draw.random() < 0.7
        backups = volume.user.cinder.backups
        self._make(self.backups, 'backups', one, lambda name: backups.create(id, name=name, incremental=incremental))

    def restore(self) -> None:
        id, backup = self._one_of(self.backups, 'backups')
        restores = backup.user.cinder.restores
        if len(self._live()) >= MOST_VOLUMES or self.draw.random() < 0.5:
            return self._restore_over(id, backup)
        one = Expected(backup.user, set(backup.sizes), copied(backup.blocks))
        self._make(self.volumes, 'restores', one, lambda name: restores.restore(id, name=name))
        return None

    def _restore_over(self, id: str, backup: Expected) -> None:
        target, one = self._volume()
        if one.user is not backup.user:
            return
        before = copied(one.blocks)
        one.merge(copied(backup.blocks))
        try:
            self.call('restore over', lambda: backup.user.cinder.restores.restore(id, target))
        except Refused:
            one.blocks = before
            raise
        if self.settled(one.user.cinder.volumes, target).status == 'available':
            self._settle_data(target, one)

    def migrate(self) -> None:
        """Move a volume to the other pool of its backend, as an administrator."""
        id, one = self._volume()
        host = self.call('show as admin', lambda: self.admin.cinder.volumes.get(id))._info['os-vol-host-attr:host']
        other = {'fast': 'slow', 'slow': 'fast'}.get(host.rpartition('#')[2])
        if other is None:
            return
        target = f'{host.rpartition("#")[0]}#{other}'
        self.call('migrate', lambda: self.admin.cinder.volumes.migrate_volume(id, target, False, False))
        self.settled(one.user.cinder.volumes, id)

    def hand_over(self) -> None:
        """Transfer a volume without snapshots to the other project."""
        id, one = self._volume()
        if any(each.source == id and not each.gone for each in self.snapshots.values()):
            return
        taker = self.users[1] if one.user is self.users[0] else self.users[0]
        one.doubtful = True  # until an answer shows the owner
        offer = self.call('offer', lambda: one.user.cinder.transfers.create(id))
        with contextlib.suppress(Doubt, Refused):
            self.call('accept', lambda: taker.cinder.transfers.accept(offer.id, offer.auth_key))
        for user in (taker, one.user):
            with contextlib.suppress(Refused):
                found = self.call('show', partial(user.cinder.volumes.get, id))
                if found.status == 'awaiting-transfer':
                    self.call('withdraw', partial(user.cinder.transfers.delete, offer.id))
                one.user, one.doubtful = user, False
                return

    def rename(self) -> None:
        id, one = self._volume()
        metadata = {'soak': str(self.draw.random())}
        self.call('set metadata', lambda: one.user.cinder.volumes.set_metadata(id, metadata))

    def list_all(self) -> None:
        for user in self.users:
            self.call('list', partial(user.cinder.volumes.list, detailed=True, limit=20))

    # Data

    @contextlib.contextmanager
    def attached(self, id: str, one: Expected) -> Iterator[Any]:
        """Yield the volume as a block device; end every attachment afterwards, as far as requests succeed."""
        initiator = self._initiators[one.user]
        connector = {'host': 'soak', 'initiator': initiator, 'ip': '127.0.0.1'}
        attachments = one.user.cinder.attachments
        try:
            made = self.call('attach', lambda: attachments.create(id, connector, str(uuid.uuid4()), 'rw'))
            self.call('attachment complete', lambda: attachments.complete(made['id']))
            with open_device(made['connection_info'], initiator=initiator, timeout=20) as device:
                yield device
        finally:
            self.detach(id, one)

    def detach(self, id: str, one: Expected) -> None:
        """End all attachments of a volume. Raises Doubt after several failures."""
        for _ in range(20):
            try:
                found = self.call(
                    'list attachments',
                    lambda: one.user.cinder.attachments.list(search_opts={'volume_id': id, 'all_tenants': 0}),
                )
                if not found:
                    return
                for each in found:
                    with contextlib.suppress(Refused):
                        self.call('detach', partial(one.user.cinder.attachments.delete, each.id))
            except Doubt:
                if self._stopped.is_set():
                    raise
                time.sleep(1)
        raise Doubt(f'{id} is not detached')

    def write(self) -> None:
        id, one = self._volume()
        if one.blocks is None:
            return
        with self.attached(id, one) as device:
            for _ in range(self.draw.randrange(1, 12)):
                place, value = self.draw.randrange(PLACES), next(self._values)
                one.blocks[place] = one.blocks.get(place, {0}) | {value}
                device.write(place * BLOCK, pattern(value))
                one.blocks[place] = {value}
                self.counts['written'] += 1
            device.flush()

    def compare(self) -> None:
        id, one = self._volume()
        self._settle_data(id, one)

    def _settle_data(self, id: str, one: Expected) -> None:
        """Read every place; narrow what is expected to what was found."""
        if one.blocks is None:
            return
        with self.attached(id, one) as device:
            for place in range(PLACES):
                data = device.read(place * BLOCK, BLOCK)
                found = {int.from_bytes(data[at : at + 8], 'big') for at in range(0, BLOCK, 8)}
                allowed = one.blocks.get(place, {0})
                self.counts['compared'] += 1
                # A write that was cut short may have left its beginning.
                if not found <= allowed or (len(allowed) == 1 and len(found) != 1):
                    self.broken.append(f'volume {id}, place {place}: {sorted(found)}, not {sorted(allowed)}')
                one.blocks[place] = found

    # Removal

    def delete(self) -> None:
        id, one = self._volume()
        snapshots = [each for each, snapshot in self.snapshots.items() if snapshot.source == id and not snapshot.gone]
        if snapshots:
            return self.remove(self.snapshots, snapshots[0], 'volume_snapshots')
        return self._delete(id, one)

    def _delete(self, id: str, one: Expected) -> None:
        del one
        self.remove(self.volumes, id, 'volumes')

    def delete_snapshot(self) -> None:
        id, _ = self._one_of(self.snapshots, 'volume_snapshots')
        self.remove(self.snapshots, id, 'volume_snapshots')

    def delete_backup(self) -> None:
        id, _ = self._one_of(self.backups, 'backups')
        self.remove(self.backups, id, 'backups')

    def remove(self, kept: dict[str, Expected], id: str, manager: str) -> None:
        one = kept[id]
        one.doubtful = True
        try:
            self.call(f'delete {manager}', lambda: getattr(one.user.cinder, manager).delete(id))
        except Refused:
            one.doubtful = False
            raise
        one.gone = True
