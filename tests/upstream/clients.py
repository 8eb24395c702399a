"""``python -m tests.upstream.clients [SUITE...]``: the functional tests that come with OpenStack's clients, unchanged.

SUITE: a key of SUITES, or one module of it: ``openstackclient.test_volume``. As for Tempest, a
real Keystone and a real Glance serve. Exit code: 1 when a suite has a failure.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tests.system import environments
from tests.system.keystone import Keystone, running_keystone
from tests.upstream.__main__ import IMAGE_NAME, REGION, booted

#: Users that are members of a project of their own name.
MEMBERS = ('demo', 'alt')


class Suite(NamedTuple):
    """The tests of one client: modules below a package, and what they read of the environment."""

    package: str
    environment: Mapping[str, str]


#: The SDK's default timeout of a test is 5 s, too short for some operations.
SUITES = {
    'cinderclient': Suite('cinderclient.tests.functional', {}),
    'sdk': Suite(
        'openstack.tests.functional.block_storage.v3', {'OS_TEST_TIMEOUT': '60', 'OPENSTACKSDK_IMAGE': IMAGE_NAME}
    ),
    'openstackclient': Suite('openstackclient.tests.functional.volume.v3', {}),
}


def main(names: Iterable[str]) -> int:
    home = Path(tempfile.mkdtemp(prefix='clients-'))
    python = environments.ensure('clients')
    with running_keystone(home / 'keystone') as keystone, booted(home, keystone):
        add_users(keystone)
        (home / 'clouds.yaml').write_text(json.dumps({'clouds': clouds(keystone.url)}))
        codes = [run(home, python, *name.partition('.')[::2], keystone.url) for name in names]
    print(f'Requests and answers are in {home}')
    return max(codes)


def run(home: Path, python: Path, name: str, module: str, keystone: str) -> int:
    """Run one suite, or one module of it; returns 1 when a test failed."""
    suite = SUITES[name]
    environment = {
        **{name: text for name, text in os.environ.items() if not name.startswith('OS_')},
        **credentials(keystone),
        'HOME': str(home),
        'OS_CINDERCLIENT_EXEC_DIR': str(python.parent),
        'PATH': f'{python.parent}:{os.environ["PATH"]}',
        'PYTHONWARNINGS': 'ignore',
        **suite.environment,
    }
    command = [python, '-m', 'testtools.run', *modules(python, suite.package, module)]
    return subprocess.run(command, cwd=home, env=environment, check=False).returncode


def modules(python: Path, package: str, module: str) -> list[str]:
    """The test modules of an installed package, or the one named."""
    (folder,) = python.parents[1].glob(f'lib/python*/site-packages/{package.replace(".", "/")}')
    return [f'{package}.{path.stem}' for path in sorted(folder.glob(f'{module or "test_*"}.py'))]


def add_users(keystone: Keystone) -> None:
    for name in MEMBERS:
        keystone.add_user(name, keystone.add_project(name), 'member')


def clouds(keystone: str) -> dict[str, Any]:
    """What DevStack writes to clouds.yaml."""
    domains = {'user_domain_id': 'default'}
    named = {'devstack': 'demo', 'devstack-alt': 'alt', 'devstack-admin': 'admin'}
    auths: dict[str, Any] = {
        cloud: {'username': user, 'password': user, 'project_name': user, 'project_domain_id': 'default', **domains}
        for cloud, user in named.items()
    }
    auths['devstack-system-admin'] = {'username': 'admin', 'password': 'admin', 'system_scope': 'all', **domains}
    return {
        cloud: {'auth': {'auth_url': keystone, **auth}, 'region_name': REGION, 'volume_api_version': '3'}
        for cloud, auth in auths.items()
    }


def credentials(keystone: str) -> dict[str, str]:
    """What the cinder shell reads; the others name a cloud."""
    return {
        'OS_AUTH_URL': keystone,
        'OS_USERNAME': 'admin',
        'OS_PASSWORD': 'admin',
        'OS_PROJECT_NAME': 'admin',
        'OS_USER_DOMAIN_NAME': 'Default',
        'OS_PROJECT_DOMAIN_NAME': 'Default',
        'OS_REGION_NAME': REGION,
    }


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:] or SUITES))
