"""Point-in-time exports of DynamoDB tables in S3: the newest complete one of each table, and its items.

The layout is DynamoDB's (Developer Guide, "DynamoDB table export output format"): below ``PREFIX/AWSDynamoDB/ID/`` are
``manifest-summary.json``, which is written last, ``manifest-files.json`` with a line for each data file, and the files.
"""

from __future__ import annotations

import base64
import contextlib
import gzip
import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from botocore.exceptions import ClientError

from infra.stage import Refused

#: An item with DynamoDB's types: {'id': {'S': '...'}}.
Item = Mapping[str, Any]

SUMMARY, FOLDER = 'manifest-summary.json', 'AWSDynamoDB'


class Export(NamedTuple):
    """The export of one table: ``time`` is that of its state, ``files`` the key of the list of its data files."""

    table: str
    time: str
    items: int
    bucket: str
    files: str


class Place(NamedTuple):
    """A bucket and a prefix in it, '' or with a slash at its end."""

    bucket: str
    prefix: str


def place(url: str) -> Place:
    """Read ``s3://bucket/prefix``. Raises Refused."""
    bucket, _, prefix = url.removeprefix('s3://').partition('/')
    if not url.startswith('s3://') or not bucket:
        raise Refused(f'{url!r} is not a place of S3: give s3://bucket or s3://bucket/prefix')
    return Place(bucket, f'{prefix.strip("/")}/' if prefix.strip('/') else '')


def find(s3: Any, where: Place, stack: str, before: str = '9') -> dict[str, Export]:
    """Return {table without the stack's name: its newest complete export of a time up to ``before``}. Raises Refused.

    Exports of other tables, incremental ones, and those in Amazon Ion are left out.
    """
    found: dict[str, Export] = {}
    for key in _summaries(s3, where):
        export = _export(json.loads(_read(s3, where.bucket, key)), where, stack)
        if export and export.time <= before and export.time > found.get(export.table, _NONE).time:
            found[export.table] = export
    return found


_NONE = Export('', '', 0, '', '')


def _summaries(s3: Any, where: Place) -> Iterator[str]:
    try:
        pages = s3.get_paginator('list_objects_v2').paginate(Bucket=where.bucket, Prefix=f'{where.prefix}{FOLDER}/')
        for page in pages:
            yield from (one['Key'] for one in page.get('Contents', ()) if one['Key'].endswith(f'/{SUMMARY}'))
    except ClientError as error:
        raise Refused(f'the exports in s3://{where.bucket}/{where.prefix} cannot be read: {error}') from None


def _export(summary: Mapping[str, Any], where: Place, stack: str) -> Export | None:
    table = str(summary.get('tableArn')).rpartition('/')[2]  # other tools' summaries may have none
    is_full = summary.get('exportType', 'FULL_EXPORT') == 'FULL_EXPORT'
    if not table.startswith(f'{stack}-') or summary['outputFormat'] != 'DYNAMODB_JSON' or not is_full:
        return None
    name = table.removeprefix(f'{stack}-')
    return Export(name, summary['exportTime'], summary['itemCount'], where.bucket, summary['manifestFilesS3Key'])


def items(s3: Any, export: Export) -> list[Item]:
    """Return all items of an export. Raises Refused for one that is damaged or incomplete."""
    found: list[Item] = []
    for line in _read(s3, export.bucket, export.files).splitlines():
        facts = json.loads(line)
        data = _read(s3, export.bucket, facts['dataFileS3Key'])
        if base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode() != facts['md5Checksum']:
            raise Refused(f's3://{export.bucket}/{facts["dataFileS3Key"]} is damaged: use an older export (--before)')
        found += [json.loads(item)['Item'] for item in gzip.decompress(data).splitlines()]
    if len(found) != export.items:
        raise Refused(
            f'the export of {export.table} has {len(found)} of {export.items} items: use an older one (--before)'
        )
    return found


def _read(s3: Any, bucket: str, key: str) -> bytes:
    try:
        with contextlib.closing(s3.get_object(Bucket=bucket, Key=key)['Body']) as body:
            data: bytes = body.read()
            return data
    except ClientError as error:
        raise Refused(f's3://{bucket}/{key} cannot be read: {error}') from None
