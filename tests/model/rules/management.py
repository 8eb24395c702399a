"""What leaves the service and comes back: unmanaged volumes and snapshots, exported backup records, images."""

from __future__ import annotations

import base64
import json
import uuid
from typing import Any

from hypothesis import strategies as st

from tests.model.reference.records import Codes, Exported, Shelved
from tests.model.side import PICK, PROJECTS, SIZES, TYPES, Request, Sides, action, has, made, precondition, rule


class ManagementRules(Sides):
    @has('volumes')
    @rule(weight=4, at=PICK)
    def unmanage_volume(self, at: int) -> None:
        volume = self.pick([one for one in self.model.volumes.values() if one.managed], at)
        if volume:
            host = self.service.host_of(volume.id)
            name = f'unmanaged-{self.service.object_of("volumes", volume.id)}'
            shelved = Shelved(name, host) if host else None
            predict = lambda _: self.model.unmanage_volume(volume, shelved)  # noqa: E731
            self.act(volume, 'unmanage volume', 'os-unmanage', {}, predict, admin=True)

    @has('snapshots')
    @rule(weight=3, at=PICK)
    def unmanage_snapshot(self, at: int) -> None:
        snapshot = self.pick(self.model.snapshots, at)
        volume = self.model.volumes.get(snapshot.volume) if snapshot else None
        if snapshot and volume:
            name = f'unmanaged-{self.service.object_of("snapshots", snapshot.id)}'
            shelved = Shelved(name, self.service.host_of(volume.id), volume.id)
            predict = lambda _: self.model.unmanage_snapshot(snapshot, shelved)  # noqa: E731
            path = f'/snapshots/{snapshot.id}'
            self.play(action('unmanage snapshot', snapshot.project, path, 'os-unmanage', {}, predict, admin=True))

    def _shelved(self, at: int, *, snapshots: bool) -> Shelved | None:
        self.wait()
        return self.pick([one for one in self.model.shelf.values() if (one.volume is not None) == snapshots], at)

    @has('shelf')
    @rule(weight=6, at=PICK, project=PROJECTS, kind=TYPES, former=st.booleans())
    def manage_volume(self, at: int, project: str, kind: str, former: bool) -> None:
        """By the name that the object has, or by the one that it had before it was unmanaged."""
        if shelved := self._shelved(at, snapshots=False):

            def predict(body: Any) -> Codes:
                return made(self.model.manage_volume(project, kind, shelved.name), body, 'volume')

            name = shelved.name.removeprefix('unmanaged-') if former else shelved.name
            body = {'volume': {'host': shelved.host, 'ref': {'source-name': name}, 'volume_type': kind}}
            makes = ('volumes', 'volume')
            self.play(Request('manage volume', project, 'POST', '/manageable_volumes', predict, body, makes, True))

    @has('shelf')
    @rule(weight=4, at=PICK)
    def manage_snapshot(self, at: int) -> None:
        shelved = self._shelved(at, snapshots=True)
        volume = self.model.volumes.get(shelved.volume or '') if shelved else None
        if shelved and volume:

            def predict(body: Any) -> Codes:
                return made(self.model.manage_snapshot(volume, shelved.name), body, 'snapshot')

            body = {'snapshot': {'volume_id': volume.id, 'ref': {'source-name': shelved.name}}}
            makes, path = ('snapshots', 'snapshot'), '/manageable_snapshots'
            self.play(Request('manage snapshot', volume.project, 'POST', path, predict, body, makes, True))

    # Records of backups

    @has('backups')
    @rule(weight=2, at=PICK)
    def export(self, at: int) -> None:
        backup = self.pick([one for one in self.model.backups.values() if not one.locked], at)
        if backup:
            path = f'/backups/{backup.id}/export_record'
            answer = self.ask(Request('export', backup.project, 'GET', path, lambda _: frozenset(), admin=True))
            assert answer.status in self.model.export(backup), (backup, answer)
            if answer.status == 200:
                url = answer.body['backup-record']['backup_url']
                facts = backup.size, backup.content, backup.metadata, backup.parent, backup.stored
                self.exported.append((answer.body['backup-record']['backup_service'], Exported(url, *facts)))
                self.counts['export accepted'] += 1

    @precondition(lambda self: self.exported)
    @rule(weight=4, at=PICK, project=PROJECTS, renamed=st.booleans())
    def import_record(self, at: int, project: str, renamed: bool) -> None:
        """As it was exported, or as a second record of the same data."""
        service, record = self.exported[at % len(self.exported)]
        facts = json.loads(base64.b64decode(record.url))
        if renamed:
            facts['id'] = str(uuid.uuid5(uuid.UUID(facts['id']), str(next(self.numbers))))
        url = base64.b64encode(json.dumps(facts).encode()).decode()

        def predict(body: Any) -> Codes:
            return made(self.model.import_record(project, record, facts['id']), body, 'backup')

        body, makes = {'backup-record': {'backup_service': service, 'backup_url': url}}, ('backups', 'backup')
        name = 'import second record' if renamed else 'import record'
        self.play(Request(name, project, 'POST', '/backups/import_record', predict, body, makes, True))

    # Images

    @has('volumes')
    @precondition(lambda self: self.model.volumes and (self.fault is None or self.key))
    @rule(weight=3, at=PICK)
    def upload(self, at: int) -> None:
        volume = self.pick(self.model.volumes, at)
        if volume and not volume.locked:  # the image of an encrypted volume is as it is: no host can read it

            def predict(body: Any) -> Codes:
                allowed, accept = self.model.upload(volume)
                if body:
                    accept(body['os-volume_upload_image']['image_id'])
                return allowed

            facts = {'image_name': 'image', 'disk_format': 'raw', 'container_format': 'bare'}
            self.act(volume, 'upload', 'os-volume_upload_image', facts, predict)

    @has('images')
    @rule(weight=4, at=PICK, size=SIZES, kind=TYPES)
    def create_from_image(self, at: int, size: int, kind: str) -> None:
        self.wait()
        image = self.pick([one for one in self.model.images.values() if one.status == 'active'], at)
        if image:

            def predict(body: Any) -> Codes:
                return made(self.model.create_volume(image.project, size, kind, image), body, 'volume')

            body = {'volume': {'size': size, 'volume_type': kind, 'imageRef': image.id}}
            name, makes = 'create from image', ('volumes', 'volume')
            self.play(Request(name, image.project, 'POST', '/volumes', predict, body, makes))
