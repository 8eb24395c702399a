"""Volumes and their snapshots."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from tests.model.reference.records import Codes, Snapshot, Source, Volume
from tests.model.side import PICK, PLACES, PROJECTS, SIZES, TYPES, Request, Sides, action, has, made, precondition, rule


class VolumeRules(Sides):
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

    @precondition(lambda self: not self.model.jobs and self.fault is None)
    @rule(weight=3, at=PICK)
    def extend_again(self, at: int) -> None:
        """While the backend grows a volume, an administrator ends that and the owner requests another extension.

        The work for the first request finds the record as it left it, but for the request that owns it.
        """
        volume = self.pick([one for one in self.model.volumes.values() if one.status == 'available'], at)
        if volume is None or volume.moving or self.model.exceeds_growth(volume, 2):
            return

        def meanwhile() -> None:
            reset = lambda _: self.model.reset_volume(volume, 'available', False)  # noqa: E731
            facts, path = {'status': 'available'}, f'/volumes/{volume.id}'
            self.serve(action('reset volume', volume.project, path, 'os-reset_status', facts, reset, admin=True))
            self.serve(self._extension(volume, volume.size + 2))

        self.serve(self._extension(volume, volume.size + 1))
        if volume.status == 'extending':
            self.explained.add(volume.id)
            with self.service.during('extend_volume', meanwhile) as served:
                self.service.settle()
            self.counts['work overtaken by an equal request'] += len(served)
        self.settle_both()

    def _extension(self, volume: Volume, size: int) -> Request:
        predict = lambda _: self.model.extend(volume, size)  # noqa: E731
        facts, path = {'new_size': size}, f'/volumes/{volume.id}'
        return action('extend', volume.project, path, 'os-extend', facts, predict)

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

    @precondition(lambda self: not self.model.jobs)
    @rule(weight=3, at=PICK, place=PLACES)
    def write(self, at: int, place: int) -> None:
        volume = self.pick([one for one in self.model.volumes.values() if one.placed], at)
        if volume and volume.status in ('available', 'in-use') and volume.content is not None:
            self.stamps += 1
            volume.content[place] = self.stamps
            self.service.write(volume.id, place, self.stamps)
            self.counts['bytes written'] += 1

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
