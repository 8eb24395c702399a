"""Waiting times of the service's users, and its cost: measured on a separate local cloud.

The client is bare HTTP on one kept connection a thread, so that the figures are the service's and not a client
library's. CPU and memory are those of the server and all its children, from /proc.
"""

from __future__ import annotations

import concurrent.futures
import json
import os
import statistics
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import urllib3
import yaml

from local.launch import launched

#: Repetitions of a figure that is a median.
TIMES = 30

#: A statistic needs so many volumes; a burst makes so many with so many clients.
LISTED, BURST, CLIENTS = 1000, 200, 8

#: Seconds between polls of a status, shorter than the measured times.
POLL = 0.004

CONNECTOR = {'host': 'bench', 'initiator': 'iqn.2004-10.com.example:bench', 'ip': '127.0.0.1', 'multipath': False}


class Client:
    """One project's user, with one connection a thread."""

    def __init__(self, facts: dict[str, Any], clouds: Path) -> None:
        self.url = facts['volume']
        self.pid = facts['pid']
        self._pool = urllib3.PoolManager(maxsize=CLIENTS, retries=False)
        self._token = self._log_in(yaml.safe_load(clouds.read_text())['clouds']['admin'])

    def _log_in(self, cloud: dict[str, Any]) -> str:
        auth = cloud['auth']
        user = {'name': auth['username'], 'domain': {'name': auth['user_domain_name']}, 'password': auth['password']}
        project = {'name': auth['project_name'], 'domain': {'name': auth['project_domain_name']}}
        identity = {'methods': ['password'], 'password': {'user': user}}
        body = {'auth': {'identity': identity, 'scope': {'project': project}}}
        answer = self._pool.request('POST', auth['auth_url'] + '/auth/tokens', json=body)
        self.project = answer.json()['token']['project']['id']
        return str(answer.headers['x-subject-token'])

    def call(self, method: str, path: str, body: Any = None, expect: tuple[int, ...] = (200, 202, 204)) -> Any:
        """Return the JSON answered; refuse any status but those expected."""
        headers = {'X-Auth-Token': self._token, 'OpenStack-API-Version': 'volume 3.70'}
        answer = self._pool.request(method, self.url + path, json=body, headers=headers)
        if answer.status not in expect:
            raise RuntimeError(f'{method} {path} answered {answer.status}: {answer.data[:300]!r}')
        return json.loads(answer.data) if answer.data else None

    def create(self) -> str:
        return str(self.call('POST', '/volumes', {'volume': {'size': 1}})['volume']['id'])

    def wait(self, id: str, status: str = 'available') -> None:
        while (found := self.call('GET', f'/volumes/{id}')['volume']['status']) != status:
            if found.startswith('error'):
                raise RuntimeError(f'volume {id} is {found}')
            time.sleep(POLL)

    def unlimited(self) -> None:
        limits = {'volumes': -1, 'gigabytes': -1}
        self.call('PUT', f'/os-quota-sets/{self.project}', {'quota_set': limits})


def run() -> list[tuple[str, str]]:
    """Return (measurement, figure) rows."""
    with tempfile.TemporaryDirectory(prefix='cinderless-bench-') as name:
        state = Path(name) / 'state'
        with launched(state) as facts:
            client = Client(facts, state / 'clouds.yaml')
            memory = _memory(client.pid)
            client.unlimited()
            rows = [*_latencies(client), *_burst(client), *_lists(client)]
            return [*rows, ('memory of all processes, idle after boot', f'{memory / 2**20:.0f} MiB')]


def _latencies(client: Client) -> list[tuple[str, str]]:
    client.wait(client.create())  # the first one pays for imports, as a cold start would
    posts, ready, attaches, gets = [], [], [], []
    for _ in range(TIMES):
        began = time.perf_counter()
        volume = client.create()
        posts.append(time.perf_counter() - began)
        client.wait(volume)
        ready.append(time.perf_counter() - began)
        gets.append(_timed(lambda id=volume: client.call('GET', f'/volumes/{id}')))  # type: ignore[misc]
        attaches.append(_attach(client, volume))
    return [
        ('POST /volumes, p50', _ms(posts)),
        ('POST -> available, p50', _ms(ready)),
        ('attach with connector, p50', _ms(attaches)),
        ('GET volume, p50', _ms(gets)),
    ]


def _attach(client: Client, volume: str) -> float:
    body = {'attachment': {'volume_uuid': volume, 'instance_uuid': str(uuid.uuid4()), 'connector': CONNECTOR}}
    began = time.perf_counter()
    attachment = client.call('POST', '/attachments', body)['attachment']['id']
    spent = time.perf_counter() - began
    client.call('DELETE', f'/attachments/{attachment}')
    return spent


def _burst(client: Client) -> list[tuple[str, str]]:
    before, began = _cpu(client.pid), time.perf_counter()
    with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
        volumes = list(pool.map(lambda _: client.create(), range(BURST)))
    waiting = set(volumes)
    while waiting:
        time.sleep(0.2)
        listed = client.call('GET', '/volumes/detail?limit=1000')['volumes']
        waiting -= {volume['id'] for volume in listed if volume['status'] == 'available'}
    spent = time.perf_counter() - began
    cpu = (_cpu(client.pid) - before) / BURST
    return [
        (f'{BURST} creates by {CLIENTS} clients, to available', f'{BURST / spent:.1f} per s'),
        ('CPU per volume created, all processes', f'{cpu:.2f} s'),
    ]


def _lists(client: Client) -> list[tuple[str, str]]:
    have = len(client.call('GET', '/volumes?limit=1000')['volumes'])
    with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
        for volume in list(pool.map(lambda _: client.create(), range(LISTED - have))):
            client.wait(volume)
    page = [_timed(lambda: client.call('GET', '/volumes/detail?limit=100')) for _ in range(10)]
    every = [_timed(lambda: client.call('GET', '/volumes/detail')) for _ in range(5)]
    return [('list detail, 100 of 1,000', _ms(page)), ('list detail, all 1,000', _ms(every))]


def _timed(call: Callable[[], Any]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def _ms(seconds: list[float]) -> str:
    return f'{statistics.median(seconds) * 1000:.1f} ms'


def _family(pid: int) -> list[int]:
    """The process and all its descendants."""
    parents: dict[int, list[int]] = {}
    for entry in Path('/proc').iterdir():
        if entry.name.isdigit() and (stat := _stat(int(entry.name))):
            parents.setdefault(int(stat[1]), []).append(int(entry.name))
    family, new = [pid], [pid]
    while new:
        new = [child for parent in new for child in parents.get(parent, ())]
        family += new
    return family


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/<pid>/stat after the name; [] for a process that ended."""
    try:
        return Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()
    except OSError:
        return []


def _cpu(pid: int) -> float:
    """Seconds of CPU of the family: user and system."""
    ticks = [int(stat[11]) + int(stat[12]) for member in _family(pid) if (stat := _stat(member))]
    return sum(ticks) / os.sysconf('SC_CLK_TCK')


def _memory(pid: int) -> int:
    """Resident bytes of the family."""
    pages = [int(stat[21]) for member in _family(pid) if (stat := _stat(member))]
    return sum(pages) * os.sysconf('SC_PAGE_SIZE')


def main() -> None:
    for name, figure in run():
        print(f'{name:50} {figure}')


if __name__ == '__main__':
    main()
