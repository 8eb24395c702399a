"""Every start with wrong settings: one line that names the variable, its value and what to do, and nothing changed.

The program is started as a user starts it. Each setting is refused before anything is started or written.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from local import launch
from local.state import LOCK, MARKER, VERSION
from tests.unit.cinderless.test_program import run

BACKEND: dict[str, Any] = {
    'name': 'one',
    'driver': 'appliance',
    'options': {'url': 'https://192.0.2.1:1', 'fingerprint': 'ab' * 32, 'pools': ['p']},
    'secrets': {'secret': {'secret': 'mine'}},
}


def backends(*entries: Any, **facts: Any) -> str:
    return json.dumps({'backends': [*entries, {**BACKEND, **facts}]})


def marker(**facts: Any) -> Callable[[Path], None]:
    """A state folder with a marker."""
    document = {'version': VERSION, 'durable': True, **facts}
    return folder(**{MARKER: json.dumps(document)})


def folder(**files: str) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        path.mkdir()
        for name, text in files.items():
            (path / name).write_text(text)

    return make


def with_directory(name: str) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        (path / name).mkdir(parents=True)

    return make


def a_file(path: Path) -> None:
    path.write_text('precious')


def a_loop(path: Path) -> None:
    path.symlink_to(path)


def dangling(path: Path) -> None:
    path.symlink_to(path.with_name('nowhere'))


#: What STATE_DIR is -> words of the message.
FOLDERS: dict[str, tuple[Callable[[Path], None], list[str]]] = {
    'a file': (a_file, ['is not a directory', 'set STATE_DIR']),
    'a loop of links': (a_loop, ['set STATE_DIR']),
    'a link to nowhere': (dangling, ['set STATE_DIR']),
    'of other content': (folder(thesis='all of it'), ['not empty', 'thesis', 'set another STATE_DIR']),
    'of 0.1.0': (folder(**{'log.jsonl': ''}), ['0.1.0', 'FRESH=1']),
    'of a later version': (marker(version=VERSION + 1), [f'version {VERSION + 1}', 'FRESH=1']),
    'of a version 1.9': (marker(version=1.9), ['1.9', 'damaged', 'FRESH=1']),
    'of a version true': (marker(version=True), ['damaged', 'FRESH=1']),
    'of a version as text': (marker(version='1'), ['damaged', 'FRESH=1']),
    'of a version null': (marker(version=None), ['damaged', 'FRESH=1']),
    'durable as text': (marker(durable='false'), ['damaged', 'FRESH=1']),
    'parts that are a text': (marker(parts='dynamodb'), ['damaged', 'FRESH=1']),
    'a marker that is a list': (folder(**{MARKER: '[]'}), ['damaged', 'FRESH=1']),
    'a marker of garbage': (folder(**{MARKER: '\x00\x01'}), ['damaged', 'FRESH=1']),
    'a marker that is a directory': (with_directory(MARKER), [MARKER, 'STATE_DIR']),
    'a lock that is a directory': (with_directory(LOCK), [LOCK, 'STATE_DIR']),
    'without a part': (marker(parts=['appliance/secret']), ['appliance/secret is missing', 'FRESH=1']),
}


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Settings that would work."""
    return {**launch.free_ports(), 'STATE_DIR': str(tmp_path / 'state')}


def listing(path: Path) -> list[tuple[str, int]]:
    return sorted((str(each.relative_to(path)), each.lstat().st_mtime_ns) for each in path.rglob('*'))


def refused(environment: dict[str, str], *words: str) -> str:
    """Start, and return the one line of the refusal."""
    done = run('serve', **environment)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ''
    assert done.stderr.count('\n') == 1, done.stderr
    assert 'Traceback' not in done.stderr
    assert [word for word in words if word not in done.stderr] == [], done.stderr
    return done.stderr


@pytest.mark.parametrize('kind', FOLDERS)
def test_a_state_folder_that_cannot_be_used(kind: str, environment: dict[str, str], tmp_path: Path) -> None:
    make, words = FOLDERS[kind]
    make(tmp_path / 'state')
    before = listing(tmp_path)
    refused(environment, f'STATE_DIR={tmp_path / "state"}', *words)
    assert listing(tmp_path) == before


@pytest.mark.parametrize('place', ['/proc/1/nowhere', '/sys/nowhere', f'/tmp/{"x" * 300}', '/dev/null/state'])
def test_a_state_folder_that_cannot_be_made(place: str, environment: dict[str, str]) -> None:
    refused({**environment, 'STATE_DIR': place}, f'STATE_DIR={place}', 'set STATE_DIR')


