"""A MariaDB and a real Cinder API for the tests of a whole migration, each on 127.0.0.1 as a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from local.children import bound
from tests.system import environments

#: Seconds in which a server must answer.
START = 60

#: The id of the user without rights that MariaDB runs as when the tests run as root, which it refuses.
UNPRIVILEGED = 65534


def _wait(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(ConnectionRefusedError), socket.create_connection(('127.0.0.1', port), 1):
            return
        time.sleep(0.2)
    raise AssertionError(log.read_text()[-2000:])


@contextlib.contextmanager
def _process(command: list[Any], port: int, log: Path, user: int | None = None) -> Iterator[None]:
    with log.open('wb') as output:
        process = subprocess.Popen(bound(command), stdout=output, stderr=output, user=user)
    try:
        _wait(port, process, log)
        yield
    finally:
        process.terminate()
        process.wait(START)


def _port() -> int:
    with socket.socket() as found:
        found.bind(('127.0.0.1', 0))
        return int(found.getsockname()[1])


@contextlib.contextmanager
def mariadb() -> Iterator[str]:
    """Yield the URL of an empty database ``cinder``. Needs Debian's mariadb-server-core and mariadb-client-core."""
    user = UNPRIVILEGED if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix='cinderless-mariadb-'))
    try:
        if user:
            os.chown(folder, user, -1)
        options = ['--no-defaults', f'--datadir={folder}/data']
        install = ['mariadb-install-db', *options, '--auth-root-authentication-method=normal', '--skip-test-db']
        subprocess.run(install, check=True, capture_output=True, user=user, cwd='/')
        port = _port()
        server = ['/usr/sbin/mariadbd', *options, f'--socket={folder}/socket', f'--port={port}']
        server += ['--bind-address=127.0.0.1', f'--pid-file={folder}/pid']
        with _process(server, port, folder.with_suffix('.log'), user):
            url = f'mysql+pymysql://root@localhost/cinder?unix_socket={folder}/socket'
            statement = 'CREATE DATABASE cinder CHARACTER SET utf8mb3'
            code = f'import pymysql; pymysql.connect(unix_socket={str(folder / "socket")!r}, user="root").cursor()'
            subprocess.run([environments.ensure('cinder'), '-c', f'{code}.execute({statement!r})'], check=True)
            yield url
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        folder.with_suffix('.log').unlink(missing_ok=True)


CONF = """
[DEFAULT]
transport_url = fake:/
auth_strategy = noauth
osapi_volume_listen = 127.0.0.1
osapi_volume_listen_port = {port}
osapi_volume_workers = 1
api_paste_config = {paste}
state_path = {folder}
[database]
connection = {url}
[oslo_concurrency]
lock_path = {folder}
"""


@contextlib.contextmanager
def cinder_api(url: str, folder: Path) -> Iterator[Callable[[str], dict[str, Any]]]:
    """Serve a database by Cinder 29's own API; yield a function that fetches a path as an administrator."""
    environment = environments.ensure('cinder').parent.parent
    port, project = _port(), '0' * 31 + '1'
    conf = folder / 'cinder.conf'
    paste = environment / 'etc' / 'cinder' / 'api-paste.ini'
    conf.write_text(CONF.format(port=port, paste=paste, folder=folder, url=url))

    def fetch(path: str) -> dict[str, Any]:
        headers = {'X-Auth-Token': f'user:{project}', 'OpenStack-API-Version': 'volume 3.70'}
        request = urllib.request.Request(f'http://127.0.0.1:{port}/v3/{project}/{path}', headers=headers)
        with urllib.request.urlopen(request) as answer:
            found: dict[str, Any] = json.load(answer)
            return found

    command = [environment / 'bin' / 'cinder-api', '--config-file', conf]
    with _process(command, port, folder / 'cinder-api.log'):
        yield fetch
