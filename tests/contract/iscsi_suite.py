"""Contract of every driver whose volumes hosts reach over iSCSI: see ``driver_suite``."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from chalicelib import iscsi
from chalicelib.drivers.base import GIB, ConnectionInfo, VolumeRef
from chalicelib.errors import (
    CheckCondition,
    DeviceError,
    DeviceUnreachable,
    InvalidConnector,
    LoginFailed,
    ProviderNotFound,
)
from tests.contract.driver_suite import BLOCK, Backend, Cleaned, Counter

#: A target may name the reason, or only hang up after the last export was removed.
REFUSED: tuple[type[DeviceError], ...] = (LoginFailed, DeviceUnreachable)


class IscsiContract(Cleaned):
    """Exports: hosts that can log in, and hosts that no longer can."""

    HERE = 'iqn.2026-01.org.example:here'
    THERE = 'iqn.2026-01.org.example:there'

    def refused(self, backend: Backend) -> tuple[type[DeviceError], ...]:
        """Return the errors of a refused host. A target shared by all volumes accepts a known host, without a LUN."""
        return REFUSED if backend.driver.capabilities.export_accounts else (*REFUSED, CheckCondition)

    def connect(
        self, backend: Backend, volume: VolumeRef, export_id: str = 'one', initiator: str = HERE
    ) -> ConnectionInfo:
        return backend.driver.initialize_connection(volume, {'initiator': initiator}, export_id)

    def login(self, info: ConnectionInfo, initiator: str = HERE, **other: Any) -> iscsi.IscsiDevice:
        return iscsi.open_device(info['data'] | other, initiator=initiator, timeout=5)

    def test_connection_data_is_what_os_brick_reads(self, backend: Backend) -> None:
        volume = backend.volume()
        info = self.connect(backend, volume)
        data = info['data']
        assert info['driver_volume_type'] == 'iscsi'
        assert data['target_discovered'] is False
        assert data['target_portal'].count(':') == 1
        assert data['volume_id'] == volume.id
        if backend.driver.capabilities.export_accounts:
            assert data['target_lun'] == 1
            assert data['target_iqn'] == f'iqn.2010-10.org.openstack:{volume.name}'
        count = len(data.get('target_portals', [0]))
        assert [len(data.get(name, [0])) for name in ('target_iqns', 'target_luns')] == [count, count]
        assert (data['auth_method'], len(data['auth_username']), len(data['auth_password'])) == ('CHAP', 20, 16)
        assert data['auth_password'].isalnum()

    def test_the_same_path_again_is_the_same_answer(self, backend: Backend) -> None:
        volume = backend.volume()
        first = self.connect(backend, volume)
        with self.login(first) as device:
            assert self.connect(backend, volume) == first
            assert device.read(0, BLOCK) == bytes(BLOCK)

    def test_each_path_or_host_has_a_secret_of_its_own(self, backend: Backend) -> None:
        volume, other = backend.volume(), backend.volume()
        infos = [self.connect(backend, volume), self.connect(backend, volume, 'two', self.THERE)]
        infos.append(self.connect(backend, other))
        count = 3 if backend.driver.capabilities.export_accounts else 2
        assert len({info['data']['auth_password'] for info in infos}) == count
        assert len({info['data']['auth_username'] for info in infos}) == count

    def test_exports_are_listed(self, backend: Backend) -> None:
        volume = backend.volume()
        self.connect(backend, volume, 'one')
        self.connect(backend, volume, 'two', self.THERE)
        found = backend.driver.list_exports()
        assert sorted((one.object, one.pool, one.export_id, one.host) for one in found) == [
            (volume.name, volume.pool, 'one', self.HERE), (volume.name, volume.pool, 'two', self.THERE),
        ]  # fmt: skip
        backend.driver.terminate_connection(volume, 'one')
        assert [one.export_id for one in backend.driver.list_exports()] == ['two']
        backend.driver.terminate_connection(volume, None)
        assert backend.driver.list_exports() == []

    def test_a_connector_without_an_initiator_is_refused(self, backend: Backend) -> None:
        volume = backend.volume()
        with pytest.raises(InvalidConnector, match='initiator'):
            backend.driver.initialize_connection(volume, {'host': 'here'}, 'one')

    @pytest.mark.parametrize('name', ['ALL', 'iqn.2026-01.org.example:a,b', '192.0.2.1', '../x', 'iqn.2026-01.a:b c'])
    def test_what_is_no_iscsi_name_is_refused(self, backend: Backend, name: str) -> None:
        volume = backend.volume()
        with pytest.raises(InvalidConnector):
            self.connect(backend, volume, initiator=name)

    def test_a_foreign_initiator_is_refused(self, backend: Backend) -> None:
        info = self.connect(backend, backend.volume())
        with pytest.raises(LoginFailed):
            self.login(info, self.THERE)

    @pytest.mark.parametrize('other', [{'auth_password': 'x' * 16}, {'auth_method': None}])
    def test_a_wrong_secret_is_refused(self, backend: Backend, other: dict[str, Any]) -> None:
        info = self.connect(backend, backend.volume())
        with pytest.raises(LoginFailed):
            self.login(info, **other)

    @pytest.mark.parametrize('host', [HERE, THERE])
    def test_another_path_s_secret_does_not_open_another_volume(self, backend: Backend, host: str) -> None:
        ours = self.connect(backend, backend.volume())
        theirs = self.connect(backend, backend.volume(), initiator=host)
        account = {name: ours['data'][name] for name in ('auth_username', 'auth_password')}
        if host == self.HERE and not backend.driver.capabilities.export_accounts:
            assert account.items() <= theirs['data'].items()  # a host has one account
            return
        with pytest.raises(LoginFailed):
            self.login(theirs, host, **account)

    def test_a_read_only_path_cannot_write(self, backend: Backend) -> None:
        volume = backend.volume(data=b'a' * BLOCK)
        info = backend.driver.initialize_connection(volume, {'initiator': self.HERE}, 'one', 'ro')
        assert info['data']['access_mode'] == 'ro'
        if not backend.driver.capabilities.read_only_exports:
            return  # the host keeps to access_mode
        with self.login(info) as device, pytest.raises(DeviceError):
            device.write(0, b'b' * BLOCK)
        assert backend.read(volume, 0, BLOCK) == b'a' * BLOCK

    @pytest.mark.parametrize('hosts', [[HERE, THERE, HERE], [THERE, HERE, HERE]])
    def test_paths_that_come_and_go_leave_the_others_alone(self, backend: Backend, hosts: list[str]) -> None:
        """Remove three exports of a volume in every order."""
        volume = backend.volume(data=b'a' * BLOCK)
        for order in itertools.permutations(range(len(hosts))):
            paths = {n: self.connect(backend, volume, f'path-{n}', name) for n, name in enumerate(hosts)}
            for gone in order:
                backend.driver.terminate_connection(volume, f'path-{gone}')
                info = paths.pop(gone)
                own = backend.driver.capabilities.export_accounts
                if own or hosts[gone] not in {hosts[kept] for kept in paths}:
                    with pytest.raises(self.refused(backend)):
                        self.login(info, hosts[gone])
                for kept, path in paths.items():
                    self.login(path, hosts[kept]).close()

    @pytest.mark.parametrize('second', [THERE, HERE], ids=['another host', 'the same host'])
    def test_terminate_takes_away_exactly_one_path(self, backend: Backend, second: str) -> None:
        volume = backend.volume(data=b'a' * BLOCK)
        gone, kept = self.connect(backend, volume), self.connect(backend, volume, 'two', second)
        if second == self.HERE and not backend.driver.capabilities.export_accounts:
            backend.driver.terminate_connection(volume, 'one')
            self.login(gone).close()  # the backend has one export per host, until its last connection ends
            return
        with self.login(gone) as lost, self.login(kept, second) as device:
            for _ in range(2):
                backend.driver.terminate_connection(volume, 'one')
            assert device.read(0, BLOCK) == b'a' * BLOCK
            with pytest.raises(DeviceError):
                lost.read(0, BLOCK)
        with pytest.raises(self.refused(backend)):
            self.login(gone)
        self.login(kept, second).close()

    def test_a_host_keeps_its_volume_until_its_last_path_goes(self, backend: Backend) -> None:
        volume = backend.volume(data=b'a' * BLOCK)
        infos = [self.connect(backend, volume, name) for name in ('one', 'two')]
        backend.driver.terminate_connection(volume, 'one')
        with self.login(infos[1]) as device:
            assert device.read(0, BLOCK) == b'a' * BLOCK
        backend.driver.terminate_connection(volume, 'two')
        for info in infos:
            with pytest.raises(self.refused(backend)):
                self.login(info)

    def test_terminate_without_a_path_takes_all_away(self, backend: Backend) -> None:
        volume = backend.volume()
        here, there = self.connect(backend, volume), self.connect(backend, volume, 'two', self.THERE)
        for _ in range(2):
            backend.driver.terminate_connection(volume, None)
        with pytest.raises(self.refused(backend)):
            self.login(here)
        with pytest.raises(self.refused(backend)):
            self.login(there, self.THERE)

    def test_both_hosts_of_a_shared_volume_see_each_other_s_writes(self, backend: Backend) -> None:
        volume = backend.volume()
        with (
            self.login(self.connect(backend, volume)) as here,
            self.login(self.connect(backend, volume, 'two', self.THERE), self.THERE) as there,
        ):
            here.write(0, b'a' * BLOCK)
            assert there.read(0, BLOCK) == b'a' * BLOCK

    def test_extend_while_attached(self, backend: Backend) -> None:
        """The host keeps writing; no write fails, answered writes are stored, and the new size is visible."""
        volume = backend.volume()
        info = self.connect(backend, volume)
        with self.login(info) as device:
            host = Counter(device)
            host.start()
            for size in (2, 3, 4):
                host.next_round()
                backend.driver.extend_volume(volume, size)
            host.next_round()
            host.stop()
        with self.login(info) as device:
            assert device.size == 4 * GIB
            Counter.check(device.read)

    def test_delete_takes_unused_paths_along(self, backend: Backend) -> None:
        volume = backend.volume()
        info = self.connect(backend, volume)
        backend.driver.delete_volume(volume)
        with pytest.raises(self.refused(backend)):
            self.login(info)

    def test_a_path_to_nothing_is_refused(self, backend: Backend) -> None:
        with pytest.raises(ProviderNotFound):
            self.connect(backend, backend.volume_ref())
