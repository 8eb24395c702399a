"""A local cloud with a policy file and settings of cinder.conf: cinderclient meets them, and the program shows them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest
from cinderclient import client, exceptions

from tests.system.clients import region
from tests.system.cloud import Cloud, start

POLICY = """
"volume:create": "role:admin"
"volume:delete": "rule:admin_api or user_id:%(user_id)s"
"volume_extension:types_manage": "role:member"
"""


@pytest.fixture(scope='module')
def governed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    folder = tmp_path_factory.mktemp('governed')
    (folder / 'policy.yaml').write_text(POLICY)
    rules = f'@{folder / "policy.yaml"}'
    with start(folder / 'state', STATE='memory', POLICY_OVERRIDES=rules, DEFAULT_QUOTAS='{"volumes": 2}') as running:
        yield running


def of(cloud: Cloud, name: str) -> client.Client:
    return client.Client('3.71', session=region(cloud, name).get_session())


def test_clients_meet_the_policies(governed: Cloud) -> None:
    demo, admin = of(governed, 'demo'), of(governed, 'admin')
    with pytest.raises(exceptions.Forbidden, match="Policy doesn't allow volume:create"):
        demo.volumes.create(1)
    for _ in range(2):
        assert admin.volumes.create(1).status == 'creating'
    with pytest.raises(exceptions.OverLimit, match='VolumeLimitExceeded'):
        admin.volumes.create(1)
    for number in range(4):
        demo.volume_types.create(f'type {number}')
    with pytest.raises(exceptions.Forbidden):
        of(governed, 'reader').volume_types.create('mine')
    assert demo.limits.get().to_dict()['absolute']['maxTotalVolumes'] == 2


def test_the_program_shows_them(governed: Cloud) -> None:
    command = [sys.executable, '-m', 'cinderless', 'policy', 'show', '--json', '--state-dir', str(governed.state_dir)]
    shown = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    found = {row['rule']: row['from'] for row in shown}
    assert found['volume:create'] == 'override'
    assert found['volume_extension:type_create'] == 'override of its former name volume_extension:types_manage'
    assert 'volume:get' not in found
