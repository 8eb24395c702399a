"""cinder.conf to documents that the service accepts, with every option named as Cinder 29 names it."""

from __future__ import annotations

import functools
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from chalicelib.scheduler.config import SchedulerConfig
from cinderless import program
from cinderless.errors import Failure
from cinderless.migration import conversion, hosts, options
from infra import backends
from tests.system import environments

pytestmark = pytest.mark.xdist_group('cinder_options')

CONF = """
[DEFAULT]
enabled_backends = lvm, netapp ,ceph
my_ip = 192.0.2.7
host = old
default_volume_type = gold
storage_availability_zone = az1
quota_volumes = 50
quota_gigabytes = 1000
per_volume_size_limit = 500
scheduler_default_filters = AvailabilityZoneFilter,CapacityFilter,InstanceLocalityFilter
scheduler_default_weighers = GoodnessWeigher
capacity_weight_multiplier = -1.0
scheduler_max_attempts = 5
transport_url = rabbit://openstack:rabbit-password@mq
glance_api_servers = http://glance:9292,http://other:9292
volume_name_template = vol-%s
backup_driver = cinder.backup.drivers.nfs.NFSBackupDriver
backup_share = nas:/backups
osapi_max_limit = 1000

[backend_defaults]
reserved_percentage = 15

[lvm]
volume_driver = cinder.volume.drivers.lvm.LVMVolumeDriver
volume_group = stack-volumes
target_ip_address = $my_ip
volume_backend_name = fast
lvm_mirrors = 1

[netapp]
volume_driver = cinder.volume.drivers.netapp.common.NetAppDriver
netapp_storage_protocol = iscsi
netapp_server_hostname = svm.example
netapp_vserver = svm1
netapp_login = cinder
netapp_password = netapp-password
netapp_pool_name_search_pattern = (vol1|vol2)
max_over_subscription_ratio = 5.5
reserved_percentage = 5
filter_function = "capabilities.total_volumes < 500"
extra_capabilities = {"tier": "gold"}

[ceph]
volume_driver = cinder.volume.drivers.rbd.RBDDriver
rbd_secret_uuid = ceph-secret

[keystone_authtoken]
www_authenticate_uri = http://keystone:5000
username = cinder
project_name = service
password = keystone-password

[database]
connection = mysql+pymysql://cinder:database-password@db/cinder
"""


@functools.cache
def registry() -> dict[str, Any]:
    """Return {section: {option: default}} of Cinder 29's oslo.config registry."""
    command = [environments.ensure('cinder'), '-W', 'ignore', Path(__file__).with_name('cinder_options.py')]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=240)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def defaults(*sections: str) -> dict[str, Any]:
    return {option: default for section in sections for option, default in registry().get(section, {}).items()}


def test_options_and_defaults_are_those_of_cinder() -> None:
    known = defaults('DEFAULT', 'backend_defaults', 'backend')
    assumed: dict[str, object] = {option: default for option, (_, default) in options.QUOTAS.items()}
    assumed |= {option: default for option, (default, _) in options.WITHOUT.items()}
    assumed |= {option: default for option, _, default in options.GENERIC.values()}
    assumed |= options.LVM_OPTIONS | options.NETAPP_OPTIONS
    assert {option: known.get(option, 'not an option') for option in assumed} == assumed


def test_every_option_that_is_carried_over_exists_in_cinder() -> None:
    known = defaults('DEFAULT', 'backend_defaults', 'backend')
    named = {*options.SCHEDULER, 'extra_capabilities', 'volume_driver', 'enabled_backends', 'backend_host', 'host'}
    named |= {option for _, option in options.BACKUP_PLACES.values()}
    named |= {option for places in options.PARAMETERS.values() for section, option in places if section == 'DEFAULT'}
    assert named - known.keys() == set()
    barbican = {'barbican_endpoint'}  # an option of castellan, which Cinder registers when it loads its key manager
    authentication = {'username', 'project_name', 'auth_url'}  # of the plug-in of keystoneauth that auth_type names
    others = {option for places in options.PARAMETERS.values() for section, option in places if section != 'DEFAULT'}
    assert others - barbican - authentication <= defaults('keystone_authtoken', 'cors').keys()


