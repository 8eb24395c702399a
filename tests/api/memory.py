"""A cloud in memory: every table, the queue and the key, on moto."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

#: What a function of ours is told by its environment, for AWS that is not there.
ENVIRONMENT = {
    'AWS_ACCESS_KEY_ID': 'test',
    'AWS_SECRET_ACCESS_KEY': 'test',
    'AWS_DEFAULT_REGION': 'us-east-1',
    'AWS_ACCOUNT_ID_ENDPOINT_MODE': 'disabled',
    'BACKUP_BUCKET': 'backups',
}


def forget() -> None:
    """Forget what a process remembers of the tables."""
    from chalicelib.operations import pools, quotas, services, volume_types

    for cache in (volume_types, quotas, services, pools):
        cache.forget()


def empty() -> None:
    """Remove every record: what is left costs each query and transaction of moto's time."""
    from moto.core import DEFAULT_ACCOUNT_ID
    from moto.dynamodb.models import dynamodb_backends

    for table in dynamodb_backends[DEFAULT_ACCOUNT_ID][os.environ['AWS_DEFAULT_REGION']].tables.values():
        table.items.clear()
    forget()


@contextlib.contextmanager
def cloud_in_memory(**settings: str) -> Iterator[None]:
    """Tables, queue and key until the context ends; ``settings`` by their upper-case names."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    from moto import mock_aws

    with mock_aws():
        import boto3

        from chalicelib import config, models

        os.environ['WORK_QUEUE_URL'] = boto3.client('sqs').create_queue(QueueName='work')['QueueUrl']
        os.environ['KMS_KEY_ID'] = boto3.client('kms').create_key()['KeyMetadata']['KeyId']
        os.environ.update(settings)
        config.settings.cache_clear()
        for table in models.TABLES:
            if not table.exists():
                table.create_table(billing_mode='PAY_PER_REQUEST', wait=True)
        try:
            yield
        finally:
            forget()
            for name in ('WORK_QUEUE_URL', 'KMS_KEY_ID', *settings):
                del os.environ[name]
            config.settings.cache_clear()
