"""Kill the process at each call of a copy from or to an image.

The work ends automatically, and every byte is right.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pytest

from chalicelib.clients.glance import Images
from chalicelib.models import Volume
from chalicelib.operations import cloud, images
from chalicelib.tasks import images as tasks
from tests.data_backends import Data, Disk
from tests.factories import context, create_volume
from tests.fake_glance import FakeGlance, serving
from tests.fake_nova import NoTokens
from tests.simulation import Simulation
from tests.workflows.crashes import Crasher, Scenario, Stage

IMAGE = b'boot' * 50_000 + bytes(400_000) + b'end'

#: Bytes of a GiB: a whole volume is uploaded at each crash point.
SMALL = 1024**2

#: Calls of the data path and of Glance that change nothing.
READS = (' read', ' allocated', 'glance GET')


class ImageCrasher(Crasher):
    def around(self, name: str) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext() if name.endswith(READS) else super().around(name)


class KillableImages(Images):
    """Glance's port; ``around`` wraps each call of it."""

    def __init__(self, url: str, simulation: Simulation) -> None:
        super().__init__(url, NoTokens())
        call, stream = self._service.call, self._service.stream

        def called(method: str, *arguments: Any, **facts: Any) -> Any:
            with simulation.around(f'glance {method}'):
                return call(method, *arguments, **facts)

        @contextlib.contextmanager
        def streamed(method: str, *arguments: Any, **facts: Any) -> Any:
            with simulation.around(f'glance {method}'), stream(method, *arguments, **facts) as response:
                yield response

        self._service.call, self._service.stream = called, streamed  # type: ignore[method-assign]


def creating(story: ImageStage) -> None:
    create_volume(context(), 1, image_id=story.image)


def reimaging(story: ImageStage) -> None:
    images.reimage(context(), story.volume.id, story.image, reserved=False)


def uploading(story: ImageStage) -> None:
    facts: dict[str, Any] = {'disk_format': 'raw', 'container_format': 'bare', 'visibility': 'private'}
    images.upload(context(), story.volume.id, name='gold', protected=False, **facts)


def with_other_bytes(story: ImageStage) -> None:
    story.glance.data[story.image] = b'x' * len(IMAGE)
    reimaging(story)


class ImageStage(Stage):
    """A stage whose disks and Glance are put back, too."""

    def __init__(self, glance: FakeGlance, request: Callable[[ImageStage], None], patch: pytest.MonkeyPatch) -> None:
        self.glance = glance
        self.image = glance.add(IMAGE)
        super().__init__(Scenario('image', self.begin, lambda _, __: request(self)), patch)
        self.disks, self.kept = self.data.disks, glance.copy()

    def begin(self, simulation: Simulation) -> None:
        self.surround(simulation)
        self.volume = create_volume(context(), 1)
        simulation.settle()
        self.data.of(self.volume).fill(seed=1, count=2).write(70_000, IMAGE)

    def surround(self, simulation: Simulation) -> None:
        self.data = Data(simulation, self.monkeypatch)
        self.monkeypatch.setattr(cloud, 'images', lambda: KillableImages(self.glance.url, simulation))

    def world_again(self) -> Simulation:
        simulation = super().world_again()
        self.surround(simulation)
        for host, disks in self.disks.items():
            self.data.disks[host].update({name: disk.copy(disk.size) for name, disk in disks.items()})
        kept = self.kept.copy()
        self.glance.images, self.glance.data = kept.images, kept.data
        return simulation

    def play(self, *crashers: Crasher, execution_survives: bool = False) -> Simulation:
        simulation = super().play(*crashers, execution_survives=execution_survives)
        assert self.data.paths() == []
        for volume in Volume.scan():
            if volume.volume_image_metadata:
                assert (volume.status, volume.bootable) == ('available', True)
                assert self.data.of(volume).same(_disk(IMAGE))
        for id, image in self.glance.images.items():
            if id != self.image and image['status'] == 'active':
                assert self.data.of(self.volume).read(0, SMALL) == self.glance.data[id]
            else:
                assert image['status'] != 'saving'
        return simulation


def _disk(content: bytes) -> Disk:
    disk = Disk(1024**3)
    disk.write(0, content)
    return disk


@pytest.mark.parametrize('execution_survives', [False, True], ids=['all dies', 'worker dies'])
@pytest.mark.parametrize('request_', [creating, reimaging, uploading, with_other_bytes])
def test_every_crash_point(
    request_: Callable[[ImageStage], None], execution_survives: bool, tables: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, 'GIB', SMALL)
    with serving(FakeGlance()) as glance:
        stage, trace = ImageStage(glance, request_, monkeypatch), ImageCrasher()
        stage.play(trace, execution_survives=execution_survives)
        assert len(trace.calls) >= 5
        for index in range(len(trace.calls) + 1):
            try:
                stage.play(ImageCrasher(index), execution_survives=execution_survives)
            except BaseException as error:
                error.add_note(f'killed before call {index} of {trace.calls}')
                raise
        assert glance.violations == []
