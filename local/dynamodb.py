"""DynamoDB for the local cloud: AWS's own engine where Java is there, else moto's behind its lock.

The engine (DynamoDB Local) comes from the npm package ``amplify-dynamodb-simulator``; ``make setup`` unpacks it into
``.tools/``. It is atomic between threads, and a transaction takes the same time whatever the size of the table.
"""

from __future__ import annotations

import http.client
import os
import shutil
import time
from pathlib import Path
from typing import Any

from local.children import Child, free_port
from local.settings import HOST, REGION

#: Where ``make setup`` puts the engine.
ENGINE = Path('.tools/package/emulator')

#: Jetty, which the engine brings, assembles it from our configuration.
MAIN, CONFIGURATION = 'org.eclipse.jetty.xml.XmlConfiguration', Path(__file__).absolute().with_suffix('.xml')

#: A small heap: a local cloud holds thousands of records, not millions.
JAVA = ('-Xms32m', '-Xmx160m', '-Xss512k', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1', '-XX:MaxMetaspaceSize=96m')

#: Seconds that the engine gets to answer its first request.
START_TIMEOUT = 60


class Engine:
    """One DynamoDB Local in memory, on a free port. ``log`` is the file that holds what it says."""

    def __init__(self, folder: Path, log: Path) -> None:
        self._folder = folder
        self._log = log
        self._port = free_port()
        self._child: Child | None = None

    @property
    def url(self) -> str:
        return f'http://{HOST}:{self._port}'

    def start(self) -> None:
        """Start it; ``wait`` says when it answers."""
        told = ['-Djava.library.path=DynamoDBLocal_lib', f'-Dport={self._port}']
        java = ['java', *JAVA, *told, '-cp', 'DynamoDBLocal.jar:DynamoDBLocal_lib/*', MAIN, str(CONFIGURATION)]
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

    def stop(self) -> None:
        if self._child is not None:
            self._child.kill()
        self._log.unlink(missing_ok=True)


def engine(root: Path, wanted: str, log: Path) -> Engine | None:
    """Return the engine that can be started here, or None for moto. ``wanted`` 'moto' forces moto."""
    folder = root / ENGINE
    available = shutil.which('java') is not None and (folder / 'DynamoDBLocal.jar').exists()
    return Engine(folder, log) if available and wanted != 'moto' else None


def redirect(url: str) -> None:
    """Point every later client of this process to the engine."""
    os.environ['AWS_ENDPOINT_URL_DYNAMODB'] = url
    os.environ['AWS_ENDPOINT_URL_DYNAMODB_STREAMS'] = url


def client(url: str) -> Any:
    import boto3

    return boto3.client('dynamodb', region_name=REGION, endpoint_url=url)


def copy_tables(source: Any, target: Any) -> None:
    """Create in the engine what the stack created in moto: keys, indexes and expiry."""
    for name in source.list_tables()['TableNames']:
        target.create_table(**_definition(source.describe_table(TableName=name)['Table']))
        expiry = source.describe_time_to_live(TableName=name)['TimeToLiveDescription'].get('AttributeName')
        if expiry:
            specification = {'AttributeName': expiry, 'Enabled': True}
            target.update_time_to_live(TableName=name, TimeToLiveSpecification=specification)


def _definition(table: dict[str, Any]) -> dict[str, Any]:
    kept = {key: table[key] for key in ('TableName', 'KeySchema', 'AttributeDefinitions')}
    indexes = {key: [_index(index) for index in table.get(key) or []] for key in _INDEXES}
    return {**kept, 'BillingMode': 'PAY_PER_REQUEST', **{key: found for key, found in indexes.items() if found}}


_INDEXES = ('LocalSecondaryIndexes', 'GlobalSecondaryIndexes')


def _index(index: dict[str, Any]) -> dict[str, Any]:
    return {key: index[key] for key in ('IndexName', 'KeySchema', 'Projection')}
