"""The double's LUNs are real: who may log in, and what he sees."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chalicelib import iscsi
from chalicelib.errors import DeviceError, LoginFailed
from tests.ontap.fabric import Fabric, Unit

TARGET = 'iqn.1992-08.com.netapp:sn.svm1:vs.1'
HERE, THERE = 'iqn.2026-01.org.example:here', 'iqn.2026-01.org.example:there'
MIB = 1024**2
A, B = b'a' * 4096, b'b' * 4096


@pytest.fixture(scope='module')
def fabric(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fabric]:
    with Fabric(tmp_path_factory.mktemp('fabric'), TARGET) as running:
        yield running


def unit(fabric: Fabric, name: str, size: int = 64 * MIB) -> Unit:
    fabric.create(name, size)
    return Unit(name, f'serial-{name}'[:12], size, True)


def login(fabric: Fabric, number: int, initiator: str = HERE, portal: int = 0, **more: Any) -> iscsi.IscsiDevice:
    portals = [f'{address}:{fabric.port}' for address in fabric.addresses]
    data = {'target_portal': portals[portal], 'target_iqn': TARGET, 'target_lun': number, 'addressing_mode': 'SAM2'}
    return iscsi.open_device(data | more, initiator=initiator, timeout=5)


def test_one_target_shows_each_initiator_its_own_luns(fabric: Fabric) -> None:
    ours, theirs = unit(fabric, 'mapped'), unit(fabric, 'theirs', 32 * MIB)
    fabric.show(HERE, 7, ours)
    fabric.show(THERE, 7, theirs)
    with login(fabric, 7) as device, login(fabric, 7, THERE, portal=1) as other:
        assert (device.size, other.size) == (64 * MIB, 32 * MIB)
        assert sorted(fabric.initiators()) == [HERE, THERE]
    for number, initiator in ((8, HERE), (7, 'iqn.2026-01.org.example:unknown')):
        with pytest.raises(DeviceError):
            login(fabric, number, initiator)
    fabric.hide(HERE, 7)
    fabric.hide(THERE, 7)


def test_chap_belongs_to_the_initiator(fabric: Fabric) -> None:
    fabric.show(HERE, 4095, unit(fabric, 'secret'))
    fabric.authenticate(HERE, ('user', 'a secret of it'))
    account = {'auth_method': 'CHAP', 'auth_username': 'user'}
    with login(fabric, 4095, **account, auth_password='a secret of it') as device:
        assert device.read(0, 4096) == bytes(4096)
    for wrong in ({}, account | {'auth_password': 'another secret'}):
        with pytest.raises(LoginFailed):
            login(fabric, 4095, **wrong)
    fabric.authenticate(HERE, ('user', 'another secret'))
    login(fabric, 4095, **account, auth_password='another secret').close()
    fabric.authenticate(HERE, None)
    fabric.hide(HERE, 4095)


def test_a_clone_is_of_one_moment_and_a_lun_grows_under_its_session(fabric: Fabric) -> None:
    first = unit(fabric, 'first')
    fabric.show(HERE, 300, first)
    with login(fabric, 300) as device:
        device.write(0, A)
        fabric.clone('first', 'copy')
        device.write(0, B)
        fabric.change(Unit(first.uuid, first.serial, 128 * MIB, True))
        assert device.read(0, 4096) == B
    fabric.show(THERE, 1, Unit('copy', 'serial-copy', 64 * MIB, True))
    with login(fabric, 300) as device, login(fabric, 1, THERE) as copy:
        assert device.size == 128 * MIB
        assert copy.read(0, 4096) == A
    fabric.change(first, source='copy')
    with login(fabric, 300) as device:
        assert device.read(0, 4096) == A
    fabric.hide(HERE, 300)
    fabric.hide(THERE, 1)


def test_a_hidden_lun_is_gone_from_its_sessions(fabric: Fabric) -> None:
    fabric.show(HERE, 5, unit(fabric, 'hidden'))
    with login(fabric, 5) as device:
        fabric.hide(HERE, 5)
        with pytest.raises(DeviceError):
            device.read(0, 4096)


def test_another_target_name_is_not_found(fabric: Fabric) -> None:
    with pytest.raises(LoginFailed):
        login(fabric, 1, target_iqn='iqn.2026-01.org.example:other')


def test_disks_are_files_under_the_store(fabric: Fabric) -> None:
    fabric.create('plain', MIB)
    assert Path(fabric._path('plain')).stat().st_size == MIB
    fabric.delete('plain')
    assert not Path(fabric._path('plain')).exists()
