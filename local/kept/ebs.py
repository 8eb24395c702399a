"""The EBS emulator's volumes and snapshots, written through: documents, and every block in one sparse file.

A block that is written gets a free place in the file, so the stored documents never name a half-written one. The
instances that volumes are attached to are moto's, and not stored.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from local.ebs.blocks import BlockFile, Disk
from local.ebs.cloud import Attachment, Cloud, Modification, Snapshot, Tags, Volume
from local.ebs.double import Ebs
from local.kept.documents import Changed, Documents


class Volumes:
    """``restore`` once; ``save`` after each request."""

    def __init__(self, documents: Documents, path: Path) -> None:
        self._documents = documents
        self._path = path
        self._changed = Changed(documents, 'ebs')
        self._tokens = {token for token, _ in documents.all('ebs token')}
        self._disks: dict[str, Disk] = {}
        self._ebs: Ebs | None = None

    def restore(self, ebs: Ebs) -> None:
        """Load the stored state into the emulator."""
        self._ebs, cloud = ebs, ebs.cloud
        cloud.file = BlockFile(self._path)
        blocks: dict[str, dict[int, tuple[int, bool]]] = {}
        for key, (slot, touched) in self._documents.all('ebs block'):
            id, _, index = key.partition('/')
            blocks.setdefault(id, {})[int(index)] = (slot, touched)
        for id, document in self._changed.stored.items():
            if id == 'secret':
                cloud.secret = document
                continue
            disk = Disk(cloud.file)
            disk.restore({index: slot for index, (slot, _) in blocks.get(id, {}).items()})
            if id.startswith('vol-'):
                cloud.volumes[id] = _volume(document, disk)
            else:
                touched = {index for index, (_, was) in blocks.get(id, {}).items() if was}
                cloud.snapshots[id] = _snapshot(document, disk, touched)
            self._disks[id] = disk
        cloud.tokens.update({token: (asked, id) for token, (asked, id) in self._documents.all('ebs token')})

    def save(self) -> None:
        """Store the changes. Raises OSError and sqlite3.Error; then the next request stores them."""
        assert self._ebs is not None
        with self._ebs.lock:
            self._save(self._ebs.cloud)

    def _save(self, cloud: Cloud) -> None:
        objects: dict[str, Any] = {**cloud.volumes, **cloud.snapshots}
        disks = {id: one.disk for id, one in objects.items()}
        known = {**self._disks, **disks}
        changed = {id: set(disk.unsaved) for id, disk in known.items() if disk.unsaved}
        if changed:
            cloud.file.sync()
        tokens = {token: cloud.tokens[token] for token in cloud.tokens.keys() - self._tokens}
        others: dict[tuple[str, str], Any] = {('ebs token', token): made for token, made in tokens.items()}
        for id, indexes in changed.items():
            touched = getattr(objects.get(id), 'touched', ())
            for index in indexes:
                slot = known[id].slot(index)
                others['ebs block', f'{id}/{index}'] = None if slot is None else (slot, index in touched)
        self._changed.save({'secret': cloud.secret, **{id: _document(one) for id, one in objects.items()}}, others)
        self._tokens |= tokens.keys()
        self._disks = disks
        for id, indexes in changed.items():
            known[id].unsaved -= indexes


def _document(one: Volume | Snapshot) -> dict[str, Any]:
    """All but the bytes."""
    bare: dict[str, Any] = {'disk': None} if isinstance(one, Volume) else {'disk': None, 'touched': set()}
    return dataclasses.asdict(dataclasses.replace(one, **bare))


def _volume(document: dict[str, Any], disk: Disk) -> Volume:
    made = {
        'tags': Tags(**document['tags']),
        'attachments': {id: Attachment(**one) for id, one in document['attachments'].items()},
        'modifications': [Modification(**one) for one in document['modifications']],
    }
    return Volume(**{**document, **made, 'disk': disk})


def _snapshot(document: dict[str, Any], disk: Disk, touched: set[int]) -> Snapshot:
    return Snapshot(**{**document, 'tags': Tags(**document['tags']), 'disk': disk, 'touched': touched})
