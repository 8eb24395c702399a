"""A cloud in memory: every table in a dict, the queue and the key on moto."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Iterator

from tests import small_dynamodb
from tests.small_dynamodb import SmallDynamoDB

#: The environment of the service's functions, without AWS.
ENVIRONMENT = {
    'AWS_ACCESS_KEY_ID': 'test',
    'AWS_SECRET_ACCESS_KEY': 'test',
    'AWS_DEFAULT_REGION': 'us-east-1',
    'AWS_ACCOUNT_ID_ENDPOINT_MODE': 'disabled',
    'BACKUP_BUCKET': 'backups',
}


def forget() -> None:
    """Forget what a process remembers of the tables."""
    from chalicelib.operations import pools, volume_types

    for cache in (volume_types, pools):
        cache.forget()


def empty() -> None:
    """Remove every record: what is left costs each list its time."""
    _tables().clear()
    forget()


@functools.cache
def _tables() -> SmallDynamoDB:
    from chalicelib import models

    return small_dynamodb.empty(models.TABLES)


@contextlib.contextmanager
def cloud_in_memory(**settings: str) -> Iterator[None]:
    """Tables, queue and key until the context ends; ``settings`` by their upper-case names."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    from moto import mock_aws

    with mock_aws():
        import boto3

        from chalicelib import config

        for name in ('WORK', 'DEAD_LETTER'):
            queue = boto3.client('sqs').create_queue(QueueName=name.lower())
            os.environ[f'{name}_QUEUE_URL'] = queue['QueueUrl']
        os.environ['KMS_KEY_ID'] = boto3.client('kms').create_key()['KeyMetadata']['KeyId']
        os.environ.update(settings)
        config.settings.cache_clear()
        empty()
        try:
            with small_dynamodb.serving(_tables()):
                yield
        finally:
            forget()
            for name in ('WORK_QUEUE_URL', 'DEAD_LETTER_QUEUE_URL', 'KMS_KEY_ID', *settings):
                del os.environ[name]
            config.settings.cache_clear()
