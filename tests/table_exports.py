"""Exports of tables as DynamoDB writes them to S3 (Developer Guide, "DynamoDB table export output format").

No emulator writes them: moto's export has no manifest, and DynamoDB Local has none.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

ACCOUNT = '123456789012'


def write(
    s3: Any, bucket: str, prefix: str, table: str, items: Sequence[Mapping[str, Any]], time: str, **summary: Any
) -> str:
    """Write an export in two files; return its folder."""
    folder = f'{prefix}AWSDynamoDB/{hashlib.sha256(f"{table}{time}".encode()).hexdigest()[:16]}'
    lines = []
    for number, part in enumerate((items[::2], items[1::2])):
        text = ''.join(json.dumps({'Item': item}) + '\n' for item in part)
        data, key = gzip.compress(text.encode()), f'{folder}/data/{number}.json.gz'
        s3.put_object(Bucket=bucket, Key=key, Body=data)
        checksum = base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
        lines.append(json.dumps({'itemCount': len(part), 'md5Checksum': checksum, 'dataFileS3Key': key}))
    s3.put_object(Bucket=bucket, Key=f'{folder}/manifest-files.json', Body='\n'.join(lines).encode())
    facts = {
        'version': '2020-06-30',
        'tableArn': f'arn:aws:dynamodb:us-east-1:{ACCOUNT}:table/{table}',
        'exportTime': time,
        's3Bucket': bucket,
        's3Prefix': prefix,
        'manifestFilesS3Key': f'{folder}/manifest-files.json',
        'itemCount': len(items),
        'outputFormat': 'DYNAMODB_JSON',
        **summary,
    }
    s3.put_object(Bucket=bucket, Key=f'{folder}/manifest-summary.json', Body=json.dumps(facts).encode())
    return folder


def scan(dynamodb: Any, table: str) -> list[Mapping[str, Any]]:
    """All items of a table, with DynamoDB's types."""
    pages = dynamodb.get_paginator('scan').paginate(TableName=table, ConsistentRead=True)
    return [item for page in pages for item in page['Items']]
