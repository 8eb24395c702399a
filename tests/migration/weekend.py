"""``make migration``: a Cinder 29 with MariaDB is brought to a local cloud, from start to end, by the program.

Both APIs are compared record by record: Cinder's own, serving that MariaDB, and the local cloud's.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import openstack
import pytest

from cinderless.migration import apis, hosts
from tests.migration import databases, servers
from tests.system import environments
from tests.system.cloud import ROOT, Cloud, start

TABLE = """
old@lvm        -> cinderless@xfs-nova#fast
old@ontap#vol1 -> cinderless@xfs-nova#slow keep-exports
old@ceph       -> unmanaged
"""


class Weekend(NamedTuple):
    """The two services, the table of backends, and what is in Cinder by name."""

    cloud: Cloud
    url: str
    folder: Path
    made: dict[str, str]

    def program(self, *words: str, database: bool = True) -> dict[str, Any]:
        """Run a command of the program; return its JSON."""
        options = ['--state-dir', str(self.cloud.state_dir), '--json']
        options += ['--hosts', str(self.folder / 'hosts')] if database else []
        environment = {**os.environ, 'CINDER_DATABASE': self.url, 'PYTHONPATH': str(self.folder / 'drivers')}
        done = subprocess.run(
            [sys.executable, '-m', 'cinderless', 'migrate', *words, *options],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=1200,
        )
        assert done.returncode in (0, 1), done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found


@pytest.fixture(scope='module')
def weekend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Weekend]:
    folder = tmp_path_factory.mktemp('weekend')
    (folder / 'hosts').write_text(TABLE)
    python = environments.ensure('cinder')
    [driver] = python.parent.parent.glob('lib/python*/site-packages/pymysql')
    (folder / 'drivers').mkdir()
    (folder / 'drivers' / 'pymysql').symlink_to(driver)
    with servers.mariadb() as url, start(folder / 'cloud') as cloud:
        volumes = int(os.environ.get('MIGRATION_VOLUMES', '200'))
        yield Weekend(cloud, url, folder, databases.run('build', url, volumes=volumes))


def here(cloud: Cloud) -> apis.Fetch:
    """The API of the local cloud, as its administrator."""
    region = openstack.config.OpenStackConfig(config_files=[str(cloud.clouds_yaml)]).get_one(cloud='admin')
    api = openstack.connection.Connection(config=region).block_storage

    def fetch(path: str) -> dict[str, Any]:
        found: dict[str, Any] = api.get(f'/{path}', microversion=apis.MICROVERSION).json()
        return found

    return fetch


def new(report: dict[str, Any]) -> dict[str, int]:
    return {kind: counts['new'] for kind, counts in report['records'].items() if counts.get('new')}


@pytest.mark.timeout(3000)
def test_the_weekend_plan(weekend: Weekend) -> None:
    plan = weekend.program('plan')
    assert plan['revision'] == '9c74c1c6971f'
    started = time.monotonic()
    first = weekend.program('run', '--apply')
    print(f'\n{sum(new(first).values())} records in {first["seconds"]} s ({time.monotonic() - started:.1f} s in all)')
    assert new(first) == new(plan)
    assert new(weekend.program('run', '--apply')) == {}

    # Cinder is in use until the switch: the last run brings the difference.
    added = databases.run('later', weekend.url)['new']
    last = weekend.program('run', '--apply')
    assert new(last) == {'Volume': 1}
    assert last['records']['Volume']['changed'] == 2
    assert last['records']['Volume']['removed'] == 1

    verified = weekend.program('verify')
    assert [one for one in verified['findings'] if one['table'][0].isupper()] == []
    with servers.cinder_api(weekend.url, weekend.folder) as there:
        fetch = here(weekend.cloud)
        different = list(apis.compare(there, fetch, hosts.parse(TABLE)))
        assert added in {one['id'] for one in apis.every(fetch, apis.RESOURCES[0])}
    left = {weekend.made[name] for name in ('busy', 'left', 'busy_snapshot', 'left_attachment')}
    assert [one for one in different if one.id not in left] == []
    assert {one.id for one in different if 'does not have it' in one.problem} == left

    gone = weekend.program('rollback', '--apply', database=False)
    assert gone['findings'] == []
    assert list(apis.every(fetch, apis.RESOURCES[0])) == []
