"""Start a shared store and function instances, and talk to them."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from infra.render import ROOT
from local import dynamodb
from local.children import bound

#: What an instance has in its environment besides the store's address.
ENVIRONMENT = {
    'AWS_ACCESS_KEY_ID': 'test',
    'AWS_SECRET_ACCESS_KEY': 'test',
    'AWS_DEFAULT_REGION': 'us-east-1',
    'AWS_ACCOUNT_ID_ENDPOINT_MODE': 'disabled',
    'PYTHONUNBUFFERED': '1',
}


class Died(AssertionError):
    """An instance raised, or ended."""


class Process:
    """One function instance, ``offset`` seconds ahead of this process's clock."""

    def __init__(self, store: str, offset: float = 0) -> None:
        environment = {**os.environ, **ENVIRONMENT, 'AWS_ENDPOINT_URL_DYNAMODB': store, 'CLOCK_OFFSET': str(offset)}
        self._process = subprocess.Popen(
            bound([sys.executable, '-m', 'tests.instances.program']),
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def wait(self) -> None:
        """Return when it takes calls."""
        assert self._answer() == 'ready'

    def call(self, name: str, **arguments: Any) -> Any:
        """Have it do something. Raises Died with its traceback when it raises."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({'call': name, **arguments}) + '\n')
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise Died(f'the instance ended with {self._process.wait()}')
        answer = json.loads(line)
        if 'error' in answer:
            raise Died(answer['error'])
        return answer['answer']

    def stop(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@contextlib.contextmanager
def shared_store(folder: Path) -> Iterator[str]:
    """The address of empty tables: AWS's own engine where Java is there, else moto's server in a process of its own."""
    engine = dynamodb.engine(ROOT, '', folder / 'dynamodb.log')
    if engine is None:
        yield from _moto()
        return
    engine.start()
    try:
        engine.wait()
        yield engine.url
    finally:
        engine.stop()


def _moto() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address='127.0.0.1', port=0)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f'http://{host}:{port}'
    finally:
        server.stop()


@contextlib.contextmanager
def running(store: str, *offsets: float) -> Iterator[list[Process]]:
    """Function instances over one store, with clocks so many seconds apart."""
    started = [Process(store, offset) for offset in offsets]
    try:
        for one in started:
            one.wait()
        started[0].call('create_tables')
        yield started
    finally:
        for one in started:
            one.stop()
