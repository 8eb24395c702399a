"""What Hypothesis draws: requests of two projects, time that passes, and faults.

The rules draw a resource by its position, so that numbers alone describe a run: a seed repeats it.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import initialize

from chalicelib import errors
from tests.model.admin_rules import AdminRules
from tests.model.attachment_rules import AttachmentRules
from tests.model.group_rules import GroupRules
from tests.model.records import Codes, Resource, Snapshot, Source, Transfer, Volume
from tests.model.side import FLAWS, LIMITS, PATHS, PICK, PROJECTS, SIZES, TYPES, Request, has, made, precondition, rule
from tests.simulation import Killed

PLACES, KEYS = st.integers(0, 7), st.sampled_from('xy')

#: What runs may begin with beside volumes.
STAGES: list[tuple[str, ...]] = [
    (),
    ('snapshot',),
    ('backup',),
    ('snapshot', 'backup', 'incremental backup'),
    ('attachment',),
    ('offer',),
    ('group', 'member', 'copy'),
    ('group', 'member', 'member', 'group snapshot'),
]

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

#: The statuses of failed work.
FAILED = ('error', 'error_deleting', 'error_extending', 'error_restoring')


class Model(AttachmentRules, GroupRules, AdminRules):
    """All rules; here those of volumes, snapshots, backups and transfers, and those of time and faults."""

    # Volumes

    @initialize(
        project=PROJECTS,
        sizes=st.lists(SIZES, min_size=1, max_size=3),
        numbers=st.lists(PLACES, max_size=4),
        patience=st.integers(1, 4),
        stage=st.sampled_from(STAGES),
    )
    def begin(self, project: str, sizes: list[int], numbers: list[int], patience: int, stage: tuple[str, ...]) -> None:
        """Begin with volumes, and with what some rules need that would seldom come about otherwise."""
        self.patience = 9
        for size in sizes:
            self._create(project, size, '__DEFAULT__', None, {})
        self.settle_both()
        for at, place in enumerate(numbers):
            self.write(at, place)
        for name in stage:
            self._prepare(name, project)
            self.settle_both()
        self.patience = patience

    def _prepare(self, name: str, project: str) -> None:
        steps: dict[str, Callable[[], None]] = {
            'snapshot': lambda: self.create_snapshot(0),
            'backup': lambda: self.create_backup(0, False),
            'incremental backup': lambda: self.create_backup(0, True),
            'attachment': lambda: self.attach(0, 0),
            'offer': lambda: self.offer(0),
            'group': lambda: self.create_group(project, {'__DEFAULT__', 'other'}),
            'member': lambda: self.create_volume_in_group(0, 1, '__DEFAULT__'),
            'copy': lambda: self.copy_group(0),
            'group snapshot': lambda: self.create_group_snapshot(0),
        }
        steps[name]()

    @rule(weight=4, project=PROJECTS, size=SIZES, kind=TYPES)
    def create_volume(self, project: str, size: int, kind: str) -> None:
        self._create(project, size, kind, None, {})

    @has('volumes')
    @rule(weight=5, at=PICK, more=st.integers(-1, 1), key=st.sampled_from(['source_volid', 'snapshot_id', 'backup_id']))
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
            return made(self.model.create_volume(project, size, type_, source), body, 'volume')

        name = f'create {" ".join(facts) or "volume"}'
        body = {'volume': {'size': size, 'volume_type': kind, **facts}}
        self.play(Request(name, project, 'POST', '/volumes', predict, body, ('volumes', 'volume')))

    @has('volumes')
    @rule(weight=3, at=PICK, cascade=st.booleans())
    def delete_volume(self, at: int, cascade: bool) -> None:
        if volume := self.pick(self.model.volumes, at):
            path = f'/volumes/{volume.id}?cascade={cascade}'
            predict = lambda _: self.model.delete_volume(volume, cascade)  # noqa: E731
            self.play(Request('delete volume', volume.project, 'DELETE', path, predict))

    @has('volumes')
    @rule(at=PICK, more=st.integers(-1, 4))
    def extend(self, at: int, more: int) -> None:
        volume = self.pick(self.model.volumes, at)
        if volume and (size := volume.size + more) > 0:
            self.act(volume, 'extend', 'os-extend', {'new_size': size}, lambda _: self.model.extend(volume, size))

    @has('volumes')
    @rule(weight=3, at=PICK, kind=TYPES)
    def retype(self, at: int, kind: str) -> None:
        if volume := self.pick(self.model.volumes, at):
            facts = {'new_type': kind, 'migration_policy': 'never'}
            self.act(volume, 'retype', 'os-retype', facts, lambda _: self.model.retype(volume, kind))

    @has('volumes')
    @rule(
        weight=1,
        at=PICK,
        path=st.sampled_from(['volumes', 'snapshots']),
        key=st.sampled_from('xy'),
        replace=st.booleans(),
    )
    def set_metadata(self, at: int, path: str, key: str, replace: bool) -> None:
        if record := self.pick(getattr(self.model, path), at):
            metadata = {key: str(at)}
            predict = lambda _: self.model.set_metadata(record, metadata, replace)  # noqa: E731
            method, name = ('PUT' if replace else 'POST'), f'metadata of {path}'
            body = {'metadata': metadata}
            self.play(Request(name, record.project, method, f'/{path}/{record.id}/metadata', predict, body))

    # Snapshots

    @has('volumes')
    @rule(weight=4, at=PICK)
    def create_snapshot(self, at: int) -> None:
        if volume := self.pick(self.model.volumes, at):
            body = {'snapshot': {'volume_id': volume.id}}
            predict = lambda body: made(self.model.create_snapshot(volume), body, 'snapshot')  # noqa: E731
            makes = ('snapshots', 'snapshot')
            self.play(Request('create snapshot', volume.project, 'POST', '/snapshots', predict, body, makes))

    @has('snapshots')
    @rule(weight=3, at=PICK)
    def delete_snapshot(self, at: int) -> None:
        if snapshot := self.pick(self.model.snapshots, at):
            predict = lambda _: self.model.delete_snapshot(snapshot)  # noqa: E731
            self.play(Request('delete snapshot', snapshot.project, 'DELETE', f'/snapshots/{snapshot.id}', predict))

    def _volume_of(self, snapshot: Snapshot | None) -> Volume | None:
        """The snapshot's volume, unless it was transferred without it."""
        volume = self.model.volumes.get(snapshot.volume) if snapshot else None
        return volume if volume and snapshot and volume.project == snapshot.project else None

    @has('snapshots')
    @rule(weight=3, at=PICK)
    def revert(self, at: int) -> None:
        snapshot = self.pick(self.model.snapshots, at)
        volume = self._volume_of(snapshot)
        if snapshot and volume:
            facts = {'snapshot_id': snapshot.id}
            self.act(volume, 'revert', 'revert', facts, lambda _: self.model.revert(volume, snapshot))

    # Backups

    @has('volumes')
    @rule(weight=3, at=PICK, incremental=st.booleans())
    def create_backup(self, at: int, incremental: bool) -> None:
        if volume := self.pick(self.model.volumes, at):
            self._back_up(volume, None, incremental)

    @has('snapshots')
    @rule(at=PICK, incremental=st.booleans())
    def back_up_snapshot(self, at: int, incremental: bool) -> None:
        snapshot = self.pick(self.model.snapshots, at)
        if volume := self._volume_of(snapshot):
            self._back_up(volume, snapshot, incremental)

    def _back_up(self, volume: Volume, snapshot: Snapshot | None, incremental: bool) -> None:
        def predict(body: Any) -> Codes:
            return made(self.model.create_backup(volume, snapshot, incremental), body, 'backup')

        of = {'volume_id': volume.id, 'snapshot_id': snapshot.id if snapshot else None}
        body = {'backup': {**of, 'incremental': incremental, 'force': True}}
        name = f'create {"incremental " if incremental else ""}backup'
        self.play(Request(name, volume.project, 'POST', '/backups', predict, body, ('backups', 'backup')))

    @has('backups')
    @rule(at=PICK)
    def delete_backup(self, at: int) -> None:
        if backup := self.pick(self.model.backups, at):
            predict = lambda _: self.model.delete_backup(backup)  # noqa: E731
            self.play(Request('delete backup', backup.project, 'DELETE', f'/backups/{backup.id}', predict))

    @has('backups')
    @rule(weight=3, at=PICK, to=PICK)
    def restore(self, at: int, to: int) -> None:
        backup = self.pick(self.model.backups, at)
        self.wait()
        mine = [one for one in self.model.volumes.values() if backup and one.project == backup.project]
        volume = self.pick(mine, to)
        if backup and volume:
            body = {'restore': {'volume_id': volume.id}}
            predict = lambda _: self.model.restore(backup, volume)  # noqa: E731
            self.play(Request('restore', backup.project, 'POST', f'/backups/{backup.id}/restore', predict, body))

    # Transfers

    @has('volumes')
    @rule(at=PICK)
    def offer(self, at: int) -> None:
        volume = self.pick(self.model.volumes, at)
        if volume and self.fault is None:  # the key of an offer whose answer is lost is lost, too
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
    @rule(weight=3, at=PICK, project=PROJECTS, honest=st.booleans())
    def accept(self, at: int, project: str, honest: bool) -> None:
        transfer: Transfer | None = self.pick(self.model.transfers, at)
        if transfer:
            key = transfer.key if honest else 'f' * 16
            predict = lambda _: self.model.accept(project, transfer, key)  # noqa: E731
            path, body = f'/volume-transfers/{transfer.id}/accept', {'accept': {'auth_key': key}}
            self.play(Request('accept', project, 'POST', path, predict, body))

    # Others

    @has('volumes')
    @rule(weight=1, at=PICK, which=st.integers(0, 13))
    def try_as_a_stranger(self, at: int, which: int) -> None:
        """For every request of another project's member, a resource does not exist."""
        volume, snapshot = self.pick(self.model.volumes, at), self.pick(self.model.snapshots, at)
        backup, attached = self.pick(self.model.backups, at), self.attachment(at)
        group, taken = self.pick(self.model.groups, at), self.pick(self.model.group_snapshots, at)
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
            volume and ('POST', f'/volumes/{volume.id}/metadata', {'metadata': {'x': 'y'}}, volume),
            group and ('POST', f'/groups/{group.id}/action', {'delete': {'delete-volumes': True}}, group),
            group and ('POST', '/group_snapshots', {'group_snapshot': {'group_id': group.id}}, group),
            taken and ('DELETE', f'/group_snapshots/{taken.id}', None, taken),
        ]
        if asked[which]:
            method, path, body, owned = asked[which]
            stranger = next(project for project in LIMITS if project != owned.project)
            self.play(Request('stranger', stranger, method, path, lambda _: frozenset({404}), body))

    @precondition(lambda self: not self.model.jobs)
    @rule(weight=3, at=PICK, place=PLACES)
    def write(self, at: int, place: int) -> None:
        volume = self.pick([one for one in self.model.volumes.values() if one.placed], at)
        if volume and volume.status in ('available', 'in-use') and volume.content is not None:
            self.stamps += 1
            volume.content[place] = self.stamps
            self.service.write(volume.id, place, self.stamps)
            self.counts['bytes written'] += 1

    # Time and faults

    @rule(weight=1)
    def settle(self) -> None:
        self.settle_both()

    @rule(weight=1)
    def deliver_twice(self) -> None:
        """The queue hands each message over again, and the machines run on."""
        self.service.simulation.deliver(times=2)
        self.settle_both()

    @rule(calls=st.integers(0, 6), flaw=st.sampled_from(sorted(FLAWS)))
    def disturb_the_next_request(self, calls: int, flaw: str) -> None:
        self.fault = FLAWS[flaw](calls)

    @precondition(lambda self: self.model.jobs)
    @rule(weight=3, calls=st.integers(0, 15), flaw=st.sampled_from(sorted(FLAWS)))
    def disturb_a_worker(self, calls: int, flaw: str) -> None:
        """A function dies that works for what was accepted, or loses an answer; all is done nevertheless."""
        crasher = FLAWS[flaw](calls)
        with self.service.watched(crasher), contextlib.suppress(Killed, *crasher.raised):
            self.service.simulation.settle()
        self.counts[f'work with {flaw}' if len(crasher.calls) > calls else 'work was over before the fault'] += 1
        self.settle_both()

    @precondition(lambda self: self.model.jobs)
    @rule(
        weight=4,
        seed=st.integers(0, 2**16),
        kind=st.sampled_from(sorted(FAULTS)),
        after=st.integers(0, 2),
        count=st.integers(1, 8),
    )
    def fail_and_settle(self, seed: int, kind: str, after: int, count: int) -> None:
        """Verbs of the backends fail while the work is done, after some calls that succeed.

        Each job either is done, or failed as documented.
        """
        draw = random.Random(seed)
        for backend in self.service.simulation.backends.values():
            for verb in draw.sample(VERBS, 6):
                backend.fail(verb, *[None] * after, *[FAULTS[kind](backend.host) for _ in range(count)])
        before = self._refusals()
        self.service.settle()
        for backend in self.service.simulation.backends.values():
            backend.faults.clear()
        self.service.settle()
        unchanged = {id for id, _ in self._refusals() - before}
        self.model.settle(lambda resource: resource.id in unchanged or self._has_failed(resource))
        self.counts['settled with faults'] += 1
        self.compare()

    def _refusals(self) -> set[tuple[str, str]]:
        return {one for project in LIMITS for one in self.service.refusals(project)}

    def _has_failed(self, resource: Resource) -> bool:
        """Whether the work for a resource failed, by what the service shows of it now."""
        shown = self.service.shown(resource.project, PATHS[type(resource)]).get(resource.id)
        failed = shown is not None and (shown['status'] in FAILED or self._is_as_before(resource, shown))
        self.counts[f'work {"failed" if failed else "done"} in spite of faults'] += 1
        return failed

    @staticmethod
    def _is_as_before(resource: Resource, shown: dict[str, Any]) -> bool:
        """A retype or an extension that was given up leaves no trace but what did not change."""
        if not isinstance(resource, Volume):
            return False
        retyped = resource.status == 'retyping' and shown['volume_type'] == resource.type
        return retyped or (resource.status == 'extending' and shown['size'] == resource.size)