#: (variable, value) -> words of the message, beside the variable.
VALUES: dict[tuple[str, str], list[str]] = {
    ('PORT', 'http'): ["'http'", 'between 1 and 65535'],
    ('AWS_PORT', '65536'): ["'65536'", 'between 1 and 65535'],
    ('ISCSI_PORT', '-1'): ["'-1'"],
    ('FRESH', 'yes'): ["'yes'", 'give one of 0, 1'],
    ('DEBUG', 'yes'): ["'yes'", 'give one of 0, 1'],
    ('STATE', 'disk'): ["'disk'", 'give one of memory'],
    ('DYNAMODB', 'java'): ["'java'", 'give one of moto'],
    ('BACKENDS', '{'): ['not JSON', '@file'],
    ('BACKENDS', '/nowhere/backends.json'): ['/nowhere/backends.json', 'No such file'],
    ('BACKENDS', '@/nowhere'): ['/nowhere', 'No such file'],
    ('BACKENDS', '/tmp'): ['/tmp', 'directory'],
    ('BACKENDS', '[]'): ['JSON object'],
    ('BACKENDS', '"text"'): ['JSON object'],
    ('BACKENDS', '{}'): ['list under backends'],
    ('BACKENDS', '{"backends": []}'): ['empty'],
    ('BACKENDS', backends(driver='ceph')): ["driver is 'ceph'", 'appliance'],
    ('BACKENDS', backends(options={})): ['options.url is missing'],
    ('BACKENDS', backends(options={**BACKEND['options'], 'colour': 'red'})): ["unknown key 'colour'"],
    ('BACKENDS', backends(secrets={})): ['secrets.secret is missing'],
    ('BACKENDS', backends(secrets={'secret': {}})): ['secrets.secret'],
    ('BACKENDS', backends(secrets={'secret': 'plain'})): ['secrets.secret'],
    ('BACKENDS', backends(BACKEND)): ['cinderless@one', 'defined twice'],
    ('KEYSTONE_URL', 'keystone'): ["'keystone'", 'http'],
    ('KEYSTONE_URL', 'file:///etc/passwd'): ['file:///etc/passwd', 'http'],
    ('KEYSTONE_URL', 'http://127.0.0.1:1'): ['http://127.0.0.1:1', '/v3'],
    ('KEYSTONE_URL', 'http://127.0.0.1:1/v3'): ['http://127.0.0.1:1/v3', 'does not answer', 'KEYSTONE_URL'],
    ('KEYSTONE_URL', 'http://[::1/v3'): ['http://[::1/v3'],
    ('GLANCE_URL', 'glance:9292'): ["'glance:9292'", 'http'],
    ('NOVA_URL', 'http:///v2.1'): ["'http:///v2.1'", 'http'],
    ('NOVA_URL', 'http://nova'): ["'http://nova'", '/v2.1'],
    ('BARBICAN_URL', 'ftp://b'): ["'ftp://b'", 'http'],
    ('LISTEN', 'example.org'): ['example.org', 'IP address'],
    ('LISTEN', '0.0.0.0'): ['0.0.0.0', 'ADVERTISE'],
    ('LISTEN', '127.0.0.1 '): ['127.0.0.1 ', 'IP address'],
    ('ADVERTISE', 'http://storage'): ['http://storage', 'host name'],
    ('TLS', 'yes'): ["'yes'", 'give one of 0, 1'],
    ('TLS_CERTIFICATE', '/nowhere.pem'): ['/nowhere.pem'],
    ('TLS_KEY', '/nowhere.pem'): ['/nowhere.pem', 'TLS_CERTIFICATE'],
    ('POLICY_OVERRIDES', '{"volume:get": "admin"}'): ["volume:get has 'admin'", 'kind:value'],
    ('POLICY_OVERRIDES', '@/nowhere.yaml'): ['/nowhere.yaml', 'cannot be read'],
    ('DEFAULT_QUOTAS', '{"volume": 1}'): ["has 'volume'", 'allowed are volumes'],
    ('DEFAULT_QUOTAS', '[]'): ['not a JSON object'],
    ('DEFAULT_VOLUME_TYPE', 'x' * 256): ['1 to 255 characters'],
    ('OSAPI_MAX_LIMIT', '0'): ["is '0'", 'from 1 to 1000'],
    ('SCHEDULER_MAX_ATTEMPTS', 'many'): ["is 'many'", 'from 1 to 20'],
    ('REPORT_MAX_AGE', '60'): ["is '60'", 'from 120'],
    ('MAX_IMAGE_GIGABYTES', '-1'): ["is '-1'"],
    ('SCHEDULER_OPTIONS', '{"scheduler_max_attempts": 0}'): ['must be >=1'],
    ('INSECURE', 'perhaps'): ["'perhaps'", 'give one of 0, 1'],
}


@pytest.mark.parametrize(('name', 'value'), VALUES, ids=lambda value: str(value)[:40])
def test_a_value_that_cannot_work(name: str, value: str, environment: dict[str, str], tmp_path: Path) -> None:
    refused({**environment, name: value}, name, *VALUES[name, value])
    assert listing(tmp_path) == []


@contextlib.contextmanager
def taken(port: str) -> Iterator[None]:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(('127.0.0.1', int(port)))
        other.listen()
        yield


@pytest.mark.parametrize('name', ['PORT', 'AWS_PORT', 'ISCSI_PORT', 'APPLIANCE_PORT'])
def test_a_port_that_is_taken_is_named_with_its_holder(name: str, environment: dict[str, str], tmp_path: Path) -> None:
    with taken(environment[name]):
        refused(environment, f'{name}={environment[name]} is taken by pid {os.getpid()}', f'set {name}')
    assert listing(tmp_path) == []


def test_two_variables_with_one_port(environment: dict[str, str]) -> None:
    both = environment['PORT']
    refused({**environment, 'AWS_PORT': both}, f'AWS_PORT={both} is also the port of PORT')


def test_an_option_is_refused_as_its_variable(environment: dict[str, str]) -> None:
    done = run('serve', '--port', 'http', **environment)
    assert (done.returncode, done.stderr) == (2, "PORT='http': give a port between 1 and 65535\n")


def test_a_second_start_names_the_first(environment: dict[str, str], tmp_path: Path) -> None:
    import fcntl

    (tmp_path / 'state').mkdir()
    with (tmp_path / 'state' / LOCK).open('w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write(json.dumps({'pid': os.getpid(), 'started': 'now', 'ports': {'PORT': 1}}))
        lock.flush()
        refused(environment, f'another local cloud (pid {os.getpid()}, ports 1, since now) uses it', 'stop it')


def test_with_debug_the_traceback_is_shown(environment: dict[str, str]) -> None:
    done = run('serve', '--debug', **{**environment, 'BACKENDS': '/nowhere'})
    assert done.returncode == 2
    assert 'Traceback' in done.stderr
    assert 'BACKENDS=/nowhere' in done.stderr.splitlines()[-1]
