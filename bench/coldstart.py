"""Cost of a cold start: CPU of a fresh interpreter per function, with byte code and without.

Measured from the packaged artefacts where the deployed runtime's interpreter is, else from the source tree with this
one; the rows show which. The clients that a function creates when it is called are part of its start. The API's first
requests are measured whole, with the SDK's imports and data files: an import that the start defers must not make the
first answer slow.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from chalicelib.identity import token
from chalicelib.identity.directory import stable_id
from chalicelib.identity.local import local_document
from infra import interpreter, layers, package
from infra.render import ROOT

#: Fresh processes for each figure, which is their median.
TIMES = 5

#: Function -> (imports of its first event, its clients).
STARTS = {
    'api': ('app', ('sqs', 'lambda', 'kms', 'dynamodb')),
    'start_workflow': ('app, chalicelib.tasks.start', ('stepfunctions',)),
    'volume_worker': ('app, chalicelib.tasks.create_volume', ('dynamodb',)),
    'backup_worker': ('app, chalicelib.tasks.backups', ('dynamodb', 's3', 'kms')),
    'reconcile': ('app, chalicelib.tasks.reconcile', ('dynamodb', 'stepfunctions')),
    'report_pools': ('app, chalicelib.tasks.report_pools', ('dynamodb', 'ssm', 'lambda')),
    'backup_schedules': ('app, chalicelib.tasks.schedules', ('dynamodb',)),
}

#: First requests of a process: (method, path, body).
REQUESTS: tuple[tuple[str, str, Any], ...] = (
    ('GET', '/v3/volumes', None),
    ('POST', '/v3/volumes', {'volume': {'size': 1}}),
)

#: Modules read these at their import, as in Lambda.
ENVIRONMENT = {
    'AWS_ACCESS_KEY_ID': 'x',
    'AWS_SECRET_ACCESS_KEY': 'x',
    'AWS_DEFAULT_REGION': 'us-east-1',
    'IDENTITY_SECRET': '/bench/identity',
    'PYTHONDONTWRITEBYTECODE': '1',
    'TABLE_PREFIX': 'bench',
    'WORK_QUEUE_URL': 'https://sqs.us-east-1.amazonaws.com/123456789012/bench',
}

#: Packages that no function may import before their first use.
HEAVY = ('aws_xray_sdk', 'zstandard', 'blake3', 'cryptography', 'fastjsonschema')

#: The client's import counts as the SDK's; botocore's data files make the difference between clients.
_IMPORT = """
import json, sys, time
path, names, clients, heavy = json.loads(sys.argv[1])
sys.path[:0] = path
began = time.process_time()
import boto3
for name in clients:
    boto3.client(name, region_name='us-east-1', aws_access_key_id='x', aws_secret_access_key='x')
sdk = time.process_time()
exec('import ' + names)
print(json.dumps([sdk - began, time.process_time() - sdk, [name for name in heavy if name in sys.modules]]))
"""

#: AWS answers at once, that it has nothing; the identity's document it has.
_REQUEST = """
import io, json, sys, time
path, event, document = json.loads(sys.argv[1])
sys.path[:0] = path

class Raw(io.BytesIO):
    def stream(self, *_):
        yield self.read()

def send(self, request):
    answer = {'Items': [], 'Count': 0, 'ScannedCount': 0, 'Parameter': {'Value': document}, 'MessageId': 'x'}
    return AWSResponse(request.url, 200, {}, Raw(json.dumps(answer).encode()))

