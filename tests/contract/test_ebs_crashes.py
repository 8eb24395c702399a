"""Every verb of the EBS driver dies before and after every one of its calls, and is repeated: all is there once."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from chalicelib.drivers.base import GIB, SnapshotRef, VolumeRef
from chalicelib.drivers.ebs_client import Api
from tests.ebs import EbsBackend, Region, backend, region, served

__all__ = ['backend', 'region', 'served']

BLOCK = 512 * 1024
PATH = '5e1f0000-0000-4000-8000-00000000e57e'


class Killed(BaseException):
    """The process is gone."""


@dataclasses.dataclass
class Scene:
    """What a verb works on."""

    backend: EbsBackend
    region: Region
    volume: VolumeRef
    snapshot: SnapshotRef
    made: VolumeRef
    far: VolumeRef
    #: The restore's ranges are done: a workflow continues from there, and never returns to them.
    is_written: bool = False

    @property
    def driver(self) -> Any:
        return self.backend.driver

    def put_on_record(self, **update: Any) -> None:
        self.volume = dataclasses.replace(self.volume, **update)

    def names(self) -> list[str]:
        """Names of what EBS has, each as often as it is there."""
        cloud = self.region.ebs.cloud
        self.region.clock.sleep(60)
        cloud.settle()
        return sorted(one.tags.now['cinder:name'] for one in [*cloud.volumes.values(), *cloud.snapshots.values()])


Verb = Callable[[Scene], object]


def restore(scene: Scene) -> None:
    if not scene.is_written:
        with scene.driver.open_restore(scene.volume, PATH) as device:
            device.write(BLOCK, b'r' * BLOCK)
    scene.is_written = True
    scene.put_on_record(**scene.driver.complete_restore(scene.volume, PATH, lambda: [(BLOCK, BLOCK)]))
    assert scene.backend.read(scene.volume, 0, BLOCK + 4) == bytes(BLOCK) + b'rrrr'


def cancel(scene: Scene) -> None:
    if not scene.is_written:
        scene.driver.open_restore(scene.volume, PATH).close()
    scene.is_written = True
    scene.driver.cancel_restore(scene.volume, PATH)
    assert scene.backend.read(scene.volume, 0, 4) == b'new!'


def revert(scene: Scene) -> None:
    scene.put_on_record(**scene.driver.revert_to_snapshot(scene.volume, scene.snapshot))
    assert scene.backend.read(scene.volume, 0, 4) == b'old!'


def attach(scene: Scene) -> None:
    connector = {'instance_id': scene.region.instance}
    data = scene.driver.initialize_connection(scene.volume, connector, 'one')['data']
    found = scene.region.ebs.cloud.volumes[data['volume_id']].attachments
    assert list(found) == [scene.region.instance]


def detach(scene: Scene) -> None:
    attach(scene)
    scene.driver.terminate_connection(scene.volume, 'one')
    [volume] = scene.region.ec2.describe_volumes(VolumeIds=[scene.volume.provider_id])['Volumes']
    assert volume['Attachments'] == []


def read(scene: Scene) -> None:
    with scene.driver.open_volume(scene.volume, PATH, 'ro') as device:
        assert (device.size, device.read(0, 512)[:4]) == (GIB, b'new!')
    scene.driver.close_volume(scene.volume, PATH)


#: Verb -> what it adds to the volume and its snapshot, and takes away.
VERBS: dict[str, tuple[Verb, tuple[str, ...], tuple[str, ...]]] = {
    'create': (lambda scene: scene.driver.create_volume(scene.made), ('made',), ()),
    'create from snapshot': (
        lambda scene: scene.driver.create_volume_from_snapshot(scene.made, scene.snapshot),
        ('made',),
        (),
    ),
    'clone': (lambda scene: scene.driver.create_cloned_volume(scene.made, scene.volume), ('made',), ()),
    'clone to another zone': (lambda scene: scene.driver.create_cloned_volume(scene.far, scene.volume), ('far',), ()),
    'extend': (lambda scene: scene.driver.extend_volume(scene.volume, 2), (), ()),
    'delete': (lambda scene: scene.driver.delete_volume(scene.volume), (), ('volume',)),
    'create snapshot': (lambda scene: scene.driver.create_snapshot(scene.snapshot), (), ()),
    'delete snapshot': (lambda scene: scene.driver.delete_snapshot(scene.snapshot), (), ('snapshot',)),
    'revert': (revert, (), ()),
    'restore': (restore, (), ()),
    'cancelled restore': (cancel, (), ()),
    'attach': (attach, (), ()),
    'detach': (detach, (), ()),
    'read': (read, (), ()),
}


@pytest.fixture
def crashing(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """[calls made, half of a call at which to die]; no call is beyond the end."""
    state = [0, -1]
    call = Api._call

    def counted(api: Api, *wanted: Any) -> Any:
        number = state[0]
        state[0] += 1
        if state[1] == 2 * number:
            raise Killed
        answer = call(api, *wanted)
        if state[1] == 2 * number + 1:
            raise Killed
        return answer

    monkeypatch.setattr(Api, '_call', counted)
    yield state
    state[1] = -1


def scene(backend: EbsBackend, region: Region) -> Scene:
    """A volume with new data, its snapshot with old data, and refs of what may be made."""
    region.fresh()
    volume = backend.volume_ref()
    volume = dataclasses.replace(volume, **backend.driver.create_volume(volume))
    backend.write(volume, 0, b'old!')
    snapshot = backend.snapshot(volume)
    backend.write(volume, 0, b'new!')
    region.clock.sleep(60)
    return Scene(backend, region, volume, snapshot, backend.volume_ref(), backend.volume_ref(1, backend.other_host))


@pytest.mark.parametrize('name', VERBS)
def test_a_crash_at_every_call(backend: EbsBackend, region: Region, crashing: list[int], name: str) -> None:
    verb, added, removed = VERBS[name]
    crash, halves = -1, 0  # the first run is whole, and counts the calls
    while crash < halves:
        on = scene(backend, region)
        expected = sorted(getattr(on, one).name for one in {'volume', 'snapshot', *added} - set(removed))
        crashing[:] = [0, crash]
        with contextlib.suppress(Killed):
            verb(on)
        halves = halves or 2 * crashing[0]
        crashing[1] = -1
        verb(on)
        assert on.names() == expected, f'died in half {crash} of {halves}'
        backend.clean()
        assert on.names() == []
        crash += 1
    assert halves >= 2
