"""Cost of a request before its work: the import of the API in a cold start, the checks of each request."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Mapping

#: Fresh processes that import the API; the first only compiles.
PROCESSES = 9

#: Requests that are checked for one figure.
CHECKS = 2000

#: Lambda's variable that marks the app as the API: it registers a path at its first request.
FUNCTION = {'AWS_LAMBDA_FUNCTION_NAME': 'cinderless-api'}

#: CPU seconds that the app's import takes when boto3 and its clients are there.
IMPORT = """
import time, boto3
for service in ('sqs', 'lambda', 'kms', 'dynamodb'):
    boto3.client(service)
began = time.process_time()
import app
print(time.process_time() - began)
"""


def run() -> list[tuple[str, str]]:
    """Return (measurement, figure) rows."""
    return [
        ('import of the API function beside boto3 and its clients, CPU (<= 60)', f'{_import_ms(FUNCTION):.0f} ms'),
        ('the same with every path registered, as who packages it does', f'{_import_ms({}):.0f} ms'),
        ('policy and schema of one request (create of a volume)', f'{_check_ms():.3f} ms'),
    ]


def _import_ms(function: Mapping[str, str]) -> float:
    """The median of fresh processes, with byte code written before, as a deployment has it."""
    with tempfile.TemporaryDirectory(prefix='cinderless-bench-') as cache:
        environment = {
            **{name: value for name, value in os.environ.items() if name != 'PYTHONDONTWRITEBYTECODE'},
            'PYTHONPYCACHEPREFIX': cache,
            'AWS_DEFAULT_REGION': 'us-east-1',
            **function,
        }
        seconds = [_imported(environment) for _ in range(PROCESSES)]
    return statistics.median(seconds[1:]) * 1000


def _imported(environment: dict[str, str]) -> float:
    command = [sys.executable, '-c', IMPORT]
    return float(subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout)


def _check_ms() -> float:
    from chalicelib.api.resources import routes
    from chalicelib.context import Context
    from chalicelib.rules.policies import authorize

    context = Context(user_id='u', project_id=uuid.uuid4().hex, roles=frozenset({'member', 'reader'}))
    route = next(each for each in routes() if (each.method, each.path) == ('POST', '/volumes'))
    body = {'volume': {'size': 1, 'name': 'bench', 'description': 'd', 'metadata': {'key': 'value'}}}
    if route.schema is None:
        raise RuntimeError('the create of a volume has no schema')
    route.schema.check(body, route.until)  # compiled at the first use
    began = time.process_time()
    for _ in range(CHECKS):
        route.schema.check(body, route.until)
        authorize(context, route.policy)
    return (time.process_time() - began) / CHECKS * 1000
