"""The Glance port against a Glance that keeps its API to the letter, and against one that does not."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from chalicelib.clients import http as http_module
from chalicelib.clients.glance import Image, Images
from chalicelib.errors import ImageCopyFailure, ImageNotFound, InvalidInput, ServiceUnavailable
from tests.fake_glance import FakeGlance, serving
from tests.fake_nova import NoTokens

DATA = bytes(range(256)) * 100


class Tokens:
    """Hands out token-1, then token-2, ..."""

    number = 1

    def service_token(self, refused: str | None = None) -> str:
        self.number += refused == f'token-{self.number}'
        return f'token-{self.number}'


@pytest.fixture
def glance() -> Iterator[FakeGlance]:
    with serving(FakeGlance()) as running:
        yield running
    assert running.violations == []


@pytest.fixture
def images(glance: FakeGlance) -> Images:
    return Images(glance.url, NoTokens())


def test_what_is_said_of_an_image(glance: FakeGlance, images: Images) -> None:
    id = glance.add(DATA, min_disk=2, hw_disk_bus='virtio', tags=['a'])
    record = glance.images[id]
    assert images.get(id) == Image(
        id,
        'active',
        'cirros',
        'public',
        'another-project',
        'raw',
        'bare',
        len(DATA),
        len(DATA),
        2,
        0,
        record['checksum'],
        'sha512',
        record['os_hash_value'],
        {'hw_disk_bus': 'virtio'},
    )
    assert images.get(id).digest == ('sha512', record['os_hash_value'])


def test_the_old_checksum_is_used_where_there_is_no_other(glance: FakeGlance, images: Images) -> None:
    id = glance.add(DATA, os_hash_algo=None, os_hash_value=None)
    assert images.get(id).digest == ('md5', glance.images[id]['checksum'])
    assert images.get(glance.add()).digest is None


def test_an_unknown_image(images: Images) -> None:
    with pytest.raises(ImageNotFound, match='Image nope could not be found'):
        images.get('nope')
    with pytest.raises(ImageNotFound), images.data('nope'):
        pass


def test_an_id_cannot_leave_its_place_in_the_path(glance: FakeGlance, images: Images) -> None:
    with pytest.raises(ImageNotFound):
        images.get('../images/x?y#z')
    assert glance.requests[0][1] == '/v2/images/..%2Fimages%2Fx%3Fy%23z'


@pytest.mark.parametrize(
    ('status', 'shared'), [('accepted', True), ('pending', True), ('rejected', False), (None, False)]
)
def test_members(glance: FakeGlance, images: Images, status: str | None, shared: bool) -> None:
    id = glance.add(DATA)
    if status:
        glance.members[id, 'project'] = status
    assert images.is_shared_with(id, 'project') is shared


@pytest.mark.parametrize('knows_ranges', [True, False])
def test_data_from_an_offset(glance: FakeGlance, images: Images, knows_ranges: bool) -> None:
    glance.knows_ranges = knows_ranges
    with images.data(glance.add(DATA), 1000) as (position, stream):
        assert position == (1000 if knows_ranges else 0)
        assert stream.read(50_000) == DATA[position:]


def test_data_that_breaks_off(glance: FakeGlance, images: Images) -> None:
    glance.cut = [100]
    id = glance.add(DATA)
    with pytest.raises(ServiceUnavailable, match='The image service broke off'), images.data(id) as (_, stream):
        list(iter(lambda: stream.read(50_000), b''))


def test_an_image_without_data(glance: FakeGlance, images: Images) -> None:
    with pytest.raises(ServiceUnavailable, match='status 204 instead of the data'), images.data(glance.add()):
        pass


def test_make_and_fill_an_image(glance: FakeGlance, images: Images) -> None:
    facts = {'name': 'n', 'disk_format': 'raw', 'container_format': 'bare', 'owner': 'p', 'visibility': 'private'}
    made = images.create('id-1', facts)
    assert (made.id, made.status, made.owner) == ('id-1', 'queued', 'p')
    assert images.create('id-1', facts) == made
    images.upload('id-1', len(DATA), (DATA[start : start + 1000] for start in range(0, len(DATA), 1000)))
    assert (images.get('id-1').status, glance.data['id-1']) == ('active', DATA)
    with pytest.raises(ImageCopyFailure, match='status 409'):
        images.upload('id-1', 1, iter([b'x']))
    images.protect('id-1')
    with pytest.raises(ServiceUnavailable, match='answered DELETE with status 403'):
        images.delete('id-1')


def test_delete_twice(glance: FakeGlance, images: Images) -> None:
    id = glance.add(DATA)
    images.delete(id)
    images.delete(id)
    assert glance.images == {}


def test_a_refused_image(glance: FakeGlance, images: Images) -> None:
    with pytest.raises(InvalidInput, match='status 403'):
        images.create('id-1', {'disk_format': 'raw', 'container_format': 'bare', 'locations': []})
    assert glance.violations.pop()


def test_a_refused_token_is_renewed_once(glance: FakeGlance) -> None:
    glance.token, tokens = 'token-2', Tokens()
    assert Images(glance.url, tokens).get(glance.add(DATA)).status == 'active'
    assert [asked[2]['x-auth-token'] for asked in glance.requests] == ['token-1', 'token-2']
    glance.token = 'another'
    with pytest.raises(ServiceUnavailable, match='status 401'):
        Images(glance.url, tokens).get('x')


@pytest.mark.parametrize('status', [302, 500, 503, 300])
def test_other_answers_are_no_answers(glance: FakeGlance, images: Images, status: int) -> None:
    id = glance.add(DATA)
    glance.faults = [status]
    with pytest.raises(ServiceUnavailable, match=f'status {status}'):
        images.get(id)
    assert len(glance.requests) == 1


@pytest.mark.parametrize(
    'change',
    [{'size': -1}, {'size': '5'}, {'status': None}, {'min_disk': 'x'}, {'checksum': 5}, {'disk_format': ['raw']}],
)
def test_answers_that_are_no_images(glance: FakeGlance, images: Images, change: dict[str, Any]) -> None:
    with pytest.raises(ServiceUnavailable, match='not an image'):
        images.get(glance.add(DATA, **change))


@contextlib.contextmanager
def answering(content: bytes) -> Iterator[str]:
    """A server that sends this to every client, and hangs up."""
    listener = socket.create_server(('127.0.0.1', 0))

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection:
                    connection.recv(65536)
                    connection.sendall(content)

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f'http://127.0.0.1:{listener.getsockname()[1]}'
    finally:
        listener.close()


def _said(body: bytes) -> bytes:
    return b'HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s' % (len(body), body)


@pytest.mark.parametrize(
    'content',
    [b'', b'nonsense\r\n\r\n', _said(b'[]'), _said(b'null'), _said(b'<html>'), _said(b'[' * 5000), _said(b'{}')],
)
def test_what_is_no_glance(content: bytes) -> None:
    with answering(content) as url, pytest.raises(ServiceUnavailable):
        Images(url, NoTokens()).get('x')


def test_an_answer_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_module, 'MAX_ANSWER', 1000)
    with (
        answering(_said(json.dumps({'id': 'x' * 2000}).encode())) as url,
        pytest.raises(ServiceUnavailable, match='more than 1000 bytes'),
    ):
        Images(url, NoTokens()).get('x')


def test_nobody_there() -> None:
    with socket.create_server(('127.0.0.1', 0)) as listener:
        url = f'http://127.0.0.1:{listener.getsockname()[1]}'
    with pytest.raises(ServiceUnavailable, match='The image service gave no answer'):
        Images(url, NoTokens()).get('x')


def test_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_module, 'READ_TIMEOUT', 0.05)
    with socket.create_server(('127.0.0.1', 0)) as listener:
        url = f'http://127.0.0.1:{listener.getsockname()[1]}'
        with pytest.raises(ServiceUnavailable, match='gave no answer'):
            Images(url, NoTokens()).get('x')


def test_no_token_in_an_error(glance: FakeGlance) -> None:
    glance.token = 'another'
    with pytest.raises(ServiceUnavailable) as failed:
        Images(glance.url, Tokens()).get('x')
    assert 'token-' not in str(failed.value)
