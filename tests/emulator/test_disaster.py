"""``make emulator``: the tables of a stack are lost, and the command ``dr`` writes them again from exports."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.hypervisor import Hypervisor
from tests.emulator.aws import Emulator
from tests.emulator.service import Service, storage_host
from tests.system import test_disaster as disaster

pytestmark = pytest.mark.xdist_group('emulator')

STACK, BUCKET = 'cinderless-far', 'cinderless-far-backups'


@pytest.fixture
def service(aws: Emulator, tmp_path: Path) -> Iterator[Service]:
    arns = f'arn:aws:s3:::{BUCKET},arn:aws:s3:::{BUCKET}/*'
    with storage_host(tmp_path / 'agent') as agent:
        made = Service(
            aws, agent, tmp_path, parameters={'BucketName': BUCKET, 'OtherBackupResources': arns}, stack=STACK
        )
        made.put_secret()
        try:
            made.deploy()
            assert 'upload: 100 %' in made.shown
            made.invoke('report_pools')
            yield made
        finally:
            made.tidy()


def test_a_stack_is_restored_and_used(service: Service) -> None:
    host = Hypervisor('compute-1', f'iqn.2004-10.com.example:{uuid.uuid4().hex[:12]}')
    admin = service.user('admin')
    disaster.settings(admin, admin.project)
    backup = disaster.backup_elsewhere(admin, admin, host, service)  # type: ignore[arg-type]
    disaster.export(service)  # type: ignore[arg-type]
    words = (service.stage, 's3://exports', 'lost')
    assert 'has the record' in service._run('dr', 'restore', *words).stderr, 'a stack in use is refused'
    disaster.lose(service)  # type: ignore[arg-type]
    assert f'cinderless dr restore writes to {STACK}' in service._command('dr', 'plan', *words)
    assert '1 backups restored' in service._command('dr', 'restore', *words)
    assert service._command('dr', 'restore', *words).startswith('0 records')
    disaster.check(service.user('admin'), backup, host)
