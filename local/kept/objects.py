"""moto's S3, written through: a document per object with all its versions, and a file per version's bytes.

moto changes an object after it has stored it (metadata, tags, retention, legal hold), so whatever a request touched is
saved when the request has been processed, before its answer leaves. Not kept: multipart uploads in progress, which end
as aborted ones do, ACLs, and a bucket's settings other than versioning and lock: the stack creates them again.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from moto.s3 import models, utils
from moto.utilities.utils import LowercaseDict

from appliance.files import sync_folder
from local.kept.documents import Documents, described, restored
from local.settings import ACCOUNT, REGION

#: Attributes of moto's keys that are not stored: bytes have a file, the others make no difference after a restart.
_LEFT_OUT = ('_value_buffer', 'lock', 'multipart', 'acl', '_transitions', 'disposed', '_max_buffer_size')

_BUCKET = ('versioning_status', 'object_lock_enabled', 'default_lock_mode', 'default_lock_days', 'default_lock_years')


class Blob:
    """A version's bytes in their file, in the place of moto's buffer. It holds no descriptor."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._position = 0

    def seek(self, position: int) -> None:
        self._position = position

    def read(self, size: int = -1) -> bytes:
        with self.path.open('rb') as file:
            file.seek(self._position)
            data = file.read(size)
        self._position += len(data)
        return data

    def close(self) -> None:
        """Do nothing: a deleted version's file is removed when the deletion is stored."""


class KeyStore(utils._VersionedKeyStore):
    """A bucket's objects, and the names of those that were changed since they were saved."""

    def __init__(self) -> None:
        super().__init__()
        self.touched: set[str] = set()

    def __setitem__(self, key: str, value: Any) -> None:
        super().__setitem__(key, value)
        self.touched.add(key)

    def setlist(self, key: str, list_: Any) -> None:
        super().setlist(key, list_)
        self.touched.add(key)

    def pop(self, key: str) -> None:  # type: ignore[override]
        super().pop(key)
        self.touched.add(key)


class Objects:
    """The write-through. ``install`` it before moto starts; ``save`` after each request, under S3's lock."""

    def __init__(self, documents: Documents, folder: Path) -> None:
        self._documents = documents
        self._folder = folder
        self._files: dict[tuple[str, str], set[str]] = {}
        self._loaded: dict[str, list[dict[str, Any]]] = {}
        folder.mkdir(mode=0o700, exist_ok=True)
        for _, document in documents.all('object'):
            self._loaded.setdefault(document['bucket'], []).append(document)
            files = {version['file'] for version in document['versions'] if 'file' in version}
            self._files[document['bucket'], document['key']] = files
        self._sweep()

    def _sweep(self) -> None:
        """Remove the bytes of versions that were never stored, or whose deletion was cut short."""
        known = {name for files in self._files.values() for name in files}
        for path in self._folder.iterdir():
            if path.name not in known:
                path.unlink()

    def install(self) -> None:
        setattr(models, '_VersionedKeyStore', KeyStore)  # noqa: B010 - moto's models have imported it
        create = models.S3Backend.create_bucket

        def created(backend: Any, bucket_name: str, *rest: Any, **named: Any) -> Any:
            bucket = create(backend, bucket_name, *rest, **named)
            self._fill(backend, bucket)
            return bucket

        models.S3Backend.create_bucket = created  # type: ignore[method-assign,assignment]

    def restore(self) -> None:
        """Create the buckets that are not part of the stack."""
        backend = _backend()
        for name, document in self._documents.all('bucket'):
            if name not in backend.buckets:
                restored(backend.create_bucket(name, REGION), document)

    def save(self, host: str, path: str) -> None:
        """Store a request's changes. Raises OSError and sqlite3.Error; then the next request stores them."""
        backend = _backend()
        bucket_name, key = named_in(host, path)
        if bucket_name in backend.buckets and key:
            backend.buckets[bucket_name].keys.touched.add(key)
        for bucket in list(backend.buckets.values()):
            for name in sorted(bucket.keys.touched):
                self._save_object(backend, bucket, name)
                bucket.keys.touched.discard(name)
        if not key:
            self._save_bucket(backend, bucket_name)

    def _save_object(self, backend: Any, bucket: Any, name: str) -> None:
        versions = [self._version(backend, version) for version in bucket.keys.getlist(name, [])]
        if not versions and (bucket.name, name) not in self._files:
            return
        document = {'bucket': bucket.name, 'key': name, 'versions': versions} if versions else None
        self._documents.save({('object', f'{bucket.name}/{name}'): document})
        files = {version['file'] for version in versions if 'file' in version}
        for gone in self._files.get((bucket.name, name), set()) - files:
            (self._folder / gone).unlink(missing_ok=True)
        if versions:
            self._files[bucket.name, name] = files
        else:
            del self._files[bucket.name, name]

    def _save_bucket(self, backend: Any, name: str) -> None:
        bucket = backend.buckets.get(name)
        facts = {attribute: getattr(bucket, attribute) for attribute in _BUCKET} if bucket else None
        self._documents.save({('bucket', name): facts})

    def _version(self, backend: Any, version: Any) -> dict[str, Any]:
        if isinstance(version, models.FakeDeleteMarker):
            return {'marker': True, **described(version, 'key')}
        version.etag  # noqa: B018 - computed on first access, and stored with the rest
        if not isinstance(version._value_buffer, Blob):
            version._value_buffer = self._stored(version.value)
        tags = backend.tagger.get_tag_dict_for_resource(version.arn)
        own = {'file': version._value_buffer.path.name, 'tags': tags, '_metadata': dict(version._metadata)}
        return {**described(version, *_LEFT_OUT), **own}

    def _stored(self, data: bytes) -> Blob:
        path = self._folder / uuid.uuid4().hex
        with path.open('wb') as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        sync_folder(self._folder)
        return Blob(path)

    def _fill(self, backend: Any, bucket: Any) -> None:
        """Load the stored objects into a bucket that was just created."""
        for document in self._loaded.pop(bucket.name, ()):
            versions = list(self._versions(backend, document))
            dict.__setitem__(bucket.keys, document['key'], versions)

    def _versions(self, backend: Any, document: dict[str, Any]) -> Iterator[Any]:
        key = models.FakeKey(document['key'], b'', ACCOUNT, REGION, bucket_name=document['bucket'])
        for stored in document['versions']:
            if stored.get('marker'):
                yield restored(models.FakeDeleteMarker(key), stored)
                continue
            key = models.FakeKey(document['key'], b'', ACCOUNT, REGION, bucket_name=document['bucket'])
            key._value_buffer.close()
            restored(key, {**stored, '_metadata': LowercaseDict(stored['_metadata'])})
            key._value_buffer = Blob(self._folder / stored['file'])  # type: ignore[assignment]
            if stored['tags']:
                tags = [{'Key': name, 'Value': value} for name, value in stored['tags'].items()]
                backend.tagger.tag_resource(key.arn, tags)
            yield key


def named_in(host: str, path: str) -> tuple[str, str]:
    """Return (bucket, key) of a request, '' for a part that it lacks; by host or by path (unquoted)."""
    path = path.removeprefix('/')
    if not host.startswith('s3.'):
        return host.partition('.s3.')[0], path
    bucket, _, key = path.partition('/')
    return bucket, key


def _backend() -> Any:
    return models.s3_backends[ACCOUNT]['aws']
