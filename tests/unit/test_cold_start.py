"""What a cold start of the API pays for: what is needed, and nothing that only few requests need."""

from __future__ import annotations

import os
import subprocess
import sys

#: Packages and rooms that are imported where they are used; each costs milliseconds of every cold start.
LATER = (
    'aws_xray_sdk', 'blake3', 'cryptography', 'ctypes', 'fastjsonschema', 'zstandard',
    'chalicelib.backup', 'chalicelib.clients', 'chalicelib.drivers', 'chalicelib.iscsi', 'chalicelib.tasks',
    'chalicelib.api.policy_targets', 'chalicelib.operations.policy_overrides', 'chalicelib.rules.policy_language',
    'chalicelib.rules.policy_overrides', 'chalicelib.operations.images', 'chalicelib.rules.cron',
    'chalicelib.scheduler.filters',
)  # fmt: skip

#: Of the API's own: what another path is for.
OTHERS = (
    'chalicelib.api.snapshots', 'chalicelib.api.volume_actions', 'chalicelib.operations.attachments',
    'chalicelib.operations.backups', 'chalicelib.operations.snapshots', 'chalicelib.operations.transfers',
)  # fmt: skip

#: Prints what of the names is imported with the app, and then for a path: a method that it does not have needs no AWS.
SCRIPT = f"""
import sys
import boto3
def later():
    return sorted(set({(*LATER, *OTHERS)!r}) & (set(sys.modules) - known))
known = set(sys.modules)
import app
print(*later(), *(name for name in sys.modules if name.startswith(('chalicelib.operations', 'pynamodb'))))
event = {{
    'headers': {{}}, 'multiValueHeaders': {{}}, 'queryStringParameters': None, 'multiValueQueryStringParameters': None,
    'pathParameters': None, 'stageVariables': None, 'body': None, 'isBase64Encoded': False, 'path': '/v3/volumes',
    'requestContext': {{'httpMethod': 'OPTIONS', 'resourcePath': '/v3/volumes', 'path': '/v3/volumes'}},
}}
print(app.app(event, None)['statusCode'], 'chalicelib.operations.volumes' in sys.modules, *later())
"""


def test_a_cold_start_of_the_api_imports_what_is_asked_for() -> None:
    told = {**os.environ, 'AWS_LAMBDA_FUNCTION_NAME': 'cinderless-api', 'AWS_DEFAULT_REGION': 'us-east-1'}
    done = subprocess.run([sys.executable, '-c', SCRIPT], env=told, capture_output=True, text=True, check=True)
    imported, *_, answered = done.stdout.splitlines()
    assert imported == ''
    assert answered == '404 True'