def test_the_backends_are_a_document_that_the_service_accepts() -> None:
    done = conversion.convert(CONF)
    found = backends.check(json.dumps(done.backends).encode())
    lvm, netapp = found.backend('cinderless@lvm'), found.backend('cinderless@netapp')
    assert (lvm.driver, lvm.options['url'], lvm.volume_backend_name) == (
        *('appliance', 'https://192.0.2.7:18700'),
        'fast',
    )
    assert lvm.availability_zone == 'az1'
    assert netapp.options['pools'] == ['vol1', 'vol2']
    assert (netapp.options['svm'], netapp.options['username']) == ('svm1', 'cinder')
    by_name = {one['name']: one for one in done.backends['backends']}
    assert by_name['lvm']['reserved_percentage'] == 15
    assert by_name['netapp']['reserved_percentage'] == 5
    assert by_name['netapp']['max_over_subscription_ratio'] == 5.5
    assert by_name['netapp']['capabilities'] == {'tier': 'gold'}


def test_the_table_of_backends_can_be_read() -> None:
    table = hosts.parse('\n'.join(conversion.convert(CONF).hosts))
    assert table.of('old@lvm#fast') == hosts.Place('cinderless@lvm#stack-volumes')
    assert table.of('old@netapp#vol2') == hosts.Place('cinderless@netapp#vol2')
    assert table.of('old@ceph#rbd') == hosts.Place(None)


def test_parameters_and_quotas() -> None:
    done = conversion.convert(CONF)
    scheduler = json.loads(done.parameters.pop('SchedulerOptions'))
    assert done.parameters == {
        'DefaultAvailabilityZone': 'az1',
        'GlanceUrl': 'http://glance:9292',
        'KeystoneUrl': 'http://keystone:5000/v3',
        'KeystoneUsername': 'cinder',
        'KeystoneProject': 'service',
        'DefaultVolumeType': 'gold',
        'OsapiMaxLimit': '1000',
        'DefaultQuotas': '{"volumes": 50, "per_volume_gigabytes": 500}',
    }
    config = SchedulerConfig.from_options(scheduler)
    assert config.scheduler_default_weighers == ('GoodnessWeigher',)
    assert (config.scheduler_max_attempts, config.capacity_weight_multiplier) == (5, -1.0)
    assert done.quotas == {'volumes': 50, 'per_volume_gigabytes': 500}


def test_what_has_no_counterpart_is_listed_with_its_meaning() -> None:
    notes = {(note.section, note.option): note for note in conversion.convert(CONF).notes}
    assert 'rename' in notes['DEFAULT', 'volume_name_template'].meaning
    assert 'nas:/backups' in notes['DEFAULT', 'backup_driver'].meaning
    assert 'unmanaged' in notes['ceph', 'volume_driver'].meaning
    assert notes['lvm', 'lvm_mirrors'].value == '1'
    assert ('DEFAULT', 'osapi_max_limit') not in notes
    assert ('database', '') in notes


def test_no_secret_is_shown(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / 'cinder.conf').write_text(CONF)
    assert program.main(['convert', str(tmp_path / 'cinder.conf'), '--output', str(tmp_path / 'new')]) == 1
    assert program.main(['convert', str(tmp_path / 'cinder.conf'), '--json']) == 1
    shown = capsys.readouterr().out + ''.join(path.read_text() for path in (tmp_path / 'new').iterdir())
    for secret in ('rabbit-password', 'netapp-password', 'keystone-password', 'database-password', 'ceph-secret'):
        assert secret not in shown
    assert program.main(['convert', str(tmp_path / 'cinder.conf'), '--output', str(tmp_path / 'new')]) == 2


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('enabled_backends = lvm', 'is not a cinder.conf'),
        ('[DEFAULT]\nquota_volumes = many', r"\[DEFAULT\] quota_volumes: 'many' is not a number"),
        (
            '[DEFAULT]\nenabled_backends = a\n[a]\nvolume_driver=cinder.volume.drivers.lvm.LVMVolumeDriver\n'
            'extra_capabilities = [1]',
            'is not a JSON object',
        ),
    ],
)
def test_a_wrong_file_is_refused_by_the_option(text: str, message: str) -> None:
    with pytest.raises(Failure, match=message):
        conversion.convert(text)


def test_a_netapp_backend_of_another_protocol_is_unmanaged() -> None:
    done = conversion.convert(CONF.replace('netapp_storage_protocol = iscsi', 'netapp_storage_protocol = nfs'))
    assert [one['name'] for one in done.backends['backends']] == ['lvm']
    assert 'old@netapp -> unmanaged' in done.hosts
