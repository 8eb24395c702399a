"""What a cold start pays for imports: CPU of a fresh interpreter per function, with byte code and without.

Measured from the packaged artefacts where the deployed runtime's interpreter is, else from the source tree with this
one; the rows say which. The clients that a function makes when it is called are part of its start.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from infra import interpreter, layers, package
from infra.render import ROOT

#: Fresh processes for each figure, which is their median.
TIMES = 5

#: Function -> (what its first event imports, the clients that it makes).
STARTS = {
    'api': ('app, chalicelib.operations.volumes', ('sqs', 'lambda')),
    'start_workflow': ('app, chalicelib.tasks.start', ('stepfunctions',)),
    'volume_worker': ('app, chalicelib.tasks.create_volume', ()),
    'backup_worker': ('app, chalicelib.tasks.backups', ('s3', 'kms')),
    'reconcile': ('app, chalicelib.tasks.reconcile', ('stepfunctions',)),
    'report_pools': ('app, chalicelib.tasks.report_pools', ('ssm', 'lambda')),
    'backup_schedules': ('app, chalicelib.tasks.schedules', ('sqs',)),
}

#: Modules read these at their import, as in Lambda.
ENVIRONMENT = {'AWS_DEFAULT_REGION': 'us-east-1', 'TABLE_PREFIX': 'bench', 'PYTHONDONTWRITEBYTECODE': '1'}

#: What none of them may import before it is needed.
HEAVY = ('aws_xray_sdk', 'zstandard', 'blake3', 'cryptography', 'fastjsonschema')

#: The client's import is not ours; botocore's data files make the difference between clients.
_SCRIPT = """
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


def run() -> list[tuple[str, str]]:
    """The rows: what was measured, and the figure."""
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


def _artefacts(folder: Path, version: str, python: str) -> tuple[list[str], list[str]]:
    """Search paths of the artefacts with byte code, and of our source without any."""
    package.build(folder, version, python)
    package.copy_source(folder / 'source')
    shared = [str(folder / layer / 'python') for layer in layers.LAYERS]
    return [str(folder / 'functions'), *shared], [str(folder / 'source'), *shared]


def start(function: str, python: str, path: list[str]) -> tuple[float, float, list[str]]:
    """(milliseconds of the SDK, of what is ours, heavy packages): CPU, the median of fresh processes."""
    names, clients = STARTS[function]
    told = {**os.environ, **ENVIRONMENT, 'AWS_LAMBDA_FUNCTION_NAME': f'bench-{function}'}
    asked = json.dumps([path, names, clients, HEAVY])
    answers = []
    for _ in range(TIMES):
        done = subprocess.run([python, '-c', _SCRIPT, asked], env=told, capture_output=True, text=True, check=True)
        answers.append(json.loads(done.stdout.splitlines()[-1]))  # before it: what the function logs
    sdk, ours = (statistics.median(answer[place] for answer in answers) * 1000 for place in (0, 1))
    return sdk, ours, answers[0][2]
