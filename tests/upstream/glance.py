"""A real Glance on loopback: its own environment from PyPI, sqlite, images in files, tokens of a real Keystone."""

from __future__ import annotations

import contextlib
import os
import subprocess
import textwrap
from collections.abc import Iterator
from pathlib import Path

from tests.system import environments
from tests.system.keystone import Keystone

#: waitress knows requests in chunks, which wsgiref does not. The child leaves when the pipe to its parent breaks.
SERVE = """
import os, sys, threading
address, sys.argv[1:] = sys.argv[1], []
from glance.wsgi.api import application
import waitress
server = waitress.create_server(application, listen=address, threads=8, max_request_body_size=8 << 30)
print('ready', flush=True)
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
server.run()
"""

CONFIGURATION = """
    [DEFAULT]
    log_file = {home}/glance.log
    enabled_backends = files:file
    enabled_import_methods = []
    worker_self_reference_url = http://{address}
    [glance_store]
    default_backend = files
    [files]
    filesystem_store_datadir = {home}/images
    [os_glance_staging_store]
    filesystem_store_datadir = {home}/staging
    [os_glance_tasks_store]
    filesystem_store_datadir = {home}/tasks
    [database]
    connection = sqlite:///{home}/glance.db
    [keystone_authtoken]
    auth_url = {keystone}
    auth_type = password
    project_domain_name = Default
    user_domain_name = Default
    project_name = service
    username = glance
    password = glance
    [paste_deploy]
    config_file = {environment}/etc/glance/glance-api-paste.ini
    flavor = keystone
    [oslo_concurrency]
    lock_path = {home}/lock
    """


@contextlib.contextmanager
def running_glance(home: Path, keystone: Keystone, port: int) -> Iterator[str]:
    """Yield the URL of a Glance without images; Keystone has its user glance on the project service."""
    python = environments.ensure('glance')
    binaries = python.parent
    for folder in ('images', 'staging', 'tasks'):
        (home / folder).mkdir(parents=True)
    address = f'127.0.0.1:{port}'
    facts = {'home': home, 'address': address, 'keystone': keystone.url, 'environment': binaries.parent}
    (home / 'glance-api.conf').write_text(textwrap.dedent(CONFIGURATION).format(**facts))
    environment = {**os.environ, 'OS_GLANCE_CONFIG_DIR': str(home), 'HOME': str(home)}
    manage = [python, '-W', 'ignore', binaries / 'glance-manage', '--config-file', home / 'glance-api.conf']
    subprocess.run([*manage, 'db', 'sync'], env=environment, check=True, capture_output=True, timeout=120)
    child = subprocess.Popen(
        [python, '-W', 'ignore', '-c', SERVE, address],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=(home / 'stderr.log').open('w'),
    )
    try:
        assert child.stdout is not None
        if not child.stdout.readline():
            raise RuntimeError((home / 'stderr.log').read_text())
        yield f'http://{address}'
    finally:
        child.terminate()
        child.communicate(timeout=30)
