"""Images onto EBS: a snapshot is written as the image comes; the volume made of it takes the old one's place."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from chalicelib.models import Message, Volume
from chalicelib.operations import images
from chalicelib.tasks import image_copies
from local.ebs.cloud import Refused
from tests.ebs import TIMES, Region, region, served
from tests.factories import context, create_volume
from tests.fake_glance import FakeGlance
from tests.simulation import Simulation
from tests.workflows.test_ebs_backups import check, contents, data, fill, on_ebs
from tests.workflows.test_images import IMAGE, MIB, SMALL

__all__ = ['data', 'on_ebs', 'region', 'served']

BLOCK = 512 * 1024


def blocks(image: bytes) -> dict[int, bytes]:
    """Those that are not zero."""
    found = {start // BLOCK: image[start : start + BLOCK].ljust(BLOCK, b'\0') for start in range(0, len(image), BLOCK)}
    return {index: block for index, block in found.items() if block.strip(b'\0')}


@pytest.fixture
def seen(region: Region) -> Region:
    """New objects are visible at once, so that no call is repeated for that."""
    region.ebs.cloud.timing = dataclasses.replace(TIMES, visible=0)
    return region


def from_image(simulation: Simulation, image: str) -> Volume:
    made = create_volume(context(), 1, availability_zone='aws', image_id=image)
    simulation.settle()
    return made.reload()


def test_a_volume_from_an_image(simulation: Simulation, data: Any, seen: Region, glance: FakeGlance) -> None:
    made = from_image(simulation, glance.add(IMAGE))
    assert (made.status, made.bootable) == ('available', True)
    assert contents(seen, made) == blocks(IMAGE)
    assert seen.ebs.calls.count('PutSnapshotBlock') == len(blocks(IMAGE))
    assert seen.ebs.cloud.snapshots == {}
    check(simulation, seen)


def test_over_a_volume_with_data(
    simulation: Simulation, data: Any, region: Region, glance: FakeGlance, on_ebs: Volume
) -> None:
    fill(region, on_ebs, seed=1)
    before = on_ebs.reload().provider_id
    images.reimage(context(), on_ebs.id, glance.add(IMAGE), reserved=False)
    simulation.settle()
    after = on_ebs.reload()
    assert (after.status, after.provider_id == before) == ('available', False)
    assert contents(region, after) == blocks(IMAGE)
    check(simulation, region)


def test_in_many_calls_with_lost_answers(
    simulation: Simulation, data: Any, region: Region, glance: FakeGlance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cursor records what was written: the snapshot would not be completed if it were wrong."""
    monkeypatch.setattr(image_copies.function_time, 'has_time', lambda: False)
    glance.cut = [9 * MIB, 5]
    for operation in ('StartSnapshot', 'PutSnapshotBlock', 'CompleteSnapshot', 'CreateVolume'):
        region.ebs.lose_answer(operation, 2)
        region.ebs.throttle(operation, 2)
    made = from_image(simulation, glance.add(IMAGE))
    assert made.status == 'available'
    assert contents(region, made) == blocks(IMAGE)
    check(simulation, region)


def test_an_image_with_too_many_gaps(
    simulation: Simulation, data: Any, seen: Region, glance: FakeGlance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After so many zeroes are written, too, so that the payload has an end."""
    monkeypatch.setattr(image_copies, 'MOST_GAPS', 3)
    image = b''.join(b'x' * BLOCK + bytes(3 * BLOCK) for _ in range(40))
    made = from_image(simulation, glance.add(image))
    assert contents(seen, made) == blocks(image)
    assert seen.ebs.calls.count('PutSnapshotBlock') == 4 + 16 * 9
    check(simulation, seen)


@pytest.mark.parametrize('broken', ['image', 'PutSnapshotBlock', 'CompleteSnapshot', 'CreateVolume'])
def test_a_failure_leaves_nothing(
    simulation: Simulation, data: Any, region: Region, glance: FakeGlance, on_ebs: Volume, broken: str
) -> None:
    image = glance.add(IMAGE)
    if broken == 'image':
        glance.data[image] = b'x' * len(IMAGE)
    else:
        region.ebs.fail(broken, *[Refused('AccessDeniedException', 'no', 403)] * 100)
    fill(region, on_ebs, seed=1)
    before = contents(region, on_ebs)
    images.reimage(context(), on_ebs.id, image, reserved=False)
    simulation.settle()
    # The data is replaced as a whole, at the end: what fails before leaves the volume as it was.
    unchanged = broken in ('image', 'PutSnapshotBlock')
    assert on_ebs.reload().status == ('available' if unchanged else 'error')
    assert [one.action_id for one in Message.scan()] == ['016']
    region.ebs._before.clear()
    assert contents(region, on_ebs) == before
    assert region.ebs.cloud.snapshots == {}
    check(simulation, region)


def test_an_image_of_a_volume(
    simulation: Simulation, data: Any, region: Region, glance: FakeGlance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """EC2 takes longer to make it readable than a worker waits: the machine calls again."""
    made = from_image(simulation, glance.add(IMAGE))
    monkeypatch.setattr('chalicelib.tasks.images.GIB', SMALL)
    region.ebs.cloud.timing = dataclasses.replace(TIMES, snapshot=1200)
    facts: dict[str, Any] = {'disk_format': 'raw', 'container_format': 'bare', 'visibility': 'private'}
    _, copy = images.upload(context(), made.id, name='copy', protected=False, **facts)
    simulation.settle()
    assert made.reload().status == 'available'
    assert glance.data[copy.id] == IMAGE.ljust(SMALL, b'\0')
    check(simulation, region)
