"""moto without the services that nothing here uses: imported when they are called."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys
from local.imports import SPARED, spared
with spared():
    import local.cloud
from local import backends
backends.start()
import boto3
boto3.client('cloudformation', region_name='us-east-1').list_stacks()
early = [name for name in SPARED if f'moto.{name}' in sys.modules]
assert not early, early
calls = {'ec2': 'describe_instances', 'batch': 'describe_job_queues', 'rds': 'describe_db_instances'}
for name, operation in calls.items():
    getattr(boto3.client(name, region_name='us-east-1'), operation)()
print('served')
"""


def test_a_service_that_was_spared_is_served_when_it_is_called() -> None:
    done = subprocess.run([sys.executable, '-c', PROGRAM], capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout == 'served\n', done.stderr
