"""Volumes and images over HTTP: what is answered, to whom, at which version."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from chalicelib.clients.glance import Images
from chalicelib.models import Volume
from chalicelib.operations import cloud
from tests.api.front_door import Caller
from tests.fake_glance import FakeGlance, serving
from tests.fake_nova import NoTokens

UPLOAD: dict[str, Any] = {'image_name': 'gold', 'force': False, 'disk_format': 'raw', 'container_format': 'bare'}


@pytest.fixture
def glance(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeGlance]:
    with serving(FakeGlance()) as running:
        monkeypatch.setattr(cloud, 'images', lambda: Images(running.url, NoTokens()))
        yield running


@pytest.fixture
def image(glance: FakeGlance) -> str:
    return glance.add(b'data')


def test_create_from_an_image(member: Caller, image: str, project: str) -> None:
    answer = member.post('/volumes', {'volume': {'size': 1, 'imageRef': image}}, at='3.71')
    assert (answer.status, answer.body['volume']['status']) == (202, 'creating')
    assert Volume.find(project, answer.body['volume']['id']).operation_facts()['image_id'] == image


@pytest.mark.parametrize(
    ('facts', 'fault'),
    [
        ({'disk_format': 'qcow2'}, ('badRequest', 400)),
        ({'visibility': 'private'}, ('itemNotFound', 404)),
        ({'status': 'queued'}, ('badRequest', 400)),
        ({'min_disk': 5}, ('badRequest', 400)),
    ],
)
def test_images_that_will_not_do(member: Caller, glance: FakeGlance, facts: dict[str, Any], fault: Any) -> None:
    id = glance.add(b'data', **facts)
    assert member.post('/volumes', {'volume': {'size': 1, 'imageRef': id}}).fault[:2] == fault


def test_an_image_service_that_is_down(member: Caller, glance: FakeGlance, image: str) -> None:
    glance.faults = [500]
    assert member.post('/volumes', {'volume': {'size': 1, 'imageRef': image}}).status == 503


@pytest.mark.parametrize(('at', 'more'), [('3.0', set()), ('3.1', {'visibility', 'protected'})])
def test_upload(member: Caller, make: Any, glance: FakeGlance, at: str, more: set[str]) -> None:
    volume = make.volume()
    answer = member.post(f'/volumes/{volume.id}/action', {'os-volume_upload_image': UPLOAD}, at=at)
    assert answer.status == 202
    shown = answer.body['os-volume_upload_image']
    assert set(shown) == more | {
        'id', 'updated_at', 'status', 'display_description', 'size', 'volume_type', 'image_id', 'container_format',
        'disk_format', 'image_name',
    }  # fmt: skip
    assert (shown['id'], shown['status'], shown['image_name']) == (volume.id, 'uploading', 'gold')
    assert glance.images[shown['image_id']]['status'] == 'queued'


def test_visibility_and_protected_are_unknown_before_3_1(member: Caller, make: Any, glance: FakeGlance) -> None:
    path = f'/volumes/{make.volume().id}/action'
    body = {'os-volume_upload_image': {**UPLOAD, 'visibility': 'shared', 'protected': 'true'}}
    assert member.post(path, body, at='3.0').status == 400
    shown = member.post(path, body, at='3.1').body['os-volume_upload_image']
    assert (shown['visibility'], shown['protected']) == ('shared', True)


def test_only_administrators_upload_for_everybody(member: Caller, admin: Caller, make: Any, glance: FakeGlance) -> None:
    path, body = f'/volumes/{make.volume().id}/action', {'os-volume_upload_image': {**UPLOAD, 'visibility': 'public'}}
    assert member.post(path, body, at='3.1').status == 403
    assert admin.post(path, body, at='3.1').status == 202


@pytest.mark.parametrize(
    'change',
    [{'image_name': ''}, {'image_name': None}, {'disk_format': 'img'}, {'disk_format': 'qcow2'}, {'other': 1}],
)
def test_uploads_that_make_no_sense(member: Caller, make: Any, glance: FakeGlance, change: dict[str, Any]) -> None:
    path = f'/volumes/{make.volume().id}/action'
    assert member.post(path, {'os-volume_upload_image': {**UPLOAD, **change}}, at='3.71').status == 400
    assert glance.images == {}


def test_reimage(member: Caller, reader: Caller, stranger: Caller, make: Any, image: str) -> None:
    path = f'/volumes/{make.volume().id}/action'
    body = {'os-reimage': {'image_id': image, 'reimage_reserved': False}}
    assert member.post(path, body, at='3.67').status == 404
    assert reader.post(path, body, at='3.68').status == 403
    assert stranger.post(path, body, at='3.68').status == 404
    assert member.post(path, body, at='3.68').status == 202
    assert member.post(path, body, at='3.68').fault[:2] == ('badRequest', 400)


def test_reimage_of_a_reserved_volume(member: Caller, make: Any, image: str) -> None:
    path = f'/volumes/{make.volume(status="reserved").id}/action'
    assert member.post(path, {'os-reimage': {'image_id': image}}, at='3.68').status == 400
    body = {'os-reimage': {'image_id': image, 'reimage_reserved': 'true'}}
    assert member.post(path, body, at='3.68').status == 202


def test_reimage_of_a_volume_with_several_attachments(member: Caller, make: Any, image: str) -> None:
    links = {str(uuid.uuid4()): {'attach_status': 'reserved', 'instance_id': None} for _ in range(2)}
    volume = make.volume(attachments=links, attachment_count=2)
    answer = member.post(f'/volumes/{volume.id}/action', {'os-reimage': {'image_id': image}}, at='3.68')
    assert answer.fault[:2] == ('conflictingRequest', 409)


def test_without_an_image_service(member: Caller) -> None:
    answer = member.post('/volumes', {'volume': {'size': 1, 'imageRef': str(uuid.uuid4())}})
    assert answer.fault == (
        'badRequest',
        400,
        'Invalid input received: This cloud has no image service: an administrator sets GLANCE_URL.',
    )
