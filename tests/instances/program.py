"""One function instance: a process with its own caches and clock, over tables that it shares with others.

Reads one JSON object a line from standard input, ``{"call": name, ...arguments}``, and answers each with a line of
JSON: ``{"answer": ...}`` or ``{"error": traceback}``. Requests go through the mounted routes, tasks through the entry
of the workers.
"""

from __future__ import annotations

import collections
import datetime
import json
import os
import sys
import time
import traceback
from typing import Any

#: Seconds that this instance's clock is ahead of the others'.
OFFSET = float(os.environ.get('CLOCK_OFFSET', '0'))


def shift_clock(seconds: float) -> None:
    """Move every clock that the code under test reads; the monotonic one has no relation to others' anyway."""
    real_time, real_datetime = time.time, datetime.datetime

    class Shifted(real_datetime):  # type: ignore[misc,valid-type]
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Any:
            return real_datetime.now(tz) + datetime.timedelta(seconds=seconds)

    time.time = lambda: real_time() + seconds
    datetime.datetime = Shifted  # type: ignore[misc]


if OFFSET:
    shift_clock(OFFSET)

import pytest  # noqa: E402 - what follows is imported on the shifted clock

from tests.api.front_door import FrontDoor  # noqa: E402
from tests.fake_driver import Backend  # noqa: E402
from tests.simulation import Simulation  # noqa: E402


class Instance:
    """The front door and the workers of one process. Its queue is its own: what it accepts is handed on by the test."""

    def __init__(self) -> None:
        self.patch = pytest.MonkeyPatch()
        self._start_aws()
        self.simulation = Simulation()
        self.simulation.install(self.patch)
        for backend in self.simulation.backends.values():
            backend.pools['pool'] = 100_000
        self.door = FrontDoor.open(self.patch)

    @staticmethod
    def _start_aws() -> None:
        """Answer everything but DynamoDB, whose address is the shared store's, in this process."""
        import boto3
        from moto import mock_aws

        mock_aws().start()
        os.environ['KMS_KEY_ID'] = boto3.client('kms').create_key()['KeyMetadata']['KeyId']

    def create_tables(self) -> None:
        from chalicelib.models import TABLES

        for table in TABLES:
            if not table.exists():
                table.create_table(billing_mode='PAY_PER_REQUEST')

    def request(
        self,
        role: str,
        project: str,
        method: str,
        path: str,
        body: Any = None,
        at: str = '3.71',
        key: str | None = None,
    ) -> dict[str, Any]:
        headers: dict[str, str | None] = {'Idempotency-Key': key}
        answer = self.door.caller(role, project).request(method, path, body, at=at, headers=headers)
        return {'status': answer.status, 'body': json.loads(answer.text) if answer.text else None}

    def add_backend(self, host: str, zone: str) -> None:
        """Add a backend, or move one to another zone, as a new document would."""
        self.simulation.backends[host] = Backend(host, {'pool': 100_000}, availability_zone=zone)

    def limit_rate(self, rate: int, burst: int) -> None:
        """Run as a function whose stack has this limit of each project."""
        from chalicelib import config
        from chalicelib.operations import rate_limits

        os.environ.update(PROJECT_RATE_LIMIT=str(rate), PROJECT_BURST_LIMIT=str(burst))
        config.settings.cache_clear()
        rate_limits.forget()

    def flood(self, project: str, seconds: float) -> dict[int, int]:
        """Send requests without a pause; return how many got each status."""
        until, statuses = time.monotonic() + seconds, collections.Counter[int]()
        while time.monotonic() < until:
            statuses[self.door.caller('member', project).request('GET', '/types').status] += 1
        return statuses

    def report(self) -> None:
        from chalicelib.tasks import report_pools

        report_pools.run({})

    def take_queue(self) -> list[dict[str, Any]]:
        taken, self.simulation.queue = self.simulation.queue, []
        return taken

    def settle(self, messages: list[dict[str, Any]]) -> None:
        """Do the work of these messages and of this instance's own."""
        self.simulation.queue += messages
        self.simulation.settle()

    def qos_of(self, project: str, id: str) -> Any:
        """What a worker passes on of the QoS specs of a volume: (to the host, to the backend)."""
        from chalicelib.models import Volume
        from chalicelib.tasks import backends

        volume = Volume.find(project, id)
        return [backends.front_end_qos(volume), dict(backends.volume_ref(volume).qos_specs)]

    def forget_service(self, host: str) -> None:
        """Remove a backend's service and pools, as an operator does who takes a backend out of the cloud."""
        from chalicelib.models import Pool, Service, base

        for record in [*base.every(Service, base.GLOBAL), *base.every(Pool, base.GLOBAL)]:
            if host in record.id:
                record.delete()

    def now(self) -> str:
        from chalicelib.models import base

        return base.now()


def serve() -> None:
    instance = Instance()
    print(json.dumps({'answer': 'ready'}), file=sys.__stdout__, flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            answer = {'answer': getattr(instance, asked.pop('call'))(**asked)}
        except Exception:
            answer = {'error': traceback.format_exc()}
        print(json.dumps(answer), file=sys.__stdout__, flush=True)


if __name__ == '__main__':
    serve()
