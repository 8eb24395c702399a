"""``make emulator``: an update from the last release while clients work, an update that fails, and removal."""

from __future__ import annotations

import collections
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from cinderclient import exceptions

from infra import changes, release
from infra.render import ROOT
from local.hypervisor import Hypervisor
from tests.emulator.aws import Emulator, resolving
from tests.emulator.service import Service, storage_host, wait_for
from tests.system.clients import User
from tests.system.test_data import Attached, hypervisor

pytestmark = pytest.mark.xdist_group('emulator')

#: A resource whose creation fails after everything else has been updated: nothing signals the wait condition.
BROKEN = """
Resources:
  NeverSignalled:
    Type: AWS::CloudFormation::WaitConditionHandle
  Broken:
    Type: AWS::CloudFormation::WaitCondition
    DependsOn: [APIHandler, VolumeWorker, BackupWorker, CreateVolumeMachine]
    Properties: {Handle: !Ref NeverSignalled, Timeout: '5'}
"""


@pytest.fixture(scope='module')
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """An emulator of its own: what is removed must be all of it."""
    with Emulator(tmp_path_factory.mktemp('updated')) as running, resolving(), pytest.MonkeyPatch.context() as patch:
        patch.setenv('REQUESTS_CA_BUNDLE', str(running.certificate))
        yield running


@pytest.fixture(scope='module')
def service(aws: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The last release, deployed by its own command, with the agent of its time."""
    folder: Path = tmp_path_factory.mktemp('service')
    last = folder / 'release'
    release.extract(*changes.last_release(), last)
    shutil.copytree(ROOT / '.build' / 'wheels', last / '.build' / 'wheels')
    agent = storage_host(folder / 'agent')
    agent.root = last
    with agent:
        made = Service(aws, agent, folder, root=last)
        made.put_secret()
        made.deploy()
        made.invoke('report_pools')
        yield made
        made.tidy()


class Load:
    """A client that creates volumes until it is stopped, and what it was answered."""

    def __init__(self, service: Service) -> None:
        self.service, self.user = service, service.user()
        self.accepted: list[str] = []
        self.refused: list[str] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(2):
            try:
                self.accepted.append(self.user.cinder.volumes.create(1, name=f'under-load-{time.time()}').id)
            except exceptions.NotFound:
                self.user = self.service.user()  # the emulator imports a changed API under a new id
            except exceptions.ClientException as error:
                self.refused.append(str(error))


def statuses(user: User) -> dict[str, int]:
    return dict(collections.Counter(volume.status for volume in user.cinder.volumes.list()))


def test_an_update_while_clients_work(service: Service) -> None:
    """Records and data of the last release are read, its executions end, and no request is lost."""
    demo, host = service.user(), hypervisor('compute-1')
    service.user('admin').cinder.quotas.update(demo.project, volumes=-1, gigabytes=-1)
    volume, backup = filled(demo, host)
    snapshot = demo.wait(demo.cinder.volume_snapshots, demo.cinder.volume_snapshots.create(volume.id).id)
    attached = Attached(demo, demo.volume(name='attached'), host)
    info = attached.__enter__()
    host.io(info, 'write -P 0x77 0 1M')
    running = [demo.cinder.volumes.create(1, snapshot_id=snapshot.id).id for _ in range(3)]
    child = demo.cinder.backups.create(volume.id, incremental=True, force=True)
    service.root = ROOT
    with Load(service) as load:
        output = service.deploy()
    assert 'Successfully created/updated stack' in output
    demo = attached.user = service.user()
    wait_for(lambda: statuses(demo).keys() <= {'available', 'in-use'}, 300)
    print(f'{len(load.accepted)} volumes accepted during the update, refused: {load.refused}')
    assert {volume.id for volume in demo.cinder.volumes.list()} >= {*load.accepted, *running}
    demo.wait(demo.cinder.backups, child.id)
    service.agent.stop()
    service.agent.root = ROOT
    service.agent.start()
    host.io(info, 'read -P 0x77 0 1M')
    attached.__exit__()
    for one in (backup, child):
        verified(demo, host, one)
    assert demo.volume(1, snapshot_id=snapshot.id).status == 'available'


def filled(demo: User, host: Hypervisor) -> tuple[Any, Any]:
    """A volume with data, and a backup of it."""
    volume = demo.volume(name='before')
    with Attached(demo, volume, host) as info:
        host.io(info, 'write -P 0x5a 0 4M', 'write -P 0xa5 1020M 4M')
    return volume, demo.wait(demo.cinder.backups, demo.cinder.backups.create(volume.id).id)


def verified(demo: User, host: Hypervisor, backup: Any) -> None:
    restored = demo.wait(demo.cinder.volumes, demo.cinder.restores.restore(backup.id).volume_id)
    with Attached(demo, restored, host, 'ro') as info:
        host.io(info, 'read -P 0x5a 0 4M', 'read -P 0 4M 1016M', 'read -P 0xa5 1020M 4M', read_only=True)


def test_an_update_that_fails_is_rolled_back(service: Service, tmp_path: Path) -> None:
    """CloudFormation fails at the last resource; the stack is as before, and the service works."""
    broken = tmp_path / 'broken'
    shutil.copytree(ROOT, broken, ignore=shutil.ignore_patterns('.*'))
    shutil.copytree(ROOT / '.chalice', broken / '.chalice')
    shutil.copytree(ROOT / '.build' / 'wheels', broken / '.build' / 'wheels')
    (broken / 'infra' / 'zz_broken.yaml').write_text(BROKEN)
    marked = broken / 'chalicelib' / 'api' / 'healthcheck.py'
    marked.write_text(marked.read_text().replace("REASON = 'OK'", "REASON = 'BROKEN'"))
    code = code_of(service)
    service.root = broken
    output = service.refused_deploy()
    service.root = ROOT
    assert 'not deployed' in output
    assert service.status == 'UPDATE_ROLLBACK_COMPLETE'
    assert code_of(service) == code
    demo = service.user()
    assert requests.get(f'{service.url}/healthcheck', timeout=30).text == 'OK'
    assert demo.volume(name='after').status == 'available'


def code_of(service: Service) -> dict[str, str]:
    """Function -> the hash of its code."""
    functions = service.client('lambda').list_functions()['Functions']
    return {each['FunctionName']: each['CodeSha256'] for each in functions}


def test_nothing_is_left_after_the_removal(service: Service) -> None:
    service.user().tidy()
    output = service.remove()
    assert 'left:' in output  # the key, until KMS deletes it
    artefacts = f'{service.stack}-artefacts-{service.aws.account}-us-east-1'
    assert service.kept() == [artefacts, f'{service.stack}/appliance']
