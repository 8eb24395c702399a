"""A repository in an S3 bucket, and data keys wrapped by KMS: the engine's only use of AWS."""

from __future__ import annotations

import base64
import contextlib
import datetime
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from chalicelib.backup.keys import KMS, WrappedKeys, decode_wrapped
from chalicelib.backup.repository import Content, Data, ObjectInfo
from chalicelib.errors import BackupError, KeyUnavailable, ObjectExists, ObjectMissing, RepositoryError
from chalicelib.jitter import jittered

#: S3 error code -> what it means here.
_MEANINGS: Mapping[str, type[RepositoryError]] = {
    'NoSuchKey': ObjectMissing,
    'NotFound': ObjectMissing,
    '404': ObjectMissing,
    'PreconditionFailed': ObjectExists,
    '412': ObjectExists,
}

#: The answer to a range that starts at or beyond the object's end.
_BEYOND_END = 'InvalidRange'

#: S3 may refuse concurrent conditional puts with 409; the client is to retry.
_CONFLICT = 'ConditionalRequestConflict'

#: Attempts for what botocore does not retry: conflicting puts, and response bodies that break off.
_ATTEMPTS = 4

#: Seconds before the first retry of a conflicting put; they double.
_PAUSE = 0.05

#: Key prefixes of the objects that a restore needs; only these are locked.
_LOCKED = ('packs/', 'shards/', 'backups/', 'volume-keys/')
_MODE = 'COMPLIANCE'

#: Most keys one DeleteObjects takes.
_DELETE_BATCH = 1000


class S3Repository:
    """Objects in ``bucket`` below ``prefix`` (empty, or ending in '/').

    ``client`` is a boto3 S3 client; its configuration sets time-outs and the retry of throttling. A general purpose
    bucket: directory buckets do not list in order. Every put carries a CRC32, which S3 checks and stores; the strong
    hashes are the format's own. ``storage_class`` applies to packs; other objects, which are read often, keep S3's
    default. ``locked_until``: objects that restores need are locked until then (Object Lock in compliance mode, which
    cannot be shortened). Such a bucket is versioned: deleting a locked object hides it, and its bytes stay.
    """

    def __init__(
        self,
        client: Any,
        bucket: str,
        prefix: str = '',
        storage_class: str = '',
        locked_until: datetime.datetime | None = None,
    ) -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = prefix
        self._storage_class = storage_class
        self._locked_until = locked_until

    def put(self, key: str, data: Data, *, if_none_match: bool = False) -> None:
        body = bytes(data) if isinstance(data, memoryview) else data
        options: dict[str, Any] = {'IfNoneMatch': '*'} if if_none_match else {}
        if self._storage_class and key.startswith('packs/'):
            options['StorageClass'] = self._storage_class
        if self._locked_until and key.startswith(_LOCKED):
            options |= {'ObjectLockMode': _MODE, 'ObjectLockRetainUntilDate': self._locked_until}
        with _translated(key):
            self._put(ChecksumAlgorithm='CRC32', Body=body, **self._at(key), **options)

    def retain(self, key: str) -> None:
        """Lock an existing object, unless it is locked for longer."""
        with _translated(key):
            retained_until = self._client.head_object(**self._at(key)).get('ObjectLockRetainUntilDate')
            if self._locked_until and (retained_until is None or retained_until < self._locked_until):
                until = {'Mode': _MODE, 'RetainUntilDate': self._locked_until}
                self._client.put_object_retention(**self._at(key), Retention=until, ChecksumAlgorithm='CRC32')

    def _put(self, **arguments: Any) -> None:
        for attempt in range(_ATTEMPTS - 1):
            try:
                self._client.put_object(**arguments)
            except ClientError as error:
                if _code(error) != _CONFLICT:
                    raise
                time.sleep(jittered(_PAUSE * 2**attempt))
            else:
                return
        self._client.put_object(**arguments)

    def get(self, key: str, start: int = 0, length: int | None = None) -> Content:
        if length == 0:
            return Content(b'', self.head(key).size)
        wanted = {} if not start and length is None else {'Range': _range(start, length)}
        try:
            with _translated(key):
                return self._get(**self._at(key), **wanted)
        except RepositoryError as error:
            if error.facts.get('code') != _BEYOND_END:
                raise
        return Content(b'', self.head(key).size)

    def _get(self, **arguments: Any) -> Content:
        """Read to the end of the body, again from the start when the connection breaks."""
        for _ in range(_ATTEMPTS - 1):
            with contextlib.suppress(BotoCoreError):
                return _content(self._client.get_object(**arguments))
        return _content(self._client.get_object(**arguments))

    def head(self, key: str) -> ObjectInfo:
        with _translated(key):
            answer = self._client.head_object(**self._at(key))
        return ObjectInfo(key, answer['ContentLength'], answer['LastModified'].timestamp())

    def list(self, prefix: str, start_after: str = '') -> Iterator[ObjectInfo]:
        arguments = {'Bucket': self._bucket, 'Prefix': self._prefix + prefix}
        if start_after:
            arguments['StartAfter'] = self._prefix + start_after
        pages = self._client.get_paginator('list_objects_v2').paginate(**arguments)
        with _translated(prefix):
            for page in pages:
                yield from map(self._info, page.get('Contents', ()))

    def _info(self, entry: Mapping[str, Any]) -> ObjectInfo:
        key = entry['Key'].removeprefix(self._prefix)
        return ObjectInfo(key, entry['Size'], entry['LastModified'].timestamp())

    def delete(self, keys: Sequence[str]) -> None:
        for start in range(0, len(keys), _DELETE_BATCH):
            self._delete(keys[start : start + _DELETE_BATCH])

    def _delete(self, keys: Sequence[str]) -> None:
        objects = [{'Key': self._prefix + key} for key in keys]
        with _translated(keys[0]):
            answer = self._client.delete_objects(Bucket=self._bucket, Delete={'Objects': objects, 'Quiet': True})
        for failure in answer.get('Errors', ()):
            raise RepositoryError(key=failure['Key'], reason=f'{failure["Code"]}: {failure["Message"]}')

    def _at(self, key: str) -> dict[str, str]:
        return {'Bucket': self._bucket, 'Key': self._prefix + key}


