"""moto with the local cloud's guard around it, for one test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws
from moto.core.botocore_stubber import BotocoreStubber

from local import backends, lambda_backend, stepfunctions
from local.settings import REGION

Clients = Callable[[str], Any]


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clients]:
    """moto as it is."""
    unguarded = getattr(BotocoreStubber, 'unguarded', BotocoreStubber.process_request)
    monkeypatch.setattr(BotocoreStubber, 'process_request', unguarded)
    yield from _mocked(monkeypatch)


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clients]:
    """moto as the local cloud has it: clients by service."""
    lambda_backend.install()
    stepfunctions.install()
    monkeypatch.setattr(BotocoreStubber, 'process_request', BotocoreStubber.process_request)  # put back afterwards
    backends.install_guard()
    monkeypatch.setattr(BotocoreStubber, 'process_request', backends._guarded)
    monkeypatch.setattr(backends, '_observers', [])
    monkeypatch.setattr(backends, '_elsewhere', [])
    monkeypatch.setattr(stepfunctions, '_listeners', [])
    yield from _mocked(monkeypatch)


def _mocked(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clients]:
    for name, value in backends.ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv('AWS_ENDPOINT_URL_DYNAMODB', raising=False)
    clients: dict[str, Any] = {}

    def client(service: str) -> Any:
        return clients.setdefault(service, boto3.client(service, region_name=REGION))

    with mock_aws(config=backends.CONFIG):
        yield client
