"""``make demo``: run the four workflows on real data and print each step.

The client is python-cinderclient, the hypervisor is QEMU's iSCSI initiator, the data is random. Every byte is
compared; the exit code is 0 only if all are right and nothing is left behind.
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import openstack.config
from cinderclient import client as cinder

from local.hypervisor import Hypervisor
from local.launch import launched

MIB = 1 << 20

#: MiB of the volume; so many of its MiB hold data, and so many are overwritten before the incremental backup.
SIZE, WRITTEN, REWRITTEN = 1024, 160, 12

#: Seconds to wait for one status.
PATIENCE = 120

#: First microversion with an attachment's mode.
MICROVERSION = '3.54'


class Mismatch(Exception):
    """Something is not as it must be."""


class Demo:
    """The state of the demo: client, hypervisor and images."""

    def __init__(self, facts: dict[str, Any], folder: Path) -> None:
        self.facts = facts
        self.cinder = _client(folder / 'state' / 'clouds.yaml')
        self.host = Hypervisor('compute-1', f'iqn.2004-10.com.example:{uuid.uuid4().hex[:12]}')
        self.first, self.second = folder / 'first.raw', folder / 'second.raw'
        self.random = random.Random(2026)  # noqa: S311 - the same story at every run
        self.began = time.monotonic()

    def tell(self, text: str) -> None:
        print(f'{time.monotonic() - self.began:7.2f} s  {text}', flush=True)

    def wait(self, get: Callable[[], Any], status: str) -> Any:
        """Poll as a client does, until the status is there or another final one is."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            found = get()
            if found.status == status:
                return found
            if found.status.startswith('error'):
                raise Mismatch(f'{found.id} is {found.status}: {self._messages(found.id)}')
            time.sleep(0.1)
        raise Mismatch(f'{found.id} is still {found.status} after {PATIENCE} s, not {status}')

    def _messages(self, id: str) -> str:
        return '; '.join(m.user_message for m in self.cinder.messages.list() if m.resource_uuid == id) or 'no message'

    def create(self, name: str) -> Any:
        volume = self.cinder.volumes.create(SIZE // 1024, name=name)
        self.tell(f'create: volume {name} accepted as {volume.id}')
        volume = self.wait(lambda: self.cinder.volumes.get(volume.id), 'available')
        self.tell(f'create: {name} is available in zone {volume.availability_zone}')
        return volume

    def attach(self, volume: Any) -> Any:
        """Attach as Nova does; return the attachment with its connection information."""
        attachment = self.cinder.attachments.create(volume.id, self.host.connector, str(uuid.uuid4()), 'rw')
        info = attachment['connection_info']
        self.cinder.attachments.complete(attachment['id'])
        self.wait(lambda: self.cinder.volumes.get(volume.id), 'in-use')
        self.tell(f'attach: {volume.name} is in-use at {info["target_portal"]}, {info["target_iqn"]}')
        return attachment

    def detach(self, volume: Any, attachment: Any) -> None:
        self.cinder.attachments.delete(attachment['id'])
        self.wait(lambda: self.cinder.volumes.get(volume.id), 'available')
        self.tell(f'attach: {volume.name} is detached and available')

    def back_up(self, volume: Any, name: str, incremental: bool) -> Any:
        backup = self.cinder.backups.create(volume.id, name=name, incremental=incremental, force=True)
        self.wait(lambda: self.cinder.volumes.get(volume.id), 'in-use')
        self.tell(f'backup: {name} reads a snapshot; the volume is in-use again and may be written')
        backup = self.wait(lambda: self.cinder.backups.get(backup.id), 'available')
        self.tell(f'backup: {name} is available, {backup.object_count} objects of its own; {self.stored()}')
        return backup

    def stored(self) -> str:
        """Where the data went."""
        s3 = boto3.client(
            's3',
            endpoint_url=self.facts['aws'],
            region_name=self.facts['region'],
            aws_access_key_id=self.facts['access_key'],
            aws_secret_access_key=self.facts['secret_key'],
        )
        pages = s3.get_paginator('list_objects_v2').paginate(Bucket=self.facts['bucket'])
        sizes = [item['Size'] for page in pages for item in page.get('Contents', ())]
        return f's3://{self.facts["bucket"]} holds {len(sizes)} objects, {sum(sizes) / MIB:.1f} MiB'

    def restore(self, backup: Any, volume_id: str | None) -> Any:
        restored = self.cinder.restores.restore(backup.id, volume_id)
        self.tell(f'restore: {backup.name} to {"volume" if volume_id else "new volume"} {restored.volume_id} accepted')
        volume = self.wait(lambda: self.cinder.volumes.get(restored.volume_id), 'available')
        self.wait(lambda: self.cinder.backups.get(backup.id), 'available')
        self.tell(f'restore: {volume.name} is available')
        return volume

    def check(self, volume: Any, image: Path) -> None:
        """Attach, let QEMU compare every byte, detach."""
        attachment = self.attach(volume)
        if not self.host.compare(image, attachment['connection_info']):
            raise Mismatch(f'{volume.name} ({volume.id}) differs from {image.name}')
        self.tell(f'compare: all {SIZE} MiB of {volume.name} are those of {image.name}')
        self.detach(volume, attachment)

    def make_images(self) -> None:
        """Two random images with holes; the second is the first with some of it overwritten."""
        places = self.random.sample(range(SIZE), WRITTEN)
        _write(self.first, {place: self.random.randbytes(MIB) for place in places})
        changed = {place: self.random.randbytes(MIB) for place in self.random.sample(range(SIZE), REWRITTEN)}
        _copy(self.first, self.second)
        _write(self.second, changed)
        self.tell(f'two images of {SIZE} MiB: {WRITTEN} MiB random data, {REWRITTEN} MiB of it different')

    def run(self) -> None:
        self.make_images()
        source = self.create('source')
        attachment = self.attach(source)
        self.host.write_image(self.first, attachment['connection_info'])
        self.tell('write: QEMU wrote the first image over iSCSI')
        full = self.back_up(source, 'full', incremental=False)
        self.host.write_image(self.second, attachment['connection_info'])
        self.tell('write: QEMU wrote the second image over iSCSI')
        incremental = self.back_up(source, 'incremental', incremental=True)
        self.host.io(attachment['connection_info'], 'write -P 0x5a 0 64M')
        self.tell('write: QEMU damaged the first 64 MiB')
        self.detach(source, attachment)
        copy = self.restore(full, None)
        self.check(copy, self.first)
        self.check(self.restore(incremental, source.id), self.second)
        self.clean(backups=[incremental, full], volumes=[copy, source])

    def clean(self, backups: list[Any], volumes: list[Any]) -> None:
        for backup in backups:
            self.cinder.backups.delete(backup.id)
        for volume in volumes:
            self.cinder.volumes.delete(volume.id)
        self._gone(self.cinder.backups.list)
        self._gone(self.cinder.volumes.list)
        self.tell('delete: no volume and no backup is left')

    def _gone(self, list_all: Callable[[], list[Any]]) -> None:
        deadline = time.monotonic() + PATIENCE
        while list_all():
            if time.monotonic() > deadline:
                raise Mismatch(f'still there: {[(each.id, each.status) for each in list_all()]}')
            time.sleep(0.1)


def _client(clouds: Path) -> Any:
    """Return a client for the cloud ``demo`` of clouds.yaml, created as in a user's program."""
    os.environ['OS_CLIENT_CONFIG_FILE'] = str(clouds)
    session = openstack.config.OpenStackConfig().get_one(cloud='demo').get_session()
    return cinder.Client(MICROVERSION, session=session)


def _write(image: Path, tiles: dict[int, bytes]) -> None:
    """Write MiB tiles at their offsets; other ranges keep their data or are holes."""
    image.touch()
    with image.open('r+b') as file:
        file.truncate(SIZE * MIB)
        for place, data in tiles.items():
            file.seek(place * MIB)
            file.write(data)


def _copy(source: Path, target: Path) -> None:
    """Copy, keeping holes."""
    with source.open('rb') as readable:
        tiles = {place: data for place in range(SIZE) if (data := readable.read(MIB)) != bytes(MIB)}
    _write(target, tiles)


def main() -> int:
    with tempfile.TemporaryDirectory(prefix='cinderless-demo-') as name:
        folder = Path(name)
        print('starting a local cloud of its own', flush=True)
        try:
            with launched(folder / 'state') as facts:
                Demo(facts, folder).run()
        except Exception as error:
            print(f'FAILED: {error}', file=sys.stderr)
            log = folder / 'state.log'
            print(log.read_text(errors='replace')[-4000:] if log.exists() else '', file=sys.stderr)
            return 1
    print('all bytes are right')
    return 0


if __name__ == '__main__':
    sys.exit(main())
