"""The common part of the ONTAP driver: the client, a verb's budget and errors, and finding LUNs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from chalicelib import errors
from chalicelib.drivers import ontap_exports, ontap_luns, pinning
from chalicelib.drivers.base import Driver, ModelUpdate, Option, SnapshotRef, VolumeRef
from chalicelib.drivers.ontap_client import BUDGET, Client, Record, Refused
from chalicelib.drivers.ontap_errors import kind

_SHORTEST_SECRET = 32


class Objects(Driver):
    OPTIONS: ClassVar[Mapping[str, Option]] = {
        #: The management address of the SVM, or of the cluster (FSx: of the file system).
        'url': Option(str, required=True),
        'svm': Option(str, required=True),
        'username': Option(str, default='vsadmin'),
        'password': Option(str, required=True, secret=True),
        #: At least 32 characters; hosts' CHAP secrets are derived from it, so it must stay while volumes are attached.
        'chap_secret': Option(str, required=True, secret=True),
        'fingerprint': Option(str),
        'certificate': Option(str),
        #: The FlexVols of this backend; by default all of the SVM.
        'pools': Option(list),
        #: Thick LUNs, like Cinder's netapp_lun_space_reservation.
        'space_reservation': Option(bool, default=True),
        'iscsi_port': Option(int, default=3260),
    }

    def __init__(self, backend: str, options: Mapping[str, Any]) -> None:
        super().__init__(backend, options)
        pinned = pinning.pin(backend, options, "ONTAP's")
        if len(options['chap_secret'].strip()) < _SHORTEST_SECRET:
            reason = f'secrets.chap_secret is too short: use {_SHORTEST_SECRET} characters or more'
            raise errors.BackendMisconfigured(backend=backend, reason=reason)
        account = (options['username'], options['password'])
        self._client = Client(backend, options['url'], pinned, account, options['svm'])
        self._luns = ontap_luns.Luns(self._client)
        self._exports = ontap_exports.Exports(self._client, options['chap_secret'])

    @contextlib.contextmanager
    def _verb(
        self, ref: VolumeRef | SnapshotRef | None = None, size: int = 0, seconds: float = BUDGET
    ) -> Iterator[None]:
        """Run one verb: with a time budget, and ONTAP's errors as the contract's errors."""
        with self._client.budget(seconds):
            try:
                yield
            except Refused as refused:
                facts = {'id': ref.id, 'object': ref.name} if ref else {'object': 'the requested object'}
                reason = f'{refused} (ONTAP code {refused.code})'
                raise kind(refused)(
                    backend=self.backend, reason=reason, missing=reason, size=size, **facts
                ) from refused

    def _find(self, ref: VolumeRef | SnapshotRef) -> Record | None:
        return self._luns.find(self._path(ref))

    def _require(self, ref: VolumeRef | SnapshotRef) -> Record:
        lun = self._find(ref)
        if lun is None:
            raise errors.ProviderNotFound(backend=self.backend, object=ref.name)
        return lun

    def _path(self, ref: VolumeRef | SnapshotRef) -> str:
        """Raises BackendMisconfigured if the volume's host does not name a pool of this backend."""
        volume = ref.volume if isinstance(ref, SnapshotRef) else ref
        ours = self.options.get('pools') or [volume.pool]
        if not volume.pool or volume.pool not in ours:
            reason = f'host {volume.host!r} does not name a pool of this backend'
            raise errors.BackendMisconfigured(backend=self.backend, reason=reason)
        return f'/vol/{volume.pool}/{ref.name}'

    def _update(self, volume: VolumeRef, lun: Record) -> ModelUpdate:
        return {'provider_id': lun['uuid'], 'provider_location': f'{self._client.svm}:{self._path(volume)}'}
