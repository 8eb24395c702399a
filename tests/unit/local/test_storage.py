"""The default backends, and what a killed storage host leaves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from chalicelib.drivers import registry
from local import storage
from local.settings import Settings
from local.storage import POOLS, SECRET_NAME, Storage


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Storage:
    monkeypatch.setattr(storage, 'SOCKETS', tmp_path / 'sockets')
    (tmp_path / 'sockets').mkdir()
    (tmp_path / 'state').mkdir()
    return Storage(Settings.from_environment({'STATE_DIR': str(tmp_path / 'state')}), tmp_path)


def test_the_default_document_is_one_that_the_drivers_take(host: Storage) -> None:
    host.fingerprint = 'ab' * 32
    asked: list[str] = []

    def resolve(name: str) -> str:
        asked.append(name)
        return 's' * 64

    loaded = registry.load(json.dumps(host.backends()), resolve)
    loaded.check()
    assert set(asked) == {SECRET_NAME}
    zones = {loaded.backend(name).availability_zone for name in loaded.names()}
    assert zones == {'nova', 'az2'}


def test_three_pools_lie_in_two_zones_and_each_in_one(host: Storage) -> None:
    pools = [
        (entry['availability_zone'], pool)
        for entry in host.backends()['backends']
        for pool in entry['options']['pools']
    ]
    assert sorted(pools) == sorted((zone, pool) for pool, (zone, _) in POOLS.items())
    assert len(pools) == 3


def test_the_sockets_of_a_killed_host_are_removed_and_its_store_is_kept(host: Storage, tmp_path: Path) -> None:
    folder = tmp_path / 'state' / 'appliance'
    folder.mkdir()
    (folder / 'store.img').touch()
    (folder / 'control_port').write_text('1234')
    for name in ('socket.1234', 'socket.1234.lock', 'socket.9999'):
        (tmp_path / 'sockets' / name).touch()
    host.stop()
    assert (folder / 'store.img').exists()
    assert [path.name for path in (tmp_path / 'sockets').iterdir()] == ['socket.9999']


def test_its_secret_outlives_it_and_only_root_reads_it(host: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, '_command', lambda port: ['true'])
    host.start()
    first, path = host.secret, host._folder / 'secret'
    host.stop()
    host.start()
    host.stop()
    assert len(first) >= 48
    assert host.secret == first == path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_host_that_does_not_start_is_told_in_its_own_words(host: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, '_command', lambda port: ['sh', '-c', 'echo no space >&2'])
    host.start()
    with pytest.raises(RuntimeError, match='no space'):
        host.wait()
    host.stop()
