"""A region's EBS for tests: the strict emulator behind HTTP, a clock that only sleep calls advance, and clients."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from chalicelib.drivers import ebs_client
from chalicelib.drivers.base import VolumeRef
from chalicelib.drivers.ebs import EbsDriver
from local.ebs import Ebs, Timing
from local.ebs.blocks import Disk
from local.http import Request, Response, Server
from tests.contract.driver_suite import Backend

REGION, ZONES = 'us-east-1', ('us-east-1a', 'us-east-1b')

#: Times as on AWS, in seconds; a fake clock skips them.
TIMES = Timing(volume=3, snapshot=30, modify=5, optimize=600, attach=2, detach=4, delete=2, visible=1)

#: The SDK's environment.
ENVIRONMENT = {
    'AWS_ACCESS_KEY_ID': 'test',
    'AWS_SECRET_ACCESS_KEY': 'test',
    'AWS_DEFAULT_REGION': REGION,
    'AWS_REGION': REGION,
    'AWS_EC2_METADATA_DISABLED': 'true',
}


class Clock:
    """Seconds since the epoch; they pass only by ``sleep``."""

    def __init__(self) -> None:
        self.time = 1_800_000_000.0

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += seconds


class Region:
    """``ebs`` is replaced for each test; server and clients stay."""

    def __init__(self, clock: Clock | None = None) -> None:
        self.clock = clock or Clock()
        self.ebs = self.fresh()
        self.server = Server(0, self._answer)
        self.url = f'http://127.0.0.1:{self.server.port}'

    def fresh(self, timing: Timing = TIMES) -> Ebs:
        """An empty region."""
        self.ebs = Ebs(ZONES, timing=timing, now=self.clock.now)
        anybody = {'cinder:project': '*'}
        self.instance = self.ebs.add_instance('i-0123456789abcdef0', ZONES[0], tags=anybody)
        self.other_instance = self.ebs.add_instance('i-0123456789abcdef1', ZONES[0], tags=anybody)
        self.far_instance = self.ebs.add_instance('i-0123456789abcdef2', ZONES[1], tags=anybody)
        return self.ebs

    def _answer(self, request: Request) -> Response:
        return self.ebs(request)

    @functools.cached_property
    def ec2(self) -> Any:
        return self._client('ec2')

    @functools.cached_property
    def direct(self) -> Any:
        return self._client('ebs')

    def _client(self, service: str) -> Any:
        import boto3
        from botocore.config import Config

        return boto3.client(
            service,
            region_name=REGION,
            endpoint_url=self.url,
            aws_access_key_id='test',
            aws_secret_access_key='test',
            config=Config(retries={'total_max_attempts': 1}),
        )


@contextmanager
def serving(clock: Clock | None = None) -> Iterator[Region]:
    """A region whose endpoint the SDK finds in the environment. Without ``clock`` only sleep calls advance its time."""
    region = Region(clock)
    region.server.start()
    variables = {**ENVIRONMENT, 'AWS_ENDPOINT_URL_EC2': region.url, 'AWS_ENDPOINT_URL_EBS': region.url}
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield region
    finally:
        region.server.stop()
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


class EbsBackend(Backend):
    """Reads and writes volumes as an instance does, on the emulator's own disks."""

    region: Region

    def _disk(self, volume: VolumeRef) -> Disk:
        found = self.driver._objects.require(volume)  # type: ignore[attr-defined]
        return self.region.ebs.disk(found['VolumeId'])

    def write(self, volume: VolumeRef, offset: int, data: bytes) -> None:
        self._disk(volume).write(offset, data)

    def read(self, volume: VolumeRef, offset: int, length: int) -> bytes:
        return self._disk(volume).read(offset, length)

    @contextmanager
    def using(self, volume: VolumeRef) -> Iterator[Disk]:
        self.driver.initialize_connection(volume, {'instance_id': self.region.instance}, 'host')
        yield self._disk(volume)

    def pass_time(self) -> None:
        self.region.clock.sleep(24 * 3600)


@pytest.fixture(scope='module')
def served() -> Iterator[Region]:
    with serving() as region:
        ebs_client._client.cache_clear()
        yield region
        ebs_client._client.cache_clear()


@pytest.fixture
def region(served: Region, monkeypatch: pytest.MonkeyPatch) -> Region:
    """Return an empty region; the driver's pauses advance its clock without waiting."""
    monkeypatch.setattr(ebs_client.Api, 'sleep', lambda _, seconds: served.clock.sleep(seconds))
    monkeypatch.setattr(ebs_client.Api, 'now', lambda _: served.clock.now())
    served.fresh()
    return served


def driver(**options: Any) -> EbsDriver:
    """As the registry makes it."""
    given = {'zones': list(ZONES), 'capacity_gb': 1000, **options}
    return EbsDriver('aws', {name: option.default for name, option in EbsDriver.OPTIONS.items()} | given)


@pytest.fixture
def backend(region: Region) -> EbsBackend:
    made = EbsBackend(driver(), f'c@aws#{ZONES[0]}', f'c@aws#{ZONES[1]}', too_large=70_000)
    made.region = region
    return made