began = time.process_time()
import app
imported = time.process_time()
from botocore.awsrequest import AWSResponse
from botocore.httpsession import URLLib3Session
URLLib3Session.send = send
answer = app.app(event, None)
print(json.dumps([time.process_time() - began, imported - began, answer['statusCode']]))
"""


def run() -> list[tuple[str, str]]:
    """Return (measurement, figure) rows."""
    with tempfile.TemporaryDirectory(prefix='cinderless-bench-') as name:
        return list(_rows(Path(name)))


def _rows(folder: Path) -> Iterator[tuple[str, str]]:
    version = interpreter.runtime()
    python = interpreter.find(version)
    compiled, source = [str(ROOT)], list[str]()
    if python is None:
        python = sys.executable
        yield 'interpreter', f'{sys.version.split()[0]}, the source tree: python{version} is not here'
    else:
        compiled, source = _artefacts(folder, version, python)
        yield 'interpreter', f'Python {version}, the packaged artefacts'
    for function in STARTS:
        sdk, ours, heavy = start(function, python, compiled)
        yield f'{function}: import CPU beyond the SDK (SDK and clients)', f'{ours:.0f} ms ({sdk:.0f} ms)'
        yield f'{function}: heavy packages imported', ', '.join(heavy) or 'none'
        if source:
            yield f'{function}: the same without byte code', f'{start(function, python, source)[1]:.0f} ms'
    for method, path, body in REQUESTS:
        whole, imported = first_request(python, compiled, method, path, body)
        yield f'api: first {method} {path} of a process, SDK and all (import)', f'{whole:.0f} ms ({imported:.0f} ms)'


def _artefacts(folder: Path, version: str, python: str) -> tuple[list[str], list[str]]:
    """Search paths of the artefacts with byte code, and of our source without any."""
    compiled = archives(folder, version, python)
    package.copy_source(folder / 'source')
    return compiled, [str(folder / 'source'), *compiled[1:]]


def archives(folder: Path, version: str, python: str) -> list[str]:
    """Build the archives' contents in ``folder``; return a function's search path."""
    package.build(folder, version, python)
    return [str(folder / 'functions'), *(str(folder / layer / 'python') for layer in layers.LAYERS)]


def start(function: str, python: str, path: list[str]) -> tuple[float, float, list[str]]:
    """(milliseconds of the SDK, of this project, heavy packages): CPU, the median of fresh processes."""
    names, clients = STARTS[function]
    answers = _fresh(function, python, _IMPORT, [path, names, clients, HEAVY])
    sdk, ours = (statistics.median(answer[place] for answer in answers) * 1000 for place in (0, 1))
    return sdk, ours, answers[0][2]


def first_request(python: str, path: list[str], method: str, url: str, body: Any) -> tuple[float, float]:
    """(milliseconds of CPU until the API's first answer in a fresh process, of the import in them): medians.

    Raises RuntimeError when the request fails: then something else was measured.
    """
    document = json.dumps(local_document())
    answers = _fresh('api', python, _REQUEST, [path, event(method, url, body, document), document])
    if any(answer[2] >= 400 for answer in answers):
        raise RuntimeError(f'{method} {url} answered {answers[0][2]}')
    whole, imported = (statistics.median(answer[place] for answer in answers) * 1000 for place in (0, 1))
    return whole, imported


def _fresh(function: str, python: str, script: str, asked: list[Any]) -> list[list[Any]]:
    """Return the parsed JSON output of fresh processes of a function."""
    told = {**os.environ, **ENVIRONMENT, 'AWS_LAMBDA_FUNCTION_NAME': f'bench-{function}'}
    answers = []
    for _ in range(TIMES):
        done = subprocess.run(
            [python, '-c', script, json.dumps(asked)], env=told, capture_output=True, text=True, check=True
        )
        answers.append(json.loads(done.stdout.splitlines()[-1]))  # before it: the function's log
    return answers


def event(method: str, path: str, body: Any, document: str) -> dict[str, Any]:
    """Return API Gateway's event for a request of the project demo."""
    headers = {'Content-Type': 'application/json', 'Host': 'bench', 'X-Auth-Token': _token(json.loads(document))}
    return {
        'headers': headers,
        'multiValueHeaders': {name: [value] for name, value in headers.items()},
        'multiValueQueryStringParameters': None,
        'pathParameters': None,
        'stageVariables': None,
        'requestContext': {'httpMethod': method, 'resourcePath': path, 'path': path},
        'body': None if body is None else json.dumps(body),
        'isBase64Encoded': False,
    }


def _token(document: dict[str, Any]) -> str:
    user, project, now = stable_id('user', 'demo'), stable_id('project', 'demo'), int(time.time())
    roles = frozenset({'member', 'reader'})
    granted = token.Token(user, project, roles, ('password',), (token.new_audit_id(),), now, now + 3600)
    return token.seal(granted, document['signing_key'].encode())
