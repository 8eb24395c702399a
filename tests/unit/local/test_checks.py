"""What stops a start: one line that names the variable, its value and what to do."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from pathlib import Path

import pytest

from local import checks
from local.children import free_port
from local.settings import HOST, Refused, Settings
from local.state import MARKER

BACKEND = {
    'name': 'one',
    'driver': 'appliance',
    'options': {'url': 'https://192.0.2.1:1', 'fingerprint': 'ab' * 32, 'pools': ['p']},
    'secrets': {'secret': {'secret': 'mine', 'key': 'hmac'}},
}


def document(**facts: object) -> str:
    return json.dumps({'backends': [{**BACKEND, **facts}]})


def test_backends_that_can_work_pass() -> None:
    checks.check_backends('')
    checks.check_backends(document())


@pytest.mark.parametrize(
    ('wrong', 'named'),
    [
        (document(driver='ceph'), "driver is 'ceph'"),
        (document(options={}), 'url'),
        (document(secrets={}), 'secret'),
        ('[]', 'JSON object'),
    ],
)
def test_backends_that_cannot_work_are_refused(wrong: str, named: str) -> None:
    with pytest.raises(Refused, match=f'BACKENDS: .*{named}') as error:
        checks.check_backends(wrong)
    assert '\n' not in str(error.value)


def test_a_port_that_is_taken_is_told_with_its_holder() -> None:
    with socket.socket() as other:
        other.bind((HOST, 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(Refused, match=rf'AWS_PORT={port} is taken by pid {os.getpid()} \(.*\): stop it, or set'):
            checks.check_port('AWS_PORT', port)


def test_a_free_port_passes() -> None:
    checks.check_port('PORT', free_port())


def test_a_keystone_that_does_not_answer_is_told() -> None:
    checks.check_keystone('')
    url = f'http://{HOST}:{free_port()}/v3'
    with pytest.raises(Refused, match=f'KEYSTONE_URL={url} does not answer .*refused'):
        checks.check_keystone(url)


def test_well_known_passwords_are_not_opened_to_other_machines() -> None:
    opened = {'LISTEN': '192.0.2.1'}
    with pytest.raises(Refused, match=r'LISTEN=192.0.2.1 opens .*admin.* well known: .* KEYSTONE_URL, or INSECURE=1'):
        checks.check_open(Settings.from_environment(opened))
    for more in ({'INSECURE': '1'}, {'KEYSTONE_URL': 'http://keystone/v3'}, {'LISTEN': '127.0.0.2'}):
        checks.check_open(Settings.from_environment({**opened, **more}))


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(Refused, match=r'LISTEN=192.0.2.1 is not an address of this machine'):
        checks.check_port('PORT', free_port(), '192.0.2.1')


def test_a_new_state_needs_space_and_an_existing_one_starts_on_a_full_disk(tmp_path: Path) -> None:
    disk = tmp_path / 'disk'
    disk.mkdir()
    subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=100m', 'tmpfs', disk], check=True)
    try:
        settings = Settings.from_environment({'STATE_DIR': str(disk / 'new' / 'state')})
        with pytest.raises(Refused, match=r'has 100 MiB free, and a new state needs 296 MiB'):
            checks.check_space(settings)
        assert list(disk.iterdir()) == []
        settings.state_dir.mkdir(parents=True)
        (settings.state_dir / MARKER).touch()
        checks.check_space(settings)
    finally:
        subprocess.run(['umount', '--lazy', disk], check=True)
    checks.check_space(Settings.from_environment({'STATE_DIR': str(tmp_path)}))
