"""``python -m tests.upstream [REGEX]``: boot Keystone, Glance and a local cloud, run Tempest, print its log's path.

What needs servers is skipped by Tempest itself, and named. Exit code: Tempest's.
"""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import urllib3

from local import launch
from local.children import bound
from tests.system import environments
from tests.system.keystone import Keystone, running_keystone
from tests.upstream.glance import running_glance

#: Every test that calls this API, and no test that needs servers.
ALL = r'^(tempest\.api\.volume|cinder_tempest_plugin\.(api|rbac|scenario\.test_volume_concurrency))'

REGION = 'R1'

IMAGE_NAME = 'raw'

#: Some data, some zeroes: an image as large as a test should copy.
IMAGE = random.Random(1).randbytes(3 * 1024**2) + bytes(5 * 1024**2)

#: There is no network service, but some classes that need none request one. Its URL leads to a service without its
#: paths, so Tempest takes the extension for missing.
CONFIGURATION = """
    [DEFAULT]
    log_file = {home}/tempest.log
    [oslo_concurrency]
    lock_path = {home}/lock
    [auth]
    admin_username = admin
    admin_password = admin
    admin_project_name = admin
    admin_domain_name = Default
    create_isolated_networks = false
    tempest_roles = member
    [identity]
    uri_v3 = {keystone}
    region = R1
    [service_available]
    nova = false
    glance = true
    neutron = true
    swift = false
    horizon = false
    [enforce_scope]
    cinder = true
    [compute]
    image_ref = {image}
    image_ref_alt = {image}
    [compute-feature-enabled]
    volume_multiattach = true
    [image]
    disk_formats = raw
    container_formats = bare
    [volume]
    backend_names = xfs-fast,xfs-slow
    backup_driver = s3
    build_timeout = 120
    disk_format = raw
    manage_snapshot_ref = source-name,unmanaged-snapshot-%s
    manage_volume_ref = source-name,unmanaged-volume-%s
    max_microversion = 3.71
    min_microversion = 3.0
    storage_protocol = iSCSI
    vendor_name = Cinderless
    volume_type_multiattach = multiattach
    [volume-feature-enabled]
    concurrency_tests = true
    consistency_group = true
    manage_snapshot = true
    manage_volume = true
    multi_backend = true
    volume_revert = true
    """


def main(pattern: str) -> int:
    home = Path(tempfile.mkdtemp(prefix='tempest-'))
    binaries = environments.ensure('tempest').parent
    with running_keystone(home / 'keystone') as keystone, booted(home, keystone) as facts:
        workspace = home / 'workspace'
        environment = {**os.environ, 'PATH': f'{binaries}:{os.environ["PATH"]}', 'HOME': str(home)}
        subprocess.run([binaries / 'tempest', 'init', workspace], env=environment, check=True, capture_output=True)
        (workspace / 'etc' / 'tempest.conf').write_text(textwrap.dedent(CONFIGURATION).format(**facts))
        command = [binaries / 'tempest', 'run', '--concurrency', '2', '--regex', pattern]
        code = subprocess.run(command, cwd=workspace, env=environment, check=False).returncode
    print(f'Requests and answers are in {home}')
    return code


@contextlib.contextmanager
def booted(home: Path, keystone: Keystone) -> Iterator[dict[str, Any]]:
    """Start Glance and the local cloud, in Keystone's catalog; yield the values of Tempest's configuration."""
    project = keystone.add_project('service')
    for user in ('cinder', 'glance'):
        keystone.add_user(user, project, 'admin')
    keystone.add_region(REGION)
    ports = launch.free_ports()
    with running_glance(home / 'glance', keystone, int(launch.free_ports()['PORT'])) as glance:
        told = {**ports, 'KEYSTONE_URL': keystone.url, 'KEYSTONE_PASSWORD': 'cinder', 'GLANCE_URL': glance}
        with serving(home, told) as volume:
            urls = {'identity': keystone.url, 'image': glance, 'network': keystone.url[:-3], 'block-storage': volume}
            for type, url in urls.items():
                keystone.add_service(type, type, url, REGION)
            token = keystone.token('admin', 'admin', 'admin')
            add_type(volume, token)
            yield {'home': home, 'keystone': keystone.url, 'image': add_image(glance, token)}


@contextlib.contextmanager
def serving(home: Path, told: dict[str, str]) -> Iterator[str]:
    """A local cloud; yields its API's URL. Its log outlives it."""
    log = home / 'cloud.log'
    environment = {**os.environ, **told, 'STATE_DIR': str(home / 'state')}
    with log.open('wb') as output:
        child = subprocess.Popen(
            bound([sys.executable, '-m', 'tests.upstream.cloud']),
            cwd=environments.ROOT,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            yield launch.wait_ready(child, home / 'state' / 'ready.json', log)['volume']
        finally:
            (home / 'functions.jsonl').write_bytes((home / 'state' / 'logs' / 'functions.jsonl').read_bytes())
            launch.stop(child, log)


def add_image(glance: str, token: str) -> str:
    """A public image; returns its id."""
    facts = {
        'name': IMAGE_NAME,
        'disk_format': 'raw',
        'container_format': 'bare',
        'visibility': 'public',
        'min_disk': 1,
    }
    made = ask('POST', f'{glance}/v2/images', token, json=facts).json()
    headers = {'Content-Type': 'application/octet-stream'}
    ask('PUT', f'{glance}/v2/images/{made["id"]}/file', token, body=IMAGE, headers=headers)
    return str(made['id'])


def add_type(volume: str, token: str) -> None:
    specs = {'multiattach': '<is> True'}
    ask('POST', f'{volume}/types', token, json={'volume_type': {'name': 'multiattach', 'extra_specs': specs}})


def ask(method: str, url: str, token: str, headers: dict[str, str] | None = None, **sent: Any) -> Any:
    answer = urllib3.request(method, url, headers={'X-Auth-Token': token, **(headers or {})}, **sent)
    assert answer.status < 300, answer.data
    return answer


if __name__ == '__main__':
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else ALL))
