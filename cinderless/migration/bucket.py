"""Backups of Cinder's S3 driver: objects of a bucket, reached as by the AWS command line."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from typing import Any, BinaryIO

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

    def open(self, name: str) -> BinaryIO:
        """Return a temporary copy, deleted when it is closed: a connection would time out between reads."""
        file = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
        try:
            self._client.download_fileobj(self._bucket, f'{self._prefix}{name}', file)
        except self._client.exceptions.ClientError as error:
            file.close()
            if error.response['Error']['Code'] in ('404', 'NoSuchKey'):
                raise ObjectMissing(key=name) from error
            raise
        file.seek(0)
        return file
