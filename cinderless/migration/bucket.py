"""Backups of Cinder's S3 driver: objects of a bucket, reached as by the AWS command line."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from chalicelib.errors import ObjectMissing


class Bucket:
    """The objects at ``s3://bucket/prefix``. The client's own retries apply."""

    def __init__(self, url: str, client: Any = None) -> None:
        import boto3

        self._bucket, _, prefix = url.removeprefix('s3://').partition('/')
        self._prefix = f'{prefix.strip("/")}/' if prefix.strip('/') else ''
        self._client = client or boto3.client('s3')

    def names(self) -> Iterator[str]:
        pages = self._client.get_paginator('list_objects_v2').paginate(Bucket=self._bucket, Prefix=self._prefix)
        for page in pages:
            yield from (one['Key'].removeprefix(self._prefix) for one in page.get('Contents', ()))

    def read(self, name: str) -> bytes:
        try:
            answer = self._client.get_object(Bucket=self._bucket, Key=f'{self._prefix}{name}')
        except self._client.exceptions.NoSuchKey as error:
            raise ObjectMissing(key=name) from error
        data: bytes = answer['Body'].read()
        return data
