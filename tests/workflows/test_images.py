"""Volumes from images, over images, and into images: real bytes through a strict Glance and strict disks."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from chalicelib import errors
from chalicelib.clients import digest
from chalicelib.clients.glance import Images
from chalicelib.models import Message, Quota, Volume
from chalicelib.operations import attachments, images, managing, volumes
from chalicelib.tasks import executions, image_copies
from chalicelib.tasks import images as tasks
from tests import invariants
from tests.data_backends import TILE, Data, Disk
from tests.factories import context, create_volume
from tests.fake_glance import FakeGlance
from tests.simulation import Simulation

MIB = 1024**2

#: Bytes of a GiB where volumes are uploaded as a whole.
SMALL = 24 * MIB

#: Zeroes between data, and an end that is not a whole block.
IMAGE = b''.join(
    [
        random.Random(1).randbytes(3 * TILE),
        bytes(9 * MIB),
        random.Random(2).randbytes(9 * MIB + 77),
        bytes(TILE),
        b'end',
    ]
)

SERVER = 'c2a4f3f2-6d3a-4e5e-9f0e-0d7c5b7b6a11'


@pytest.fixture
def image(glance: FakeGlance) -> str:
    return glance.add(IMAGE, min_ram=64, hw_disk_bus='virtio', os_type='linux')


def volume_with_data(simulation: Simulation, data: Data) -> Volume:
    made = create_volume(context(), 1)
    simulation.settle()
    data.of(made).fill(seed=4).write(17 * MIB + 5, IMAGE[: 5 * TILE])
    return made.reload()


def check(simulation: Simulation, data: Data) -> None:
    invariants.check(simulation)
    assert data.paths() == []


def holds(disk: Disk, content: bytes) -> bool:
    return disk.same(filled(disk, content))


def filled(disk: Disk, content: bytes) -> Disk:
    made = Disk(disk.size)
    made.write(0, content)
    return made


def messages_of(record: Any) -> list[tuple[str, str]]:
    return [(one.action_id, one.detail_id) for one in Message.scan() if one.resource_uuid == record.id]


class TestCreate:
    @pytest.mark.parametrize('zeroed', [True, False])
    def test_every_byte_and_zeroes_behind(self, simulation: Simulation, data: Data, image: str, zeroed: bool) -> None:
        data.zeroed = zeroed
        volume = create_volume(context(), 2, image_id=image)
        assert (volume.status, volume.bootable) == ('creating', False)
        first, second = simulation.settle()
        assert first.path == ['Schedule', 'Provision']
        assert second.path == [
            'OpenImage', 'CopyImage', 'IsImageCopied', 'CompleteDownload', 'HasServers', 'Downloaded',
        ]  # fmt: skip
        volume = volume.reload()
        assert (volume.status, volume.bootable, volume.size) == ('available', True, 2)
        assert holds(data.of(volume), IMAGE)
        check(simulation, data)

    def test_what_is_kept_of_the_image(
        self, simulation: Simulation, data: Data, glance: FakeGlance, image: str
    ) -> None:
        volume = create_volume(context(), 1, image_id=image)
        simulation.settle()
        assert volume.reload().volume_image_metadata == {
            'image_id': image,
            'image_name': 'cirros',
            'checksum': glance.images[image]['checksum'],
            'container_format': 'bare',
            'disk_format': 'raw',
            'min_disk': '0',
            'min_ram': '64',
            'size': str(len(IMAGE)),
            'signature_verified': 'False',
            'hw_disk_bus': 'virtio',
            'os_type': 'linux',
        }

    def test_zero_blocks_are_not_written(self, simulation: Simulation, data: Data, glance: FakeGlance) -> None:
        volume = create_volume(context(), 1, image_id=glance.add(bytes(200 * MIB) + b'x' * 512))
        simulation.settle()
        assert len(data.of(volume).tiles) == 1
        assert [call for call in simulation.big.calls if call.startswith('zero')] == []

    def test_downloading_is_shown_and_can_be_reserved(self, simulation: Simulation, data: Data, image: str) -> None:
        volume = create_volume(context(), 1, image_id=image)
        simulation.deliver()
        simulation.run_machines()
        assert volume.reload().status == 'downloading'
        attachments.create(context(), volume_id=volume.id, instance_id=SERVER, connector=None, mode=None)
        simulation.settle()
        assert volume.reload().status == 'reserved'

    def test_the_state_payload_carries_no_property(self, simulation: Simulation, data: Data, image: str) -> None:
        create_volume(context(), 1, image_id=image)
        _, execution = simulation.settle()
        assert set(execution.payload) == {*executions.KEYS, executions.RELATED, 'execution'}
        assert 'virtio' not in str(execution.output)

    @pytest.mark.parametrize('resumable', [True, False])
    @pytest.mark.parametrize('knows_ranges', [True, False])
    def test_it_goes_on_where_time_ran_short(
        self,
        simulation: Simulation,
        data: Data,
        glance: FakeGlance,
        image: str,
        monkeypatch: pytest.MonkeyPatch,
        resumable: bool,
        knows_ranges: bool,
    ) -> None:
        glance.knows_ranges = knows_ranges
        monkeypatch.setattr(digest, 'is_pausable', lambda: resumable)
        monkeypatch.setattr(image_copies.function_time, 'has_time', lambda: False)
        data.zeroed = False
        create = create_volume(context(), 1, image_id=image)
        simulation.deliver()
        simulation.run_machines()
        simulation.deliver()
        # Clearing what is behind needs time: what a function has of it when it begins.
        monkeypatch.setattr(image_copies, '_cleared', lambda device, cursor, zeroed: _cleared(device, cursor, zeroed))
        [execution] = simulation.run_machines()
        assert execution.path.count('CopyImage') == 3
        assert holds(data.of(create), IMAGE)
        reread = sum(asked[1].endswith('/file') for asked in glance.requests)
        assert reread == 3

    def test_a_stream_that_breaks_off_is_taken_up(
        self, simulation: Simulation, data: Data, glance: FakeGlance, image: str
    ) -> None:
        glance.cut = [9 * MIB, 5]
        volume = create_volume(context(), 1, image_id=image)
        simulation.settle()
        assert holds(data.of(volume), IMAGE)
        starts = [asked[2].get('range') for asked in glance.requests if asked[1].endswith('/file')]
        assert starts == [None, f'bytes={8 * MIB}-', f'bytes={8 * MIB}-']
        check(simulation, data)

    def test_memory_is_bounded(
        self, simulation: Simulation, data: Data, image: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        largest = []
        write = image_copies._write

        def noted(device: Any, offset: int, chunk: bytes, **how: bool) -> Any:
            largest.append(len(chunk))
            return write(device, offset, chunk, **how)

        monkeypatch.setattr(image_copies, '_write', noted)
        create_volume(context(), 1, image_id=image)
        simulation.settle()
        assert max(largest) == image_copies.CHUNK

    def test_the_type_that_the_image_asks_for(self, simulation: Simulation, glance: FakeGlance) -> None:
        from chalicelib.operations import volume_types

        kind = volume_types.create(context('admin'), name='fast', description=None, is_public=True, extra_specs={})
        id = glance.add(IMAGE, cinder_img_volume_type='fast')
        other = create_volume(context(), 1).volume_type_id
        assert create_volume(context(), 1, image_id=id).volume_type_id == kind.id
        assert create_volume(context(), 1, image_id=id, volume_type='__DEFAULT__').volume_type_id == other


def _cleared(device: Any, cursor: image_copies.Cursor, zeroed: bool) -> image_copies.Cursor:
    for place, extent in list(device.allocated(cursor.offset, device.size - cursor.offset)):
        device.zero(place, extent)
    return image_copies.Cursor(device.size, '', True)


class TestRefusals:
    """At once, before anything is written: no record, no quota."""

    @pytest.mark.parametrize(
        ('facts', 'size', 'refusal'),
        [
            ({'disk_format': 'qcow2'}, 1, 'disk_format qcow2 .* only raw in bare .* qemu-img convert -O raw'),
            ({'disk_format': 'vmdk'}, 1, 'disk_format vmdk'),
            ({'container_format': 'compressed'}, 1, 'container_format compressed'),
            ({'disk_format': None}, 1, 'disk_format None'),
            ({'status': 'queued'}, 1, 'Image .* is not active'),
            ({'status': 'deactivated'}, 1, 'is not active'),
            ({'size': 0}, 1, 'it has no data'),
            ({'checksum': None, 'os_hash_value': None}, 1, 'no checksum that its data can be verified by'),
            ({'os_hash_algo': 'crc32'}, 1, 'no checksum that its data can be verified by'),
            ({'min_disk': 3}, 2, 'Volume size 2GB cannot be smaller than the image minDisk size 3GB'),
            ({'size': 2**30 + 1}, 1, 'Size of specified image 2GB is larger than volume size 1GB'),
            ({'virtual_size': 2**31}, 1, 'Size of specified image 2GB is larger than volume size 1GB'),
        ],
    )
    def test_images_that_will_not_do(
        self, simulation: Simulation, glance: FakeGlance, facts: dict[str, Any], size: int, refusal: str
    ) -> None:
        id = glance.add(IMAGE, **facts)
        with pytest.raises(errors.Invalid, match=refusal):
            create_volume(context(), size, image_id=id)
        assert list(Volume.scan()) == []
        assert glance.count('GET', '/file') == 0

    @pytest.mark.parametrize('visibility', ['private', 'shared'])
    def test_another_projects_image_is_not_there(
        self, simulation: Simulation, glance: FakeGlance, visibility: str
    ) -> None:
        id = glance.add(IMAGE, visibility=visibility, owner='another')
        with pytest.raises(errors.ImageNotFound):
            create_volume(context(), 1, image_id=id)

    def test_who_may_use_it(self, simulation: Simulation, glance: FakeGlance) -> None:
        shared = glance.add(IMAGE, visibility='shared', owner='another')
        glance.members[shared, 'project'] = 'accepted'
        own = glance.add(IMAGE, visibility='private', owner='project')
        for id in shared, own, glance.add(IMAGE, visibility='community', owner='another'):
            assert create_volume(context(), 1, image_id=id).status == 'creating'
        hidden = glance.add(IMAGE, visibility='private', owner='another')
        assert create_volume(context('admin'), 1, image_id=hidden).status == 'creating'

    def test_without_an_image_service(self, simulation: Simulation) -> None:
        with pytest.raises(errors.InvalidInput, match='no image service: an administrator sets GLANCE_URL'):
            create_volume(context(), 1, image_id=SERVER)

    def test_only_one_source(self, simulation: Simulation, image: str) -> None:
        with pytest.raises(errors.InvalidInput, match='only one of'):
            create_volume(context(), 1, image_id=image, source_volid=SERVER)

    def test_a_glance_that_is_down(self, simulation: Simulation, glance: FakeGlance, image: str) -> None:
        glance.faults = [503]
        with pytest.raises(errors.ServiceUnavailable):
            create_volume(context(), 1, image_id=image)


class TestFailures:
    """A failure after the request was accepted: status error, and a message with the reason."""

    def failed(self, simulation: Simulation, image: str) -> Volume:
        volume = create_volume(context(), 1, image_id=image)
        simulation.settle()
        assert (volume.reload().status, volume.reload().bootable) == ('error', False)
        return volume

    def test_other_bytes_than_promised(
        self, simulation: Simulation, data: Data, glance: FakeGlance, image: str
    ) -> None:
        glance.data[image] = IMAGE[:-1] + b'X'
        volume = self.failed(simulation, image)
        assert messages_of(volume) == [('005', '001')]
        assert 'does not match its sha512 checksum' in next(iter(Message.scan())).user_message
        check(simulation, data)

    def test_more_bytes_than_promised(self, simulation: Simulation, data: Data, glance: FakeGlance) -> None:
        id = glance.add(IMAGE[: 9 * MIB])
        glance.data[id] = IMAGE
        self.failed(simulation, id)
        check(simulation, data)

    def test_fewer_bytes_than_promised(
        self, simulation: Simulation, data: Data, glance: FakeGlance, image: str
    ) -> None:
        glance.data[image] = IMAGE[: 9 * MIB]
        volume = self.failed(simulation, image)
        assert 'broke off at 8388608' in next(iter(Message.scan())).explanation
        volumes.delete(context(), volume.id)
        simulation.settle()
        assert [quota.usage.attribute_values['volumes'] for quota in Quota.scan() if quota.id == 'quota'] == [0]
        check(simulation, data)

    def test_a_glance_that_goes_away(self, simulation: Simulation, data: Data, glance: FakeGlance, image: str) -> None:
        volume = create_volume(context(), 1, image_id=image)
        glance.faults = [503] * 50
        simulation.settle()
        assert volume.reload().status == 'error'
        check(simulation, data)

    def test_an_image_that_has_changed(
        self, simulation: Simulation, data: Data, glance: FakeGlance, image: str
    ) -> None:
        volume = create_volume(context(), 1, image_id=image)
        glance.images[image]['disk_format'] = 'qcow2'
        simulation.settle()
        assert volume.reload().status == 'error'
        assert glance.count('GET', '/file') == 0
        check(simulation, data)

    def test_a_forced_delete_in_the_middle(self, simulation: Simulation, data: Data, image: str) -> None:
        volume = create_volume(context(), 1, image_id=image)
        simulation.deliver()
        simulation.run_machines()
        volumes.delete(context('admin'), volume.id, force=True)
        ran = simulation.settle()
        assert sorted(execution.path[-1] for execution in ran) == ['Deleted', 'Superseded']
        check(simulation, data)


class TestReimage:
    def test_an_available_volume(self, simulation: Simulation, data: Data, image: str) -> None:
        volume = volume_with_data(simulation, data)
        images.reimage(context(), volume.id, image, reserved=False)
        assert volume.reload().status == 'downloading'
        simulation.settle()
        volume = volume.reload()
        assert (volume.status, volume.bootable) == ('available', True)
        assert volume.volume_image_metadata['image_id'] == image
        assert holds(data.of(volume), IMAGE)
        check(simulation, data)

    @pytest.mark.parametrize(
        ('status', 'reserved', 'after'),
        [('error', False, 'available'), ('reserved', True, 'reserved'), ('available', True, 'available')],
    )
    def test_the_status_afterwards(
        self, simulation: Simulation, data: Data, image: str, status: str, reserved: bool, after: str
    ) -> None:
        volume = volume_with_data(simulation, data)
        volume.update(actions=[Volume.status.set(status)])
        images.reimage(context(), volume.id, image, reserved=reserved)
        simulation.settle()
        assert volume.reload().status == after

    @pytest.mark.parametrize('status', ['in-use', 'reserved', 'uploading', 'creating', 'maintenance'])
    def test_statuses_that_refuse(self, simulation: Simulation, data: Data, image: str, status: str) -> None:
        volume = volume_with_data(simulation, data)
        volume.update(actions=[Volume.status.set(status)])
        with pytest.raises(errors.InvalidVolume, match=f'must be available or error, but current status is {status}'):
            images.reimage(context(), volume.id, image, reserved=False)

    def test_several_attachments(self, simulation: Simulation, data: Data, image: str) -> None:
        volume = volume_with_data(simulation, data)
        volume.update(actions=[Volume.attachments.set({'a': {}, 'b': {}}), Volume.status.set('reserved')])
        with pytest.raises(errors.Conflict, match='more than one attachment'):
            images.reimage(context(), volume.id, image, reserved=True)

    def test_a_failure(self, simulation: Simulation, data: Data, glance: FakeGlance, image: str) -> None:
        volume = volume_with_data(simulation, data)
        glance.data[image] = b'x' * len(IMAGE)
        images.reimage(context(), volume.id, image, reserved=False)
        simulation.settle()
        assert volume.reload().status == 'error'
        assert messages_of(volume) == [('016', '028')]
        check(simulation, data)

    @pytest.mark.parametrize(('status', 'reserved'), [('available', False), ('reserved', True)])
    def test_one_that_never_began(
        self, simulation: Simulation, data: Data, glance: FakeGlance, image: str, status: str, reserved: bool
    ) -> None:
        """The image is not active any more: nothing was written, so the volume is as it was."""
        volume = volume_with_data(simulation, data)
        before = data.of(volume).copy(data.of(volume).size)
        volume.update(actions=[Volume.status.set(status)])
        images.reimage(context(), volume.id, image, reserved=reserved)
        glance.images[image]['status'] = 'deactivated'
        simulation.settle()
        assert volume.reload().status == status
        assert data.of(volume).same(before)
        assert messages_of(volume) == [('016', '028')]


class TestUpload:
    @pytest.fixture(autouse=True)
    def small(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A GiB of 24 MiB, so that a whole volume is hashed and sent in no time."""
        monkeypatch.setattr(tasks, 'GIB', SMALL)

    def upload(self, volume: Volume, **facts: Any) -> str:
        usual: dict[str, Any] = {'name': 'gold', 'disk_format': 'raw', 'container_format': 'bare'}
        _, image = images.upload(
            context(), volume.id, **{**usual, 'visibility': 'private', 'protected': False, **facts}
        )
        return image.id

    def test_every_byte(self, simulation: Simulation, data: Data, glance: FakeGlance) -> None:
        volume = volume_with_data(simulation, data)
        id = self.upload(volume)
        assert volume.reload().status == 'uploading'
        assert glance.images[id]['status'] == 'queued'
        [execution] = simulation.settle()
        assert execution.path == ['UploadImage', 'CompleteUpload']
        record = glance.images[id]
        assert (record['status'], record['owner'], record['name']) == ('active', 'project', 'gold')
        assert glance.data[id] == data.of(volume).read(0, SMALL)
        assert volume.reload().status == 'available'
        check(simulation, data)

    def test_it_is_protected_when_it_is_whole(self, simulation: Simulation, data: Data, glance: FakeGlance) -> None:
        id = self.upload(volume_with_data(simulation, data), protected=True, visibility='community')
        assert not glance.images[id]['protected']
        simulation.settle()
        assert (glance.images[id]['protected'], glance.images[id]['visibility']) == (True, 'community')

    def test_properties_go_along_but_nothing_that_glance_knows(
        self, simulation: Simulation, data: Data, glance: FakeGlance
    ) -> None:
        """The user writes this metadata; the image is made with the service's rights."""
        volume = volume_with_data(simulation, data)
        evil = {'owner': 'another', 'locations': 'file:///etc', 'status': 'active', 'os_glance_x': '1', 'id': 'x'}
        volumes.set_image_metadata(context(), volume.id, {**evil, 'hw_disk_bus': 'scsi', 'min_ram': '5', 'size': '7'})
        id = self.upload(volume)
        record = glance.images[id]
        assert (record['owner'], record['hw_disk_bus'], record['min_ram']) == ('project', 'scsi', 5)
        assert (record['status'], 'os_glance_x' in record) == ('queued', False)

    @pytest.mark.parametrize('status', ['in-use', 'creating', 'error', 'reserved', 'uploading'])
    def test_only_an_available_volume(
        self, simulation: Simulation, data: Data, glance: FakeGlance, status: str
    ) -> None:
        volume = volume_with_data(simulation, data)
        volume.update(actions=[Volume.status.set(status)])
        with pytest.raises(errors.InvalidVolume, match=r'must be available$'):
            self.upload(volume)
        assert glance.images == {}

    @pytest.mark.parametrize('facts', [{'disk_format': 'qcow2'}, {'disk_format': 'vmdk'}, {'container_format': 'ovf'}])
    def test_only_raw(self, simulation: Simulation, data: Data, glance: FakeGlance, facts: dict[str, Any]) -> None:
        volume = volume_with_data(simulation, data)
        with pytest.raises(errors.InvalidInput, match='disk_format raw in container_format bare'):
            self.upload(volume, **facts)
        assert volume.reload().status == 'available'

    @pytest.mark.parametrize('status', [503, 403])
    def test_a_glance_that_refuses_the_record(
        self, simulation: Simulation, data: Data, glance: FakeGlance, status: int
    ) -> None:
        volume = volume_with_data(simulation, data)
        glance.faults = [status]
        with pytest.raises(errors.CinderlessError):
            self.upload(volume)
        assert volume.reload().status == 'available'
        check(simulation, data)

    def test_a_glance_that_fails(self, simulation: Simulation, data: Data, glance: FakeGlance) -> None:
        volume = volume_with_data(simulation, data)
        id = self.upload(volume)
        glance.faults = [0, 0, 500]
        simulation.settle()
        assert id not in glance.images
        assert volume.reload().status == 'available'
        assert messages_of(volume) == [('003', '004')]
        check(simulation, data)

    def test_time_runs_short(
        self, simulation: Simulation, data: Data, glance: FakeGlance, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        volume = volume_with_data(simulation, data)
        id = self.upload(volume)
        monkeypatch.setattr(image_copies.function_time, 'has_time', lambda: False)
        simulation.settle()
        assert id not in glance.images
        assert 'takes an image in one piece only' in next(iter(Message.scan())).user_message
        check(simulation, data)

    def test_and_back_again(self, simulation: Simulation, data: Data, glance: FakeGlance) -> None:
        volume = volume_with_data(simulation, data)
        id = self.upload(volume)
        simulation.settle()
        again = create_volume(context(), 1, image_id=id)
        simulation.settle()
        assert data.of(again).same(filled(data.of(volume), data.of(volume).read(0, SMALL)))


def upload(volume: Volume) -> str:
    usual = {'name': 'i', 'disk_format': 'raw', 'container_format': 'bare', 'visibility': 'private'}
    _, image = images.upload(context(), volume.id, **usual, protected=False)
    return image.id


ENDS: dict[str, Callable[[str], None]] = {
    'reset': lambda id: volumes.reset_status(context('admin'), id, 'available', None, None),
    'force-delete': lambda id: volumes.delete(context('admin'), id, force=True),
}


@pytest.mark.parametrize('end', ENDS)
@pytest.mark.parametrize('is_down', [False, True])
def test_an_upload_that_an_administrator_ends_leaves_no_image(
    simulation: Simulation, data: Data, glance: FakeGlance, end: str, is_down: bool
) -> None:
    volume = volume_with_data(simulation, data)
    upload(volume)
    glance.faults += [503] * 9 * is_down
    ENDS[end](volume.id)
    glance.faults.clear()
    simulation.settle()
    assert len(glance.images) == is_down
    check(simulation, data)


def test_an_upload_whose_image_was_made_without_an_answer_leaves_none(
    simulation: Simulation, data: Data, glance: FakeGlance, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = volume_with_data(simulation, data)
    create = Images.create

    def unanswered(port: Images, id: str, facts: Any) -> None:
        create(port, id, facts)
        raise errors.ServiceUnavailable(reason='no answer')

    monkeypatch.setattr(Images, 'create', unanswered)
    with pytest.raises(errors.ServiceUnavailable):
        upload(volume)
    assert (volume.reload().status, glance.images) == ('available', {})
    check(simulation, data)


def test_a_removal_that_is_refused_leaves_the_upload_alone(
    simulation: Simulation, data: Data, glance: FakeGlance
) -> None:
    volume = volume_with_data(simulation, data)
    image = upload(volume)
    with pytest.raises(errors.InvalidVolume):
        volumes.delete(context(), volume.id)
    with pytest.raises(errors.InvalidVolume):
        managing.unmanage_volume(context('admin'), volume.id)
    assert list(glance.images) == [image]
    simulation.settle()
    assert glance.images[image]['status'] == 'active'


@pytest.mark.parametrize('end', ENDS)
def test_an_image_that_is_whole_stays(simulation: Simulation, data: Data, glance: FakeGlance, end: str) -> None:
    volume = volume_with_data(simulation, data)
    image = upload(volume)
    glance._store(image, b'whole')
    ENDS[end](volume.id)
    simulation.settle()
    assert [one['status'] for one in glance.images.values()] == ['active']
