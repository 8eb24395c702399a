"""A removed export leaves nothing behind at a real tgtd, whatever name or time the initiator chose."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chalicelib import iscsi
from chalicelib.drivers.appliance import ApplianceDriver
from chalicelib.drivers.base import ConnectionInfo
from chalicelib.errors import DeviceError
from chalicelib.iscsi import login, parameters
from chalicelib.iscsi.chap import Credentials, LoginRefused
from chalicelib.iscsi.transport import Connection
from tests.contract.agent import Agent
from tests.contract.driver_suite import BLOCK, Backend

A, B = 'iqn.2026-01.org.example:a', 'iqn.2026-01.org.example:b'


@pytest.fixture(scope='module')
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    with Agent(tmp_path_factory.mktemp('agent')) as running:
        yield running


@pytest.fixture
def backend(agent: Agent) -> Iterator[Backend]:
    made = agent.backend()
    yield made
    made.clean()


class HalfOpen:
    """A login that has shown its secret, and does not end before ``finish``."""

    def __init__(self, data: dict[str, Any], initiator: str) -> None:
        host, _, port = data['target_portal'].rpartition(':')
        self._connection = Connection.open(host, int(port), time.monotonic() + 10)
        self._dialogue = login._Dialogue(self._connection, b'\x80' + secrets.token_bytes(5), time.monotonic() + 60)
        names = {'InitiatorName': initiator, 'TargetName': data['target_iqn'], 'SessionType': 'Normal'}
        credentials = Credentials(data['auth_username'], data['auth_password'])
        login._authenticate(self._dialogue, names, credentials)

    def finish(self) -> bool:
        """Whether there is a session now."""
        try:
            self._dialogue.finish_stage(login.OPERATIONAL, login.FULL_FEATURE, parameters.offer())
        except (LoginRefused, login.TargetUnavailable, OSError):
            return False
        return True

    def close(self) -> None:
        self._connection.close()


def attached(backend: Backend, initiator: str, export_id: str, volume: Any) -> ConnectionInfo:
    return backend.driver.initialize_connection(volume, {'initiator': initiator}, export_id)


@pytest.mark.parametrize('name', [A, B])
def test_a_session_ends_with_its_export_whatever_name_it_has(backend: Backend, name: str) -> None:
    """Host a's account is used under host b's name: where both are admitted at one target, tgt lets it in."""
    volume = backend.volume(data=b'a' * BLOCK)
    ours, theirs = attached(backend, A, 'a', volume), attached(backend, B, 'b', volume)
    opened = []
    for target in (ours, theirs):
        data = {**target['data'], 'auth_username': ours['data']['auth_username']}
        data['auth_password'] = ours['data']['auth_password']
        try:
            opened.append(iscsi.open_device(data, initiator=name))
        except DeviceError:
            continue
    with iscsi.open_device(theirs['data'], initiator=B) as kept:
        backend.driver.terminate_connection(volume, 'a')
        for device in opened:
            with pytest.raises(DeviceError):
                device.read(0, BLOCK)
            device.close()
        assert kept.read(0, BLOCK) == b'a' * BLOCK


def sessions(backend: Backend) -> list[str]:
    """The initiators that the agent reports as logged in."""
    driver = backend.driver
    assert isinstance(driver, ApplianceDriver)
    found = driver._client.request('GET', '/v1/sessions')['sessions']
    return sorted(one['initiator'] for one in found)


@pytest.mark.parametrize('how', ['its path', 'all paths', 'deleted', 'unmanaged'])
def test_no_session_survives_its_export(backend: Backend, how: str) -> None:
    """The host does not log out: the agent ends the session, and a session that is wanted stays."""
    volume, other = backend.volume(), backend.volume()
    gone = iscsi.open_device(attached(backend, A, 'a', volume)['data'], initiator=A)
    with iscsi.open_device(attached(backend, B, 'b', other)['data'], initiator=B) as kept, contextlib.closing(gone):
        assert sessions(backend) == [A, B]
        backend.driver.terminate_connection(volume, 'a' if how == 'its path' else None)
        if how == 'deleted':
            backend.driver.delete_volume(volume)
        if how == 'unmanaged':
            backend.driver.unmanage(volume)
        assert sessions(backend) == [B]
        assert kept.read(0, BLOCK) == bytes(BLOCK)
        with pytest.raises(DeviceError):
            gone.read(0, BLOCK)


def test_a_login_that_is_held_open_ends_with_its_export(backend: Backend) -> None:
    volume = backend.volume()
    half = HalfOpen(attached(backend, A, 'a', volume)['data'], A)
    backend.driver.terminate_connection(volume, 'a')
    assert not half.finish()
    half.close()


def test_a_login_that_is_held_open_does_not_reach_the_next_volume(backend: Backend) -> None:
    """tgt looks up a target by its number when a login ends, and checks nothing then."""
    first = backend.volume()
    half = HalfOpen(attached(backend, A, 'a', first)['data'], A)
    backend.driver.terminate_connection(first, 'a')
    for number in range(3):
        attached(backend, B, f'b{number}', backend.volume())
    assert not half.finish()
    half.close()


def test_exports_of_an_earlier_version_keep_their_target(agent: Agent, tmp_path: Path) -> None:
    """Two hosts at one target, in the journal as that version wrote it: both log in, and one can be taken away."""
    del agent
    with Agent(tmp_path) as other:
        backend = other.backend()
        volume = backend.volume(data=b'a' * BLOCK)
        infos = {name: attached(backend, name, name[-1], volume) for name in (A, B)}
        shared = infos[A]['data']['target_iqn']
        other.stop()
        record = next(other.folder.glob('state/journal/fast/volume-*.json'))
        record.write_text(record.read_text().replace(infos[B]['data']['target_iqn'], shared))
        other.start()
        infos[B]['data']['target_iqn'] = shared
        with iscsi.open_device(infos[B]['data'], initiator=B) as kept:
            iscsi.open_device(infos[A]['data'], initiator=A).close()
            data = {**infos[A]['data']}
            disguised = iscsi.open_device(data, initiator=B)
            half = HalfOpen(data, B)
            other.driver().terminate_connection(volume, 'a')
            with pytest.raises(DeviceError):
                disguised.read(0, BLOCK)
            assert not half.finish()
            assert kept.read(0, BLOCK) == b'a' * BLOCK
