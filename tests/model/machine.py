"""What Hypothesis draws: requests of two projects, time that passes, and faults.

The rules draw a resource by its position, so that a run is told by numbers alone: a seed repeats it.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from chalicelib import errors
from tests.model.reference import Backup, Codes, Snapshot, Source, Transfer, Volume
from tests.model.service import OTHER_TYPE
from tests.model.side import LIMITS, Request, Sides, action, has
from tests.workflows.crashes import Crasher
from tests.world import Killed

PROJECTS = st.sampled_from(sorted(LIMITS))
PICK = st.integers(0, 11)
SIZES = st.integers(1, 3)
TYPES = st.sampled_from(['__DEFAULT__', OTHER_TYPE])
PLACES = st.integers(0, 7)


def connector(project: str) -> dict[str, str]:
    """A host of the project: no two projects may use one initiator."""
    return {'initiator': f'iqn.1993-08.org.debian:01:{project}', 'host': f'host-{project}', 'ip': '192.0.2.1'}


#: What the next call of a driver's verb may do instead.
FAULTS: dict[str, Callable[[str], Exception]] = {
    'unavailable': lambda host: errors.BackendUnavailable(backend=host, reason='no route to host'),
    'full': lambda host: errors.BackendFull(backend=host, size=1, reason='the disks are full'),
    'refused': lambda host: errors.DriverError(backend=host, reason='no'),
}
VERBS = (
    'create_volume', 'create_volume_from_snapshot', 'create_cloned_volume', 'delete_volume', 'extend_volume',
    'create_snapshot', 'delete_snapshot', 'revert_to_snapshot', 'open_volume', 'open_snapshot', 'retype',
)  # fmt: skip

#: The statuses that say that work failed.
FAILED = ('error', 'error_deleting', 'error_extending', 'error_restoring')


class Model(Sides):
    """The rules."""

    # Volumes

    @initialize(
        project=PROJECTS,
        sizes=st.lists(SIZES, min_size=1, max_size=3),
        numbers=st.lists(PLACES, max_size=4),
        patience=st.integers(1, 4),
    )
    def begin_with_volumes(self, project: str, sizes: list[int], numbers: list[int], patience: int) -> None:
        self.patience = patience
        for size in sizes:
            self._create(project, size, '__DEFAULT__', None, {})
        self.settle_both()
        for at, place in enumerate(numbers):
            self.write(at, place)

    @rule(project=PROJECTS, size=SIZES, kind=TYPES)
    def create_volume(self, project: str, size: int, kind: str) -> None:
        self._create(project, size, kind, None, {})

    @has('volumes')
    @rule(at=PICK, more=st.integers(-1, 1), key=st.sampled_from(['source_volid', 'snapshot_id', 'backup_id']))
    def create_from(self, at: int, more: int, key: str) -> None:
        model = self.model
        known: Any = {'source_volid': model.volumes, 'snapshot_id': model.snapshots, 'backup_id': model.backups}[key]
        source = self.pick(known, at)
        if source is not None and source.size + more > 0:
            self._create(source.project, source.size + more, None, source, {key: source.id})

    def _create(self, project: str, size: int, kind: str | None, source: Source, facts: dict[str, str]) -> None:
        """``kind``: the volume type; None is left to the service, which takes that of a volume or snapshot."""

        def predict(body: Any) -> Codes:
            type_ = kind or getattr(source, 'type', '__DEFAULT__')
            return _made(self.model.create_volume(project, size, type_, source), body, 'volume')

        name = f'create {" ".join(facts) or "volume"}'
        body = {'volume': {'size': size, 'volume_type': kind, **facts}}
        self.play(Request(name, project, 'POST', '/volumes', predict, body, ('volumes', 'volume')))

    @has('volumes')
    @rule(at=PICK, cascade=st.booleans())
    def delete_volume(self, at: int, cascade: bool) -> None:
        if volume := self.pick(self.model.volumes, at):
            path = f'/volumes/{volume.id}?cascade={cascade}'
            predict = lambda _: self.model.delete_volume(volume, cascade)  # noqa: E731
            self.play(Request('delete volume', volume.project, 'DELETE', path, predict))

    def _act(self, volume: Volume, name: str, verb: str, facts: Any, predict: Callable[[Any], Codes]) -> None:
        self.play(action(name, volume.project, f'/volumes/{volume.id}', verb, facts, predict))

    @has('volumes')
    @rule(at=PICK, more=st.integers(-1, 4))
    def extend(self, at: int, more: int) -> None:
        volume = self.pick(self.model.volumes, at)
        if volume and (size := volume.size + more) > 0:
            self._act(volume, 'extend', 'os-extend', {'new_size': size}, lambda _: self.model.extend(volume, size))

    @has('volumes')
    @rule(at=PICK, kind=TYPES)
    def retype(self, at: int, kind: str) -> None:
        if volume := self.pick(self.model.volumes, at):
            facts = {'new_type': kind, 'migration_policy': 'never'}
            self._act(volume, 'retype', 'os-retype', facts, lambda _: self.model.retype(volume, kind))

    # Snapshots

    @has('volumes')
    @rule(at=PICK)
    def create_snapshot(self, at: int) -> None:
        if volume := self.pick(self.model.volumes, at):
            body = {'snapshot': {'volume_id': volume.id}}
            predict = lambda body: _made(self.model.create_snapshot(volume), body, 'snapshot')  # noqa: E731
            makes = ('snapshots', 'snapshot')
            self.play(Request('create snapshot', volume.project, 'POST', '/snapshots', predict, body, makes))

    @has('snapshots')
    @rule(at=PICK)
    def delete_snapshot(self, at: int) -> None:
        if snapshot := self.pick(self.model.snapshots, at):
            predict = lambda _: self.model.delete_snapshot(snapshot)  # noqa: E731
            self.play(Request('delete snapshot', snapshot.project, 'DELETE', f'/snapshots/{snapshot.id}', predict))

    def _volume_of(self, snapshot: Snapshot | None) -> Volume | None:
        """The snapshot's volume, unless it was transferred without it."""
        volume = self.model.volumes.get(snapshot.volume) if snapshot else None
        return volume if volume and snapshot and volume.project == snapshot.project else None

    @has('snapshots')
    @rule(at=PICK)
    def revert(self, at: int) -> None:
        snapshot = self.pick(self.model.snapshots, at)
        volume = self._volume_of(snapshot)
        if snapshot and volume:
            facts = {'snapshot_id': snapshot.id}
            self._act(volume, 'revert', 'revert', facts, lambda _: self.model.revert(volume, snapshot))

    # Backups

    @has('volumes')
    @rule(at=PICK, incremental=st.booleans())
    def create_backup(self, at: int, incremental: bool) -> None:
        if volume := self.pick(self.model.volumes, at):
            self._back_up(volume, None, incremental)

    @has('snapshots')
    @rule(at=PICK)
    def back_up_snapshot(self, at: int) -> None:
        snapshot = self.pick(self.model.snapshots, at)
        if volume := self._volume_of(snapshot):
            self._back_up(volume, snapshot, False)

    def _back_up(self, volume: Volume, snapshot: Snapshot | None, incremental: bool) -> None:
        def predict(body: Any) -> Codes:
            return _made(self.model.create_backup(volume, snapshot, incremental), body, 'backup')

        of = {'volume_id': volume.id, 'snapshot_id': snapshot.id if snapshot else None}
        body = {'backup': {**of, 'incremental': incremental, 'force': True}}
        self.play(Request('create backup', volume.project, 'POST', '/backups', predict, body, ('backups', 'backup')))

    @has('backups')
    @rule(at=PICK)
    def delete_backup(self, at: int) -> None:
        if backup := self.pick(self.model.backups, at):
            predict = lambda _: self.model.delete_backup(backup)  # noqa: E731
            self.play(Request('delete backup', backup.project, 'DELETE', f'/backups/{backup.id}', predict))

    @has('backups')
    @rule(at=PICK, to=PICK)
    def restore(self, at: int, to: int) -> None:
        backup = self.pick(self.model.backups, at)
        mine = [one for one in self.model.volumes.values() if backup and one.project == backup.project]
        volume = self.pick(mine, to)
        if backup and volume:
            body = {'restore': {'volume_id': volume.id}}
            predict = lambda _: self.model.restore(backup, volume)  # noqa: E731
            self.play(Request('restore', backup.project, 'POST', f'/backups/{backup.id}/restore', predict, body))

    # Attachments

    @has('volumes')
    @rule(at=PICK, connected=st.booleans())
    def create_attachment(self, at: int, connected: bool) -> None:
        if volume := self.pick(self.model.volumes, at):
            self.servers += 1
            facts = {'volume_uuid': volume.id, 'instance_uuid': str(uuid.UUID(int=self.servers))}
            body = {'attachment': {**facts, 'connector': connector(volume.project) if connected else None}}
            predict = lambda body: _made(self.model.create_attachment(volume, connected), body, 'attachment')  # noqa: E731
            makes = ('attachments', 'attachment')
            name = 'attach in one step' if connected else 'reserve'
            self.play(Request(name, volume.project, 'POST', '/attachments', predict, body, makes))

    @precondition(lambda self: self.attachment(0))
    @rule(at=PICK)
    def connect_attachment(self, at: int) -> None:
        found = self.attachment(at)
        if found and found[1].status != 'attached':
            body = {'attachment': {'connector': connector(found[0].project)}}
            path = f'/attachments/{found[1].id}'
            predict = lambda _: self.model.connect_attachment(*found)  # noqa: E731
            self.play(Request('connect attachment', found[0].project, 'PUT', path, predict, body))

    @precondition(lambda self: self.attachment(0))
    @rule(at=PICK)
    def complete_attachment(self, at: int) -> None:
        found = self.attachment(at)
        if found and found[1].connected:
            predict = lambda _: self.model.complete_attachment(*found)  # noqa: E731
            path = f'/attachments/{found[1].id}'
            self.play(action('complete attachment', found[0].project, path, 'os-complete', {}, predict))

    @precondition(lambda self: self.attachment(0))
    @rule(at=PICK)
    def delete_attachment(self, at: int) -> None:
        if found := self.attachment(at):
            predict = lambda _: self.model.delete_attachment(*found)  # noqa: E731
            self.play(Request('detach', found[0].project, 'DELETE', f'/attachments/{found[1].id}', predict))

    # Attachments as Nova made them before the attachments API

    @has('volumes')
    @rule(at=PICK, name=st.sampled_from(['reserve', 'unreserve', 'begin_detaching', 'roll_detaching']))
    def ask_for_a_status(self, at: int, name: str) -> None:
        if volume := self.pick(self.model.volumes, at):
            self._act(volume, f'os-{name}', f'os-{name}', None, lambda _: getattr(self.model, name)(volume))

    @has('volumes')
    @rule(at=PICK)
    def initialize_connection(self, at: int) -> None:
        if volume := self.pick(self.model.volumes, at):
            predict = lambda _: self.model.initialize_connection(volume)  # noqa: E731
            facts = {'connector': connector(volume.project)}
            self._act(volume, 'os-initialize_connection', 'os-initialize_connection', facts, predict)

    @has('volumes')
    @rule(at=PICK, all_of_them=st.booleans())
    def terminate_connection(self, at: int, all_of_them: bool) -> None:
        if volume := self.pick(self.model.volumes, at):
            facts = {'connector': None if all_of_them else connector(volume.project)}
            name = 'os-terminate_connection'
            self._act(volume, name, name, facts, lambda _: self.model.unreserve(volume))

    @has('volumes')
    @rule(at=PICK)
    def attach(self, at: int) -> None:
        volume = self.pick(self.model.volumes, at)
        if volume and self.doom is None:
            self.servers += 1
            known = set(volume.attachments)

            def predict(body: Any) -> Codes:
                allowed, accept = self.model.attach(volume)
                for id in self.service.attachments_of(volume.project, volume.id) - known:
                    accept(id)
                return allowed

            facts = {'instance_uuid': str(uuid.UUID(int=self.servers)), 'mountpoint': '/dev/vdc', 'mode': 'rw'}
            self._act(volume, 'os-attach', 'os-attach', facts, predict)

    @precondition(lambda self: self.attachment(0))
    @rule(at=PICK)
    def detach(self, at: int) -> None:
        if found := self.attachment(at):
            facts = {'attachment_id': found[1].id}
            self._act(found[0], 'os-detach', 'os-detach', facts, lambda _: self.model.detach(*found))

    # Transfers

    @has('volumes')
    @rule(at=PICK)
    def offer(self, at: int) -> None:
        volume = self.pick(self.model.volumes, at)
        if volume and self.doom is None:  # the key of an offer whose answer is lost is lost, too
            body = {'transfer': {'volume_id': volume.id, 'name': None}}
            predict = lambda body: self.model.offer(volume, body and body['transfer'])  # noqa: E731
            self.play(Request('offer', volume.project, 'POST', '/volume-transfers', predict, body))

    @has('transfers')
    @rule(at=PICK)
    def withdraw(self, at: int) -> None:
        if transfer := self.pick(self.model.transfers, at):
            predict = lambda _: self.model.withdraw(transfer)  # noqa: E731
            self.play(Request('withdraw', transfer.project, 'DELETE', f'/volume-transfers/{transfer.id}', predict))

    @has('transfers')
    @rule(at=PICK, project=PROJECTS, honest=st.booleans())
    def accept(self, at: int, project: str, honest: bool) -> None:
        transfer: Transfer | None = self.pick(self.model.transfers, at)
        if transfer:
            key = transfer.key if honest else 'f' * 16
            predict = lambda _: self.model.accept(project, transfer, key)  # noqa: E731
            path, body = f'/volume-transfers/{transfer.id}/accept', {'accept': {'auth_key': key}}
            self.play(Request('accept', project, 'POST', path, predict, body))

    # Others

    @has('volumes')
    @rule(at=PICK, which=st.integers(0, 9))
    def try_as_a_stranger(self, at: int, which: int) -> None:
        """Whatever another project's member asks of a resource, it does not exist."""
        volume, snapshot = self.pick(self.model.volumes, at), self.pick(self.model.snapshots, at)
        backup, attached = self.pick(self.model.backups, at), self.attachment(at)
        asked: list[Any] = [
            volume and ('GET', f'/volumes/{volume.id}', None, volume),
            volume and ('DELETE', f'/volumes/{volume.id}', None, volume),
            volume and ('POST', f'/volumes/{volume.id}/action', {'os-extend': {'new_size': 9}}, volume),
            volume and ('POST', '/snapshots', {'snapshot': {'volume_id': volume.id}}, volume),
            volume and ('POST', '/backups', {'backup': {'volume_id': volume.id}}, volume),
            volume and ('POST', '/attachments', {'attachment': {'volume_uuid': volume.id}}, volume),
            snapshot and ('DELETE', f'/snapshots/{snapshot.id}', None, snapshot),
            backup and ('POST', f'/backups/{backup.id}/restore', {'restore': {}}, backup),
            backup and ('DELETE', f'/backups/{backup.id}', None, backup),
            attached and ('DELETE', f'/attachments/{attached[1].id}', None, attached[0]),
        ]
        if asked[which]:
            method, path, body, owned = asked[which]
            stranger = next(project for project in LIMITS if project != owned.project)
            self.play(Request('stranger', stranger, method, path, lambda _: frozenset({404}), body))

    @rule(project=PROJECTS, name=st.sampled_from(sorted(LIMITS['a'])), limit=st.integers(-1, 20))
    def set_quota(self, project: str, name: str, limit: int) -> None:
        """An administrator changes a quota; not below what is used."""
        allowed = self.model.set_quota(project, name, limit)
        assert self.service.set_quota(project, {name: limit}) in allowed

    @precondition(lambda self: not self.model.jobs)
    @rule(at=PICK, place=PLACES)
    def write(self, at: int, place: int) -> None:
        volume = self.pick([one for one in self.model.volumes.values() if one.placed], at)
        if volume and volume.status in ('available', 'in-use'):
            self.stamps += 1
            volume.content[place] = self.stamps
            self.service.write(volume.id, place, self.stamps)
            self.counts['bytes written'] += 1

    # Time and faults

    @rule()
    def settle(self) -> None:
        self.settle_both()

    @rule()
    def deliver_twice(self) -> None:
        """The queue hands each message over again, and the machines run on."""
        self.service.world.deliver(times=2)
        self.settle_both()

    @rule(calls=st.integers(0, 6))
    def doom_the_next_request(self, calls: int) -> None:
        self.doom = calls

    @precondition(lambda self: self.model.jobs)
    @rule(calls=st.integers(0, 40))
    def kill_a_worker(self, calls: int) -> None:
        """A function that works for what was accepted dies; all is done nevertheless."""
        crasher = Crasher(calls)
        with self.service.watched(crasher):
            try:
                self.service.world.settle()
            except Killed:
                self.counts['workers killed'] += 1
        self.settle_both()

    @precondition(lambda self: self.model.jobs)
    @rule(seed=st.integers(0, 2**16), kind=st.sampled_from(sorted(FAULTS)), count=st.integers(1, 8))
    def fail_and_settle(self, seed: int, kind: str, count: int) -> None:
        """Verbs of the backends fail while the work is done: each job either is done, or failed as documented."""
        draw = random.Random(seed)
        for backend in self.service.world.backends.values():
            for verb in draw.sample(VERBS, 3):
                backend.fail(verb, *[FAULTS[kind](backend.host) for _ in range(count)])
        self.service.settle()
        for backend in self.service.world.backends.values():
            backend.faults.clear()
        self.service.settle()
        self.model.settle(self._has_failed)
        self.counts['settled with faults'] += 1
        self.compare()

    def _has_failed(self, resource: Volume | Snapshot | Backup) -> bool:
        """Whether the work for a resource failed, by what the service shows of it now."""
        path = {Volume: 'volumes', Snapshot: 'snapshots', Backup: 'backups'}[type(resource)]
        shown = self.service.shown(resource.project, path, path).get(resource.id)
        failed = shown is not None and (shown['status'] in FAILED or self._is_as_before(resource, shown))
        self.counts[f'work {"failed" if failed else "done"} in spite of faults'] += 1
        return failed

    @staticmethod
    def _is_as_before(resource: Volume | Snapshot | Backup, shown: dict[str, Any]) -> bool:
        """A retype or an extension that was given up leaves no trace but what did not change."""
        if not isinstance(resource, Volume):
            return False
        retyped = resource.status == 'retyping' and shown['volume_type'] == resource.type
        return retyped or (resource.status == 'extending' and shown['size'] == resource.size)


def _made(predicted: tuple[Codes, Callable[[str], None]], body: Any, member: str) -> Codes:
    """Apply what a creation changes, when it was accepted."""
    allowed, accept = predicted
    if body:
        accept(body[member]['id'])
    return allowed
