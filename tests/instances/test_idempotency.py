"""Two function instances receive one request with one key at the same time: one volume is made, whatever their clocks.

The clock of the second instance is 90 seconds ahead, so it takes every key for abandoned that the first one holds.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.instances.clients import Client, name


def create(client: Client, key: str) -> tuple[int, Any]:
    facts = {'role': 'member', 'project': client.project, 'method': 'POST', 'path': '/volumes', 'key': key}
    answer = client.instance.call('request', body={'volume': {'size': 1, 'name': key}}, **facts)
    return answer['status'], answer['body']


def test_one_key_makes_one_volume(clients: tuple[Client, Client]) -> None:
    a, b = clients
    for _ in range(10):
        key = name('key')
        with ThreadPoolExecutor(2) as pool:
            answers = list(pool.map(create, (a, b), (key, key)))
        assert {status for status, _ in answers} <= {202, 409}
        found = a.do('GET', f'/volumes?name={key}')['volumes']
        assert len(found) == 1
        for status, body in [*answers, create(a, key), create(b, key)]:
            assert status == 409 or body['volume']['id'] == found[0]['id']
