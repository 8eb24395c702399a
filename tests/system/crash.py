"""Mixed load on a local cloud, with a ledger of acknowledged calls, and the comparison after a crash.

A call that returned is acknowledged. A call that failed during a kill is in doubt: the ledger allows both outcomes.
"""

from __future__ import annotations

import contextlib
import itertools
import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import keystoneauth1.exceptions
import pytest
from cinderclient import exceptions

from chalicelib import config
from chalicelib.drivers import registry
from chalicelib.drivers.base import Driver
from chalicelib.errors import DeviceError
from chalicelib.iscsi import open_device
from chalicelib.models import TABLES, Snapshot, Volume
from chalicelib.models.connection import connection
from tests import invariants
from tests.simulation import forget
from tests.system.clients import User, until
from tests.system.cloud import Cloud, family

#: Errors of clients of a cloud that is killed.
GONE = (keystoneauth1.exceptions.ClientException, exceptions.ClientException)

#: Bytes of one write to an attached volume, and so many places are written.
BLOCK, BLOCKS = 65536, 256

#: Seconds in which everything must have left its transitional status.
PATIENCE = 180


class Ledger:
    """The expected state. ``sizes`` has the allowed sizes of each volume, ``blocks`` the allowed values of a place."""

    def __init__(self) -> None:
        self.sizes: dict[str, set[int]] = {}
        self.gone: set[str] = set()
        self.doubtful: set[str] = set()
        self.snapshots: set[str] = set()
        self.backups: dict[str, int] = {}
        self.blocks: dict[int, set[int]] = {}
        self.acknowledged = 0


