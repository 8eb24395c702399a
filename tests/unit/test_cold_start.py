"""What a cold start of the API pays for: nothing that only few requests ask for."""

from __future__ import annotations

import os
import subprocess
import sys

#: Packages and rooms that are imported where they are used; each costs milliseconds of every cold start.
LATER = (
    'aws_xray_sdk', 'blake3', 'cryptography', 'ctypes', 'fastjsonschema', 'zstandard',
    'chalicelib.backup', 'chalicelib.clients', 'chalicelib.drivers', 'chalicelib.iscsi', 'chalicelib.tasks',
    'chalicelib.operations.images', 'chalicelib.rules.cron', 'chalicelib.scheduler.filters',
)  # fmt: skip

SCRIPT = f"""
import sys
import boto3
known = set(sys.modules)
import app
print(*sorted(set({LATER!r}) & (set(sys.modules) - known)))
"""


def test_the_api_imports_only_what_every_request_needs() -> None:
    told = {**os.environ, 'AWS_LAMBDA_FUNCTION_NAME': 'cinderless-api', 'AWS_DEFAULT_REGION': 'us-east-1'}
    done = subprocess.run([sys.executable, '-c', SCRIPT], env=told, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == ''