class KmsKeyWrapper:
    """Data keys generated and wrapped by KMS, bound to their lineage by the encryption context.

    ``client`` is a boto3 KMS client. ``key_id`` (id, ARN or alias) generates; unwrapping needs none, since the
    wrapped key names the KMS key itself.
    """

    def __init__(self, client: Any, key_id: str = '') -> None:
        self._client = client
        self._key_id = key_id

    def generate(self, lineage: str) -> tuple[bytes, WrappedKeys]:
        with _unwrapping(lineage):
            answer = self._client.generate_data_key(
                KeyId=self._key_id, KeySpec='AES_256', EncryptionContext={'lineage': lineage}
            )
        return answer['Plaintext'], {KMS: base64.b64encode(answer['CiphertextBlob']).decode()}

    def wrap(self, lineage: str, plaintext: bytes) -> WrappedKeys:
        """Wrap an existing data key. KMS unwraps it as it does those of ``generate``."""
        with _unwrapping(lineage):
            answer = self._client.encrypt(
                KeyId=self._key_id, Plaintext=plaintext, EncryptionContext={'lineage': lineage}
            )
        return {KMS: base64.b64encode(answer['CiphertextBlob']).decode()}

    def unwrap(self, lineage: str, wrapped: WrappedKeys) -> bytes:
        blob = decode_wrapped(lineage, wrapped, KMS)
        with _unwrapping(lineage):
            answer = self._client.decrypt(CiphertextBlob=blob, EncryptionContext={'lineage': lineage})
        plaintext: bytes = answer['Plaintext']
        return plaintext


def repository_at(url: str, region: str | None = None) -> S3Repository:
    """Return the repository at ``s3://bucket`` or ``s3://bucket/prefix``, reached as by the AWS command line."""
    import boto3

    bucket, _, prefix = url.removeprefix('s3://').partition('/')
    prefix = prefix.strip('/')
    with _reaching(url):
        client = boto3.client('s3', region_name=region)
        return S3Repository(client, bucket, f'{prefix}/' if prefix else '')


def key_wrapper(key_id: str = '', region: str | None = None) -> KmsKeyWrapper:
    """Return a wrapper that unwraps with KMS and wraps under ``key_id``, reached as by the AWS command line."""
    import boto3

    with _reaching('KMS'):
        return KmsKeyWrapper(boto3.client('kms', region_name=region), key_id)


def _range(start: int, length: int | None) -> str:
    return f'bytes={start}-' if length is None else f'bytes={start}-{start + length - 1}'


def _content(answer: Mapping[str, Any]) -> Content:
    """Return the data and the object's size: for a range, the number after the slash of Content-Range."""
    data = answer['Body'].read()
    total = answer.get('ContentRange', '').rpartition('/')[2]
    return Content(data, int(total) if total else len(data))


def _code(error: ClientError) -> str:
    return str(error.response.get('Error', {}).get('Code', ''))


@contextlib.contextmanager
def _translated(key: str) -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        meaning = _MEANINGS.get(_code(error), RepositoryError)
        raise meaning(key=key, code=_code(error), reason=str(error)) from error
    except (BotoCoreError, ResponseParserError) as error:
        raise RepositoryError(key=key, reason=str(error)) from error


@contextlib.contextmanager
def _unwrapping(lineage: str) -> Iterator[None]:
    try:
        yield
    except (ClientError, BotoCoreError, ResponseParserError) as error:
        raise KeyUnavailable(lineage=lineage, reason=str(error)) from error


@contextlib.contextmanager
def _reaching(what: str) -> Iterator[None]:
    try:
        yield
    except BotoCoreError as error:
        raise BackupError(reason=f'{what} cannot be reached: {error}') from error
