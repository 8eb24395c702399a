"""Waiting times of the service's users, and its cost: measured on a separate local cloud.

The client is bare HTTP on one kept connection a thread, so that the figures are the service's and not a client
library's. CPU and memory are those of the server and all its children, from /proc. A figure is a median, with the least
and the greatest of its runs.
"""

from __future__ import annotations

import concurrent.futures
import json
import os
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import urllib3
import yaml

from bench.figures import percentile, spread
from local.launch import launched

#: Repetitions of a figure that is a median.
TIMES = 30

#: A list has so many volumes; they are made in so many bursts of as many, by so many clients.
LISTED, BURSTS, BURST, CLIENTS = 1000, 5, 200, 8

#: Measured requests: name -> (path, runs for the waiting time, requests whose CPU is measured at once).
READS = {
    'list detail, all 1,000': ('/volumes/detail', 10, 5),
    'list detail, 100 of 1,000': ('/volumes/detail?limit=100', 30, 30),
    'list brief, all 1,000': ('/volumes', 10, 5),
    'GET volume': ('/volumes/{id}', 100, 200),
}

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

    def create(self, number: int = 0) -> str:
        """Create a volume. Of three in a row one has a name, and one a name and metadata."""
        named = {'name': f'volume {number}', 'description': 'of a bench'} if number % 3 else {}
        metadata = {'metadata': {f'key{each}': 'value' * each for each in range(5)}} if number % 3 == 2 else {}
        return str(self.call('POST', '/volumes', {'volume': {'size': 1, **named, **metadata}})['volume']['id'])

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
            rows = [*_latencies(client), *_bursts(client, BURSTS), *_reads(client)]
            return [*rows, ('memory of all processes, idle after boot', f'{memory / 2**20:.0f} MiB')]


def _latencies(client: Client) -> list[tuple[str, str]]:
    client.wait(client.create())  # the first one pays for imports, as a cold start would
    posts, ready, attaches = [], [], []
    for number in range(TIMES):
        began = time.perf_counter()
        volume = client.create(number)
        posts.append(time.perf_counter() - began)
        client.wait(volume)
        ready.append(time.perf_counter() - began)
        attaches.append(_attach(client, volume))
    return [
        ('POST /volumes', spread(posts)),
        ('POST -> available', spread(ready)),
        ('attach with connector', spread(attaches)),
    ]


def _attach(client: Client, volume: str) -> float:
    body = {'attachment': {'volume_uuid': volume, 'instance_uuid': str(uuid.uuid4()), 'connector': CONNECTOR}}
    began = time.perf_counter()
    attachment = client.call('POST', '/attachments', body)['attachment']['id']
    spent = time.perf_counter() - began
    client.call('DELETE', f'/attachments/{attachment}')
    return spent


def _bursts(client: Client, bursts: int) -> list[tuple[str, str]]:
    """``bursts`` times BURST creates by CLIENTS clients at the same time: at least 5 for a spread."""
    posts: list[float] = []
    rates, costs = zip(*(_burst(client, posts) for _ in range(bursts)), strict=True)
    who = f'{BURST} creates by {CLIENTS} clients'
    return [
        (f'{who}, seconds per create to available', spread(rates)),
        (f'{who}, creates per second', f'{BURST * bursts / sum(rate * BURST for rate in rates):.1f}'),
        (f'{who}, POST p50 and p95', f'{percentile(posts, 50) * 1000:.0f} and {percentile(posts, 95) * 1000:.0f} ms'),
        ('CPU per volume created, all processes', spread(costs)),
    ]


def _burst(client: Client, posts: list[float]) -> tuple[float, float]:
    """Return (seconds to available, seconds of CPU) for each volume; add the seconds of each POST to ``posts``."""

    def create(number: int) -> str:
        began = time.perf_counter()
        volume = client.create(number)
        posts.append(time.perf_counter() - began)
        return volume

    before, began = _cpu(client.pid), time.perf_counter()
    with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
        volumes = list(pool.map(create, range(BURST)))
    waiting = set(volumes)
    while waiting:
        time.sleep(0.2)
        listed = client.call('GET', f'/volumes/detail?limit={BURST}')['volumes']
        waiting -= {volume['id'] for volume in listed if volume['status'] == 'available'}
    return (time.perf_counter() - began) / BURST, (_cpu(client.pid) - before) / BURST


def _reads(client: Client) -> list[tuple[str, str]]:
    listed = client.call('GET', '/volumes?limit=1000')['volumes']
    if len(listed) < LISTED:
        raise RuntimeError(f'{len(listed)} volumes are fewer than the list is measured with')
    rows = []
    for name, (template, times, measured) in READS.items():
        path = template.format(id=listed[0]['id'])
        waits = [_timed(lambda path=path: client.call('GET', path)) for _ in range(times)]  # type: ignore[misc]
        costs = [_cost(client, path, measured) for _ in range(5)]
        rows += [(name, spread(waits)), (f'{name}, CPU of all processes', spread(costs))]
    return rows


def _cost(client: Client, path: str, times: int) -> float:
    """Seconds of CPU per request; the kernel counts hundredths of a second, so many requests are measured at once."""
    before = _cpu(client.pid)
    for _ in range(times):
        client.call('GET', path)
    return (_cpu(client.pid) - before) / times


def _timed(call: Callable[[], Any]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


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
