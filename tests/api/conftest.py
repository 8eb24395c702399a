"""The API on moto's tables: a front door without a network, callers without an identity service, a worker that nods."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.api.front_door import Caller, FrontDoor, Worker
from tests.api.memory import cloud_in_memory


@pytest.fixture(scope='package')
def tables() -> Iterator[None]:
    """Every table, for all tests of this folder: each has projects of its own."""
    with cloud_in_memory():
        yield


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Worker:
    """In the place of the worker that reaches backends."""
    from chalicelib import aws

    fake = Worker()
    monkeypatch.setattr(aws, 'invoke', fake.invoke)
    return fake


@pytest.fixture
def door(tables: None, worker: Worker, monkeypatch: pytest.MonkeyPatch) -> FrontDoor:
    """The API, with every cache of a process forgotten."""
    return FrontDoor.open(monkeypatch)


@pytest.fixture
def project() -> str:
    """A project of this test alone."""
    return uuid.uuid4().hex


@pytest.fixture
def member(door: FrontDoor, project: str) -> Caller:
    return door.caller('member', project)


@pytest.fixture
def reader(door: FrontDoor, project: str) -> Caller:
    return door.caller('reader', project)


@pytest.fixture
def admin(door: FrontDoor, project: str) -> Caller:
    return door.caller('admin', project)


@pytest.fixture
def stranger(door: FrontDoor) -> Caller:
    """A member of another project."""
    return door.caller('member', uuid.uuid4().hex)


@pytest.fixture
def nobody(door: FrontDoor, project: str) -> Caller:
    """A caller in the project whose token has none of the known roles."""
    return door.caller('', project)


@pytest.fixture
def make(door: FrontDoor, project: str) -> Any:
    """Records of the test's project, as other functions would have left them."""
    from tests.api.records import Records

    return Records(project)
