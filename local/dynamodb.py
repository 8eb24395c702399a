"""DynamoDB for the local cloud: AWS's own engine if Java is installed, else moto's behind its lock.

The engine (DynamoDB Local) comes from the npm package ``amplify-dynamodb-simulator``; ``make setup`` unpacks it into
``.tools/``. It is atomic between threads, and a transaction takes the same time whatever the size of the table.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from botocore.awsrequest import AWSPreparedRequest, AWSResponse, HeadersDict
from botocore.exceptions import EndpointConnectionError
from botocore.httpsession import URLLib3Session
from moto.core.botocore_stubber import MockRawResponse

from local import commits, databases
from local.calls import text
from local.children import Child, free_port
from local.reserve import Reserve
from local.settings import HOST, REGION

#: Where ``make setup`` puts the engine.
ENGINE = Path('.tools/package/emulator')

#: The file in which it keeps every table.
DATABASE = 'shared-local-instance.db'

#: Jetty, which the engine brings, assembles it from our configuration.
MAIN, CONFIGURATION = 'org.eclipse.jetty.xml.XmlConfiguration', Path(__file__).absolute().with_suffix('.xml')

#: A small heap: a local cloud holds thousands of records, not millions.
JAVA = ('-Xms32m', '-Xmx160m', '-Xss512k', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1', '-XX:MaxMetaspaceSize=96m')

#: Seconds that the engine gets to answer its first request.
START_TIMEOUT = 60


class Engine:
    """One DynamoDB Local on a free port. It stores tables in the folder ``data``, or in memory without one.

    ``folder`` holds the program; ``log`` receives its standard error; ``besides`` are ports that others will take.
    """

    def __init__(self, folder: Path, log: Path, data: Path | None, besides: Collection[int] = ()) -> None:
        self._folder = folder
        self._log = log
        self.data = data
        self._port = free_port(besides)
        self._child: Child | None = None

    @property
    def url(self) -> str:
        return f'http://{HOST}:{self._port}'

    def start(self) -> None:
        """Start the program, each time on the same port; ``wait`` returns when it answers."""
        options = ['-Djava.library.path=DynamoDBLocal_lib', f'-Dport={self._port}', f'-Dmemory={self.data is None}']
        if self.data is not None:
            prepare(self.data)
            options.append(f'-Dfolder={self.data}')
        java = ['java', *JAVA, *options, '-cp', 'DynamoDBLocal.jar:DynamoDBLocal_lib/*', MAIN, str(CONFIGURATION)]
        self._child = Child(['env', 'DDB_LOCAL_TELEMETRY=0', *java], folder=self._folder, log=self._log)

    def wait(self) -> None:
        """Return when it answers. Raises RuntimeError when it does not."""
        deadline = time.monotonic() + START_TIMEOUT
        while not self._answers():
            if time.monotonic() > deadline or self._child is None or self._child.ended():
                said = self._child.said() if self._child else ''
                raise RuntimeError(f'DynamoDB Local does not answer; DYNAMODB=moto does without it: {said}')
            time.sleep(0.05)

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection(HOST, self._port, timeout=5)
        try:
            connection.request('GET', '/')
            return connection.getresponse().status > 0
        except (ConnectionError, TimeoutError):  # not yet listening, or still loading
            return False
        finally:
            connection.close()

    def ended(self) -> bool:
        """Whether it was started and has ended."""
        return self._child is not None and self._child.ended()

    def stop(self) -> None:
        if self._child is not None:
            self._child.kill()


def available(root: Path, wanted: str) -> bool:
    """Whether the engine can be started here and ``wanted`` is not 'moto'."""
    return wanted != 'moto' and shutil.which('java') is not None and (root / ENGINE / 'DynamoDBLocal.jar').exists()


def engine(
    root: Path, wanted: str, log: Path, data: Path | None = None, besides: Collection[int] = ()
) -> Engine | None:
    """Return the engine that can be started here, or None for moto. ``wanted`` 'moto' forces moto."""
    return Engine(root / ENGINE, log, data, besides) if available(root, wanted) else None


def prepare(data: Path) -> None:
    """Set a new or existing engine database to a write-ahead log: one fsync a commit instead of four.

    SQLite keeps the mode in the file. The engine must not run.
    """
    data.mkdir(mode=0o700, exist_ok=True)
    with contextlib.closing(sqlite3.connect(data / DATABASE)) as database:
        databases.check(database, data / DATABASE)
        (mode,) = database.execute('pragma journal_mode=wal').fetchone()
    if mode != 'wal':
        raise RuntimeError(f'{data / DATABASE} is in use, or its file system has no shared memory (mode {mode})')


def intercept(url: str, reserve: Reserve | None = None) -> None:
    """Have a request to the engine wait for the engine's restart, and a transaction's answer for its commit.

    The engine answers TransactWriteItems before its commit, and loses it when killed at once: local/commits.py. Writes
    that ``reserve`` does not admit are refused. All requests of this process pass ``URLLib3Session``.
    """
    send, transactions = URLLib3Session.send, commits.Commits()

    def sent(session: URLLib3Session, request: AWSPreparedRequest) -> Any:
        if not request.url.startswith(url):
            return send(session, request)
        operation = text(request.headers.get('X-Amz-Target', '')).rpartition('.')[2]
        if reserve is not None and not operation.startswith(READS) and not reserve.admits(operation, request.body):
            return AWSResponse(request.url, 500, HeadersDict(_JSON), MockRawResponse(FULL))

        def patient(request: AWSPreparedRequest) -> Any:
            return _patiently(lambda: send(session, request))

        return transactions.send(patient, request) if commits.is_late(request) else patient(request)

    URLLib3Session.send = sent


#: First words of operations that write nothing.
READS = ('BatchGet', 'Describe', 'Get', 'List', 'Query', 'Scan', 'TransactGet')

#: The answer to a write on a full disk: a service error, as the engine's own answer to PutItem.
_JSON = {'Content-Type': 'application/x-amz-json-1.0'}
FULL = json.dumps(
    {
        '__type': 'com.amazonaws.dynamodb.v20120810#InternalServerError',
        'message': 'The disk of the local cloud is full.',
    }
)


def _patiently(send: Callable[[], Any]) -> Any:
    """Repeat a request for which no connection could be made: nothing of it has arrived."""
    deadline = time.monotonic() + RESTART_PATIENCE
    while True:
        try:
            return send()
        except EndpointConnectionError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


#: Seconds that a request waits for an engine that is started again.
RESTART_PATIENCE = 15


def redirect(url: str) -> None:
    """Point every later client of this process to the engine."""
    os.environ['AWS_ENDPOINT_URL_DYNAMODB'] = url
    os.environ['AWS_ENDPOINT_URL_DYNAMODB_STREAMS'] = url


def client(url: str) -> Any:
    import boto3

    return boto3.client('dynamodb', region_name=REGION, endpoint_url=url)