class Load:
    """Four threads of clients, until ``stop`` or until their cloud has gone."""

    def __init__(self, cloud: Cloud, ledger: Ledger, seed: int, *, flush: bool = False) -> None:
        """``flush``: a write is acknowledged when it was flushed, as against a power cut."""
        self.cloud, self.ledger, self.seed, self.flush = cloud, ledger, seed, flush
        self.stopped = threading.Event()
        self.failures: list[BaseException] = []
        works: list[Callable[[User, random.Random], None]] = [self._churn, self._churn, self._write, self._back_up]
        self._threads = [threading.Thread(target=self._run, args=(number, work)) for number, work in enumerate(works)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopped.set()
        for thread in self._threads:
            thread.join(PATIENCE)
        assert not self.failures, self.failures

    def _run(self, number: int, work: Callable[[User, random.Random], None]) -> None:
        draw = random.Random(f'{self.seed}/{number}')
        try:
            user = User(self.cloud, 'demo')
            while not self.stopped.is_set():
                with contextlib.suppress(*GONE, DeviceError):
                    work(user, draw)
                time.sleep(0.05)
        except GONE:
            return  # not even its first token
        except BaseException as error:
            self.failures.append(error)

    def _done(self) -> None:
        self.ledger.acknowledged += 1

    def _settled(self, manager: Any, id: str) -> Any:
        """The resource, once nothing is under way for it; None when the load is to stop first."""
        while not self.stopped.is_set():
            found = manager.get(id)
            if not is_transitional(found.status):
                return found
            time.sleep(0.1)
        return None

    def _churn(self, user: User, draw: random.Random) -> None:
        """A volume's life: created, maybe extended, maybe snapshotted, maybe deleted."""
        ledger, volumes = self.ledger, user.cinder.volumes
        id = volumes.create(1).id
        ledger.sizes[id] = {1}
        self._done()
        if self._settled(volumes, id) is None:
            return
        if draw.random() < 0.4:
            ledger.sizes[id] = {1, 2}
            volumes.extend(id, 2)
            ledger.sizes[id] = {2}
            self._done()
            self._settled(volumes, id)
        elif draw.random() < 0.5:
            snapshot = user.cinder.volume_snapshots.create(id).id
            ledger.snapshots.add(snapshot)
            self._done()
            self._settled(user.cinder.volume_snapshots, snapshot)
        elif not self.stopped.is_set():
            ledger.doubtful.add(id)
            volumes.delete(id)
            ledger.gone.add(id)
            self._done()

    def _write(self, user: User, draw: random.Random) -> None:
        """Numbered blocks on an attached volume."""
        counter = itertools.count(self.seed * 1_000_000 + len(self.ledger.blocks) * 1000)
        with open_device(self.cloud.ready['info'], initiator=self.cloud.ready['initiator'], timeout=20) as device:
            while not self.stopped.is_set():
                place, value = draw.randrange(BLOCKS), next(counter)
                self.ledger.blocks.setdefault(place, {0}).add(value)
                device.write(place * BLOCK, pattern(value))
                if self.flush:
                    device.flush()
                self.ledger.blocks[place] = {value}
                self._done()

    def _back_up(self, user: User, draw: random.Random) -> None:
        """Incremental backups of a volume whose bytes do not change."""
        backups = user.cinder.backups
        made = backups.create(self.cloud.ready['source'], force=True, incremental=bool(self.ledger.backups)).id
        self.ledger.backups[made] = 1
        self._done()
        self._settled(backups, made)


def pattern(value: int) -> bytes:
    return value.to_bytes(8, 'big') * (BLOCK // 8)


def pids(cloud: Cloud, word: str) -> list[int]:
    """Processes of the cloud's family whose command has a word."""
    return [
        pid
        for pid in family(cloud.process.pid)
        if pid != cloud.process.pid and word in Path(f'/proc/{pid}/cmdline').read_bytes().decode(errors='replace')
    ]


#: Process to kill -> a word of its command.
PARTS = {'engine': 'XmlConfiguration', 'agent': '\0appliance\0', 'tgtd': 'tgtd\0'}


def is_transitional(status: str) -> bool:
    """Whether work is in progress: ``restoring-backup`` and ``backing-up`` are such statuses too."""
    ended = status in ('attaching', 'detaching') or status.startswith('error')
    return status.endswith(('ing', 'ing-backup', 'ing-up')) and not ended


def settle(user: User) -> None:
    """Wait until nothing is in a transitional status."""

    def moving() -> list[str]:
        return [
            f'{one.id} {one.status}'
            for manager in (user.cinder.volumes, user.cinder.volume_snapshots, user.cinder.backups)
            for one in manager.list(detailed=True)
            if is_transitional(one.status)
        ]

    until(lambda: not moving(), PATIENCE)


def compare(user: User, ledger: Ledger) -> list[str]:
    """Return the differences from the acknowledged state."""
    broken = []
    volumes = {one.id: one for one in user.cinder.volumes.list()}
    for id, sizes in ledger.sizes.items():
        found = volumes.get(id)
        if found is None:
            if id not in ledger.gone | ledger.doubtful:
                broken.append(f'volume {id} is lost')
        elif id in ledger.gone:
            broken.append(f'volume {id} is {found.status}, its deletion was acknowledged')
        elif found.size not in sizes or found.status not in ('available', 'in-use'):
            broken.append(f'volume {id} has {found.size} GiB and is {found.status}, not one of {sizes}')
    for manager, ids in ((user.cinder.volume_snapshots, ledger.snapshots), (user.cinder.backups, ledger.backups)):
        there = {one.id: one.status for one in manager.list(detailed=True)}
        broken += [f'{id} is {there.get(id, "lost")}' for id in ids if there.get(id) != 'available']
    return broken


def compare_bytes(info: dict[str, Any], initiator: str, ledger: Ledger) -> list[str]:
    """Places of the attached volume that hold none of the values they may hold."""
    with open_device(info, initiator=initiator, timeout=30) as device:
        broken = []
        for place, allowed in sorted(ledger.blocks.items()):
            data = device.read(place * BLOCK, BLOCK)
            found = {int.from_bytes(data[at : at + 8], 'big') for at in range(0, BLOCK, 8)}
            # A write that was cut short may have left its beginning.
            if not found <= allowed or (len(allowed) == 1 and len(found) != 1):
                broken.append(f'block {place} holds {sorted(found)}, not {sorted(allowed)}')
            else:
                ledger.blocks[place] = found
    return broken


class Seen:
    """A backend as ``invariants`` looks at it, without the snapshots that it keeps of backups."""

    violations = ()
    kept: ClassVar[dict[str, str]] = {}

    def __init__(self, host: str, driver: Driver, pools: dict[str, int]) -> None:
        self.host, self.pools = host, pools
        there = driver.inventory()
        self.kept_of_backups = [found.name for found in there if found.kept is not None]
        self.objects = {one.name: Found(one.pool, one.size >> 30) for one in there if one.kept is None}
        self.paths: dict[str, list[str | None]] = {}
        for export in driver.list_exports():
            self.paths.setdefault(export.object, []).append(export.export_id)


class Found:
    def __init__(self, pool: str, size: int) -> None:
        self.pool, self.size = pool, size


class Backends:
    """All backends of the cloud's document, with its secrets."""

    def __init__(self, cloud: Cloud) -> None:
        self.backends = {}
        document = cloud.client('ssm').get_parameter(Name='/cinderless/backends')['Parameter']['Value']
        secrets = cloud.client('secretsmanager')
        known = registry.load(document, lambda name: secrets.get_secret_value(SecretId=name)['SecretString'])
        for host in known.names():
            driver = known.driver(host)
            self.backends[host] = Seen(host, driver, {pool['pool_name']: _total(pool) for pool in _pools(driver)})


def _pools(driver: Driver) -> list[dict[str, Any]]:
    pools: list[dict[str, Any]] = driver.get_volume_stats()['pools']
    return pools


def _total(pool: dict[str, Any]) -> int:
    """GiB of volumes that a pool may have."""
    ratio = pool['max_over_subscription_ratio'] if pool['thin_provisioning_support'] else 1
    return int(pool['total_capacity_gb'] * ratio)


@contextlib.contextmanager
def records_of(cloud: Cloud) -> Iterator[None]:
    """This process's models read the cloud's tables, in the environment of its functions."""
    described = cloud.client('lambda').get_function_configuration(FunctionName=cloud.ready['functions']['reconcile'])
    with pytest.MonkeyPatch.context() as patch:
        for name, value in described['Environment']['Variables'].items():
            patch.setenv(name, str(value))
        patch.setenv('AWS_ENDPOINT_URL_DYNAMODB', cloud.ready['aws'])
        patch.setenv('AWS_ACCESS_KEY_ID', cloud.ready['access_key'])
        patch.setenv('AWS_SECRET_ACCESS_KEY', cloud.ready['secret_key'])
        connect_anew()
        try:
            yield
        finally:
            patch.undo()
            connect_anew()


def connect_anew() -> None:
    """Read settings and tables as the environment names them now."""
    config.settings.cache_clear()
    connection.cache_clear()
    for table in TABLES:
        table._connection = None
    forget()


def miscounted(cloud: Cloud) -> list[str]:
    """Return the objects, exports, claims, quotas and counters that differ from the records."""
    with records_of(cloud):
        simulation: Any = Backends(cloud)
        objects = invariants._objects(simulation, list(Volume.scan()), list(Snapshot.scan()))
        return [*objects, *invariants.unrecorded_exports(simulation), *invariants.miscounted(simulation)]


def loops() -> dict[str, str]:
    """{loop device: its file}."""
    found = Path('/sys/block').glob('loop*/loop/backing_file')
    return {path.parent.parent.name: path.read_text().strip() for path in found}


def left_over(cloud: Cloud) -> list[str]:
    """Loop devices of the state folder beyond the one, and mounts of it that this process sees."""
    found = [name for name, file in loops().items() if file.startswith(str(cloud.state_dir))]
    broken = [] if len(found) == 1 else [f'loop devices {found}']
    mounts = [line for line in Path('/proc/mounts').read_text().splitlines() if str(cloud.state_dir) in line]
    return broken + [f'mounted: {line}' for line in mounts]
