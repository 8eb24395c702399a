"""``python -m tests.horizon``: log in to Horizon, open its pages of volumes, and send its forms.

Once with the built-in identity, once with a real Keystone. Horizon is PyPI's, unchanged, under Django's own server.
A page may report only services that are not there. Exit code 1: a page or a form failed; each is named.
"""

from __future__ import annotations

import contextlib
import html
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import requests

from local import launch
from local.children import bound
from tests.system import environments
from tests.system.keystone import running_keystone

SETTINGS = """
from openstack_dashboard.settings import *
DEBUG = True
ALLOWED_HOSTS = ['127.0.0.1']
OPENSTACK_KEYSTONE_URL = {keystone!r}
SESSION_ENGINE = 'django.contrib.sessions.backends.file'
SESSION_FILE_PATH = {home!r}
CACHES = {{'default': {{'BACKEND': 'django.core.cache.backends.locmem.LocMemCache'}}}}
COMPRESS_ENABLED = False
OPENSTACK_CINDER_FEATURES = {{'enable_backup': True}}
SECRET_KEY = 'only of this test, on loopback'
"""

#: Pages of a member, and of an administrator.
PAGES = {
    'demo': ('/project/volumes/', '/project/volumes/create/', '/project/snapshots/', '/project/backups/',
             '/project/volume_groups/', '/project/vg_snapshots/', '/project/api_access/'),
    'admin': ('/admin/volumes/', '/admin/snapshots/', '/admin/volume_types/', '/admin/group_types/', '/admin/defaults/',
              '/admin/info/', '/identity/', '/identity/users/'),
}  # fmt: skip

#: Horizon's sentence for a service that the catalog does not have; it shows it beside the content of a page.
ABSENT = re.compile(r'Invalid service catalog: (compute|image|network)')

#: Forms that ``forms`` sends.
FORMS = 5

#: Seconds for the start of Horizon, and for a status.
PATIENCE = 120

REGION = 'RegionOne'


class Problem(NamedTuple):
    """What went wrong on a page."""

    place: str
    what: str


class Dashboard:
    """A user before Horizon, without a browser."""

    def __init__(self, url: str, user: str) -> None:
        self.url, self.user = url, user
        self._session = requests.Session()

    def log_in(self) -> list[Problem]:
        fields = {'username': self.user, 'password': self.user, 'domain': 'Default', 'region': 'default'}
        answer = self.send('/auth/login/', auth_type='credentials', **fields)
        return [] if answer.status_code == 302 else [Problem('/auth/login/', f'status {answer.status_code}')]

    def open(self, path: str) -> list[Problem]:
        answer = self._session.get(self.url + path, timeout=PATIENCE)
        found = [f'status {answer.status_code}'] if answer.status_code != 200 else alerts(answer.text)
        return [Problem(path, one) for one in found]

    def send(self, path: str, **fields: str) -> requests.Response:
        """Send a form, with the hidden fields that Horizon wants back."""
        page = self._session.get(self.url + path, timeout=PATIENCE).text
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)
        sent = {'csrfmiddlewaretoken': token[1] if token else '', **fields}
        headers = {'Referer': self.url + path}
        return self._session.post(self.url + path, sent, headers=headers, allow_redirects=False, timeout=PATIENCE)

    def submit(self, path: str, **fields: str) -> list[Problem]:
        answer = self.send(path, **fields)
        return [] if answer.status_code == 302 else [Problem(path, f'{answer.status_code}: {alerts(answer.text)}')]

    def row(self, name: str, status: str) -> str:
        """The id of the volume with this name, once its row has the status. Raises TimeoutError."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            page = self._session.get(f'{self.url}/project/volumes/', timeout=PATIENCE).text
            for row in re.findall(r'<tr[^>]*id="volumes__row__([0-9a-f-]{36})"(.*?)</tr>', page, re.S):
                if name in row[1] and status in row[1].lower():
                    return str(row[0])
            time.sleep(0.5)
        raise TimeoutError(f'no volume {name} became {status}')


def alerts(page: str) -> list[str]:
    """The errors that a page shows to its user, without those of services that are not there."""
    shown = re.findall(r'alert-danger alert-dismissable.*?</div>', page, re.S)
    texts = (' '.join(html.unescape(re.sub(r'<[^>]*>', ' ', one)).split()) for one in shown)
    return [text for text in texts if not ABSENT.search(text)]


def forms(user: Dashboard) -> list[Problem]:
    """Create a volume, extend it, take a snapshot, rename it and back it up, by Horizon's forms."""
    source = {'volume_source_type': 'no_source_type', 'type': '', 'availability_zone': 'nova', 'group': ''}
    found = user.submit('/project/volumes/create/', name='by-horizon', description='', size='1', **source)
    id = user.row('by-horizon', 'available')
    place = f'/project/volumes/{id}'
    found += user.submit(f'{place}/extend/', name='by-horizon', orig_size='1', new_size='2')
    user.row('2GiB', 'available')
    found += user.submit(f'{place}/create_snapshot/', name='by-horizon', description='', volume_id=id)
    found += user.submit(f'{place}/update/', name='renamed', description='')
    backup = {'container_name': '', 'volume_id': id, 'snapshot_id': ''}
    user.row('renamed', 'available')
    found += user.submit(f'{place}/create_backup/', name='by-horizon', description='', **backup)
    found += user.open(f'{place}/')
    user.row('renamed', 'available')
    return found


