"""The quick form of ``make emulator``, in every run of the tests: deploy to the second AWS, and use it once.

The slower tests of this folder run with ``make emulator`` only (conftest.py).
"""

from __future__ import annotations

import pytest
import requests

from local.hypervisor import Hypervisor
from tests.emulator.service import Service, wait_for
from tests.system.clients import User, demo, unique
from tests.system.test_data import Attached, host

__all__ = ['demo', 'host']

pytestmark = pytest.mark.xdist_group('emulator')


def test_the_stack_is_complete(cloud: Service) -> None:
    assert cloud.status == 'CREATE_COMPLETE'
    assert cloud.output('EndpointURL').endswith('.amazonaws.com/volume/')


def test_a_volume_is_made_attached_backed_up_and_restored(cloud: Service, demo: User, host: Hypervisor) -> None:
    """Its creation takes three transitions, and every byte comes back."""
    volume = demo.volume()
    assert cloud.states('create_volume', volume.id) == ['Schedule', 'Provision']
    with Attached(demo, volume, host) as info:
        host.io(info, 'write -P 0x5a 0 8M', 'write -P 0xa5 1016M 8M')
        backup = demo.cinder.backups.create(volume.id, force=True)
        demo.wait(demo.cinder.backups, backup.id)
    restored = demo.wait(demo.cinder.volumes, demo.cinder.restores.restore(backup.id).volume_id)
    with Attached(demo, restored, host, 'ro') as info:
        host.io(info, 'read -P 0x5a 0 8M', 'read -P 0 8M 1008M', 'read -P 0xa5 1016M 8M', read_only=True)


def test_errors_are_caught_by_their_class(cloud: Service, demo: User) -> None:
    """No pool fits the type: Schedule raises NoValidBackend, and the Catch by that name leads to FailCreate."""
    admin = cloud.user('admin').cinder
    chosen = admin.volume_types.create(unique('nowhere'))
    chosen.set_keys({'volume_backend_name': 'nowhere'})
    made = demo.cinder.volumes.create(1, volume_type=chosen.id)
    wait_for(lambda: demo.cinder.volumes.get(made.id).status == 'error')
    assert demo.messages(made.id)
    assert cloud.errors('create_volume', made.id) == {'NoValidBackend'}
    assert cloud.states('create_volume', made.id) == ['Schedule', 'FailCreate']


def test_iam_decides_about_the_functions(cloud: Service, demo: User) -> None:
    """Without its policy of tables the API cannot list; with it, it can. So the other tests prove the policies."""
    iam = cloud.client('iam')
    [role] = [each['RoleName'] for each in iam.list_roles()['Roles'] if '-ApiRole-' in each['RoleName']]
    attached = iam.list_attached_role_policies(RoleName=role)['AttachedPolicies']
    policies = [each['PolicyArn'] for each in attached if 'Api' in each['PolicyName']]
    for arn in policies:
        iam.detach_role_policy(RoleName=role, PolicyArn=arn)
    try:
        with pytest.raises(Exception, match=r'HTTP 50[03]'):
            demo.cinder.volumes.list()
    finally:
        for arn in policies:
            iam.attach_role_policy(RoleName=role, PolicyArn=arn)
    assert wait_for(lambda: isinstance(demo.cinder.volumes.list(), list))


def test_the_api_answers_as_cinder_where_no_function_is_reached(cloud: Service) -> None:
    answer = requests.get(f'{cloud.url}/v3/nothing', timeout=30)
    assert (answer.status_code, answer.json()['code']) == (404, '404 Not Found')
    assert requests.get(f'{cloud.url}/healthcheck', timeout=30).text == 'OK'
