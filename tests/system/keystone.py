"""A real Keystone on loopback: its own environment from PyPI, sqlite, fernet tokens, one process."""

from __future__ import annotations

import contextlib
import os
import subprocess
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import urllib3

from tests.system import environments

#: The child prints its port, and exits when the pipe to its parent breaks: nothing outlives the tests.
SERVE = """
import os, sys, threading
from wsgiref.simple_server import WSGIRequestHandler, make_server
port, sys.argv[1:] = int(sys.argv[1]), []
from keystone.wsgi.api import application

class Quiet(WSGIRequestHandler):
    def log_message(self, *_): pass

server = make_server('127.0.0.1', port, application, handler_class=Quiet)
print(server.server_port, flush=True)
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
server.serve_forever()
"""


class Keystone:
    """One Keystone with its database in ``home``. It can be stopped and started again on the same port."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.port = 0
        self._http = urllib3.PoolManager(retries=False, timeout=30)
        self._process: subprocess.Popen[str] | None = None
        self._admin_token = ''

    @property
    def url(self) -> str:
        return f'http://127.0.0.1:{self.port}/v3'

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def bootstrap(self) -> None:
        """Create the database, the keys, the user admin (password admin) on project admin, and the default roles."""
        keys = self.home / 'fernet'
        keys.mkdir(parents=True, mode=0o700)
        self._configure(expiration=3600)
        self._manage('fernet_setup', '--keystone-user', str(os.getuid()), '--keystone-group', str(os.getgid()))
        self._manage('db_sync')
        self._manage('bootstrap', '--bootstrap-password', 'admin')

    def start(self, *, expiration: int = 3600) -> None:
        """Serve; tokens issued from now on live ``expiration`` seconds."""
        self._configure(expiration)
        self._process = subprocess.Popen(
            [environments.ensure('keystone'), '-W', 'ignore', '-c', SERVE, str(self.port)],
            env=self._environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=(self.home / 'stderr.log').open('a'),
            text=True,
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline() or self._failed())
        self._admin_token = self.token('admin', 'admin', 'admin')

    def stop(self) -> None:
        """Stop serving; safe to repeat."""
        if self._process is not None:
            self._process.terminate()
            self._process.communicate(timeout=30)
            self._process = None

    def restart(self, *, expiration: int = 3600) -> None:
        self.stop()
        self.start(expiration=expiration)

    def request(self, method: str, path: str, token: str | None, body: Any = None, **headers: str) -> tuple[int, Any]:
        """Return status and JSON body of one call below /v3."""
        sent = {'X-Auth-Token': token} if token else {}
        sent |= {name.replace('_', '-'): value for name, value in headers.items()}
        response = self._http.request(method, self.url + path, headers=sent, **({'json': body} if body else {}))
        return response.status, response.json() if response.data else None

    def token(self, user: str, password: str, project: str | None = None, **auth: Any) -> str:
        """Return a new token of ``user`` on ``project``; None: not scoped."""
        body = password_request(user, password, project)
        body['auth'] |= auth
        response = self._http.request('POST', f'{self.url}/auth/tokens', json=body)
        assert response.status == 201, response.data
        return response.headers['X-Subject-Token']

    def revoke(self, token: str) -> None:
        status, _ = self.request('DELETE', '/auth/tokens', self._admin_token, X_Subject_Token=token)
        assert status == 204

    def add_project(self, name: str) -> str:
        return self._add('project', name=name, domain_id='default')

    def add_user(self, name: str, project_id: str, role: str) -> str:
        """Create a user whose password is its name, with ``role`` on the project; return its id."""
        user_id = self._add('user', name=name, password=name, domain_id='default', default_project_id=project_id)
        _, roles = self.request('GET', f'/roles?name={role}', self._admin_token)
        path = f'/projects/{project_id}/users/{user_id}/roles/{roles["roles"][0]["id"]}'
        status, _ = self.request('PUT', path, self._admin_token)
        assert status == 204
        return user_id

    def add_service(self, type: str, name: str, url: str, region: str) -> None:
        """Put a service with its three endpoints into the catalog."""
        service_id = self._add('service', type=type, name=name)
        for interface in ('public', 'internal', 'admin'):
            self._add('endpoint', service_id=service_id, interface=interface, url=url, region_id=region)

    def add_region(self, region: str) -> None:
        self._add('region', id=region)

    def _add(self, kind: str, **fields: Any) -> str:
        status, body = self.request('POST', f'/{kind}s', self._admin_token, {kind: fields})
        assert status == 201, body
        return str(body[kind]['id'])

    def _configure(self, expiration: int) -> None:
        text = f"""
            [DEFAULT]
            log_file = {self.home}/keystone.log
            [database]
            connection = sqlite:///{self.home}/keystone.db
            [identity]
            password_hash_rounds = 4
            [token]
            expiration = {expiration}
            [fernet_tokens]
            key_repository = {self.home}/fernet
            """
        (self.home / 'keystone.conf').write_text(textwrap.dedent(text))

    def _manage(self, *arguments: str) -> None:
        python = environments.ensure('keystone')
        command = [str(python), '-W', 'ignore', str(python.with_name('keystone-manage')), *arguments]
        subprocess.run(command, env=self._environment(), check=True, capture_output=True, timeout=120)

    def _environment(self) -> dict[str, str]:
        return os.environ | {'OS_KEYSTONE_CONFIG_DIR': str(self.home), 'HOME': str(self.home)}

    def _failed(self) -> str:
        raise RuntimeError((self.home / 'stderr.log').read_text())


def password_request(user: str, password: str, project: str | None = None) -> dict[str, Any]:
    """Return the body of a token request by password."""
    domain = {'id': 'default'}
    claim = {'name': user, 'domain': domain, 'password': password}
    auth: dict[str, Any] = {'identity': {'methods': ['password'], 'password': {'user': claim}}, 'scope': 'unscoped'}
    if project is not None:
        auth['scope'] = {'project': {'name': project, 'domain': domain}}
    return {'auth': auth}


@contextlib.contextmanager
def running_keystone(home: Path) -> Iterator[Keystone]:
    """Yield a Keystone with only the user admin; it is stopped at the end."""
    keystone = Keystone(home)
    keystone.bootstrap()
    keystone.start()
    try:
        yield keystone
    finally:
        keystone.stop()


def run_inside(script: str, argument: Any) -> Any:
    """Run ``script`` in Keystone's environment with ``argument`` as JSON on its input; returns its output's JSON."""
    return environments.run('keystone', ['-c', textwrap.dedent(script)], argument)