def checked(url: str) -> list[Problem]:
    found = []
    for name, pages in PAGES.items():
        user = Dashboard(url, name)
        problems = user.log_in()
        found += problems or [problem for page in pages for problem in user.open(page)]
        if name == 'demo' and not problems:
            found += forms(user)
    return found


@contextlib.contextmanager
def horizon(home: Path, keystone: str) -> Iterator[str]:
    """Run Horizon for an identity; yield its URL."""
    python = environments.ensure('horizon')
    home.mkdir()
    (home / 'of_test.py').write_text(SETTINGS.format(keystone=keystone, home=str(home)))
    port = launch.free_ports()['PORT']
    environment = {**os.environ, 'PYTHONPATH': str(home), 'DJANGO_SETTINGS_MODULE': 'of_test'}
    command = [str(python), '-m', 'django', 'runserver', f'127.0.0.1:{port}', '--noreload', '--insecure']
    with (home / 'horizon.log').open('wb') as log:
        child = subprocess.Popen(bound(command), env=environment, stdout=log, stderr=subprocess.STDOUT)
        try:
            yield _answering(f'http://127.0.0.1:{port}')
        finally:
            child.terminate()
            child.wait(30)


def _answering(url: str) -> str:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            requests.get(f'{url}/auth/login/', timeout=PATIENCE)
        except requests.ConnectionError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)
        else:
            return url


def built_in(home: Path) -> list[Problem]:
    with launch.launched(home / 'state') as facts, horizon(home / 'horizon', facts['identity']) as url:
        return checked(url)


def with_keystone(home: Path) -> list[Problem]:
    with running_keystone(home / 'keystone') as keystone:
        keystone.add_user('cinder', keystone.add_project('service'), 'admin')
        keystone.add_user('demo', keystone.add_project('demo'), 'member')
        keystone.add_region(REGION)
        settings = {'KEYSTONE_URL': keystone.url, 'KEYSTONE_PASSWORD': 'cinder'}
        with launch.launched(home / 'state', settings) as facts:
            keystone.add_service('block-storage', 'cinder', facts['volume'], REGION)
            keystone.add_service('identity', 'keystone', keystone.url, REGION)
            with horizon(home / 'horizon', keystone.url) as url:
                return checked(url)


IDENTITIES = {'built-in': built_in, 'keystone': with_keystone}


def main(names: list[str]) -> int:
    code = 0
    for name in names or IDENTITIES:
        with tempfile.TemporaryDirectory(prefix='horizon-') as home:
            problems = IDENTITIES[name](Path(home))
        pages = sum(map(len, PAGES.values()))
        print(f'{name}: {pages} pages and {FORMS} forms, {len(problems)} problems', flush=True)
        for problem in problems:
            print(f'  {problem.place}: {problem.what}')
        code = code or bool(problems)
    return int(code)


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
