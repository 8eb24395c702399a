"""Cost of stored state in the local cloud: boot and restart, and the same requests with ``STATE=memory``.

Both modes are measured in turns, since the pace of a shared machine changes. The 10,000 volumes are records
without an object on the storage host.
"""

from __future__ import annotations

import concurrent.futures
import os
import signal
import tempfile
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import boto3
from boto3.dynamodb.types import TypeDeserializer, TypeSerializer

from bench import service
from bench.figures import spread
from bench.service import CLIENTS, Client
from local.launch import free_ports, launched

#: Records in the large state, boots of each kind, and turns of both modes.
VOLUMES, BOOTS, TURNS = 10_000, 5, 2

#: Attributes of a volume that has no place on a backend.
_PLACELESS = {'status': 'error', 'host': None, 'claimed_gb': None, 'in_transit_gb': None}


def run() -> list[tuple[str, str]]:
    """Return (measurement, figure) rows."""
    with tempfile.TemporaryDirectory(prefix='cinderless-bench-') as name:
        return [*_boots(Path(name)), *_modes(Path(name))]


def _boots(folder: Path) -> list[tuple[str, str]]:
    fresh = [_boot(folder / f'fresh{number}', free_ports()) for number in range(BOOTS)]
    state, ports = folder / 'large', free_ports()
    with launched(state, ports) as facts:
        _fill(facts, Client(facts, state / 'clouds.yaml'))
    stopped = [_boot(state, ports) for _ in range(BOOTS)]
    killed = [_boot(state, ports, signal.SIGKILL) for _ in range(BOOTS + 1)][1:]
    return [
        ('boot to ready, empty', spread(fresh, 's')),
        (f'boot to ready, {VOLUMES:,} volumes', spread(stopped, 's')),
        (f'restart after SIGKILL, {VOLUMES:,} volumes', spread(killed, 's')),
    ]


def _boot(state: Path, ports: Mapping[str, str], end: signal.Signals = signal.SIGTERM) -> float:
    """Seconds from the start of the process until ready.json is there. The instance ends with a signal."""
    began = time.perf_counter()
    with launched(state, ports) as facts:
        spent = time.perf_counter() - began
        os.kill(facts['pid'], end)
    return spent


def _fill(facts: Mapping[str, Any], client: Client) -> None:
    """Many records after the model of one."""
    client.unlimited()
    id = client.create()
    client.wait(id)
    tables = boto3.client(
        'dynamodb',
        endpoint_url=facts['aws'],
        region_name=facts['region'],
        aws_access_key_id=facts['access_key'],
        aws_secret_access_key=facts['secret_key'],
    )
    name, key = facts['tables']['volumes'], {'project_id': {'S': client.project}, 'id': {'S': id}}
    item = tables.get_item(TableName=name, Key=key)['Item']
    one = {key: TypeDeserializer().deserialize(value) for key, value in item.items()}
    bare = {key: value for key, value in {**one, **_PLACELESS}.items() if value is not None}

    def write(_: int) -> None:
        made = [{**bare, 'id': str(uuid.uuid4())} for _ in range(25)]
        items = [{key: TypeSerializer().serialize(value) for key, value in each.items()} for each in made]
        tables.batch_write_item(RequestItems={name: [{'PutRequest': {'Item': each}} for each in items]})

    with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(write, range(VOLUMES // 25)))


def _modes(folder: Path) -> list[tuple[str, str]]:
    rows: dict[str, list[str]] = {}
    for number in range(TURNS):
        for mode in ('', 'memory'):
            state = folder / f'turn{number}{mode}'
            with launched(state, {'STATE': mode}) as facts:
                client = Client(facts, state / 'clouds.yaml')
                client.unlimited()
                for name, figure in [*service._latencies(client), *service._bursts(client, 5)]:
                    rows.setdefault(f'{name}, {"in memory" if mode else "stored"}', []).append(figure)
    return [(name, ' / '.join(figures)) for name, figures in sorted(rows.items())]
