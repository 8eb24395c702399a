"""Backups, and offers of volumes to the other project."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from tests.model.reference.records import Codes, Snapshot, Transfer, Volume
from tests.model.rules.volumes import VolumeRules
from tests.model.side import PICK, PROJECTS, Request, has, made, rule


class BackupRules(VolumeRules):
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
        if volume and (self.fault is None or self.key):  # the key of an offer whose answer is lost is lost, too
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
