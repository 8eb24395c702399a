"""The backend's volumes and snapshots: find them by id or tag among all of the account, create, await, delete them.

Tags identify an object:

| tag | value |
|---|---|
| cinder:name, Name | the name in the contract, volume-<id> or snapshot-<id>; or the purpose of a temporary snapshot |
| cinder:deployment | the stack; without it IAM lets this deployment change nothing |
| cinder:backend, cinder:project | the backend's name, the project's id |
| cinder:for | on temporary objects, and those kept for a next backup: the name of their volume |
| cinder:replaces | on a volume that replaced another: the other's EC2 id |
| cinder:origin | on the same: the cinder:name of the snapshot that it was made of |
| cinder:group, cinder:of:<id> | on a group's snapshots: the group, and the name for the snapshot of each volume |
| cinder:export:<id> | on a volume: the instance of an export |

EC2 is eventually consistent: a new object or tag may not be listed yet. So an absence proves nothing within
``CONSISTENT`` seconds, except where a later repeat finds the object.
"""

from __future__ import annotations

import functools
import inspect
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from chalicelib import errors
from chalicelib.drivers.base import SnapshotRef, VolumeRef
from chalicelib.drivers.ebs_client import Api, Refused, Unsure

Row = dict[str, Any]

#: A filter's name -> the value, or several of which one must match.
Filters = Mapping[str, str | Sequence[str]]

T = TypeVar('T')
D = TypeVar('D', bound='type[Any]')

#: Seconds after which a describe call lists a new object.
CONSISTENT = 15.0

#: Seconds that a worker waits for a new volume, and for a snapshot; fewer where more steps follow. A verb waits for one
#: of each at most, and must end within a worker's 15 min.
VOLUME_WAIT, SNAPSHOT_WAIT, REPLACEMENT_WAIT = 300.0, 500.0, 200.0

#: Namespace of client tokens, which are derived from the request.
_TOKENS = uuid.UUID('6f3fd0f4-0f0c-5c50-9a55-6f6d7f1b8a2e')

_NO_MARKS: Mapping[str, str] = {}

#: Volumes created in succession under one name: each used a token, and was deleted.
_TOKENS_TRIED = 5

#: Rows that one Describe call returns at most.
_PAGE = 500

_GONE = {'InvalidVolume.NotFound', 'InvalidSnapshot.NotFound', 'InvalidVolumeModification.NotFound'}

#: EC2's codes as the contract's errors; all others are DriverError.
_FAILURES: Mapping[str, type[errors.DriverError]] = {
    'VolumeLimitExceeded': errors.BackendFull,
    'MaxIOPSLimitExceeded': errors.BackendFull,
    'InsufficientVolumeCapacity': errors.BackendFull,
    'SnapshotLimitExceeded': errors.BackendFull,
    'ConcurrentSnapshotLimitExceeded': errors.BackendUnavailable,
    'ConcurrentLimitExceededException': errors.BackendUnavailable,
    'ServiceQuotaExceededException': errors.BackendUnavailable,
    'UnauthorizedOperation': errors.BackendMisconfigured,
    'AuthFailure': errors.BackendMisconfigured,
    'AccessDeniedException': errors.BackendMisconfigured,
    'InvalidZone.NotFound': errors.BackendMisconfigured,
    'OptInRequired': errors.BackendMisconfigured,
    'InvalidVolume.NotFound': errors.ProviderNotFound,
    'InvalidSnapshot.NotFound': errors.ProviderNotFound,
    'VolumeInUse': errors.VolumeIsBusy,
    'IncorrectModificationState': errors.VolumeIsBusy,
    'VolumeModificationRateExceeded': errors.VolumeIsBusy,
    'InvalidSnapshot.InUse': errors.SnapshotIsBusy,
}


def tags(row: Row) -> dict[str, str]:
    return {tag['Key']: tag['Value'] for tag in row.get('Tags', [])}


def listed(values: Mapping[str, str]) -> list[dict[str, str]]:
    return [{'Key': key, 'Value': value} for key, value in values.items()]


class Objects:
    """``backend`` is the backend's name, ``deployment`` the stack's. Thread-safe."""

    def __init__(self, api: Api, backend: str, deployment: str) -> None:
        self.api = api
        self._backend = backend
        self._deployment = deployment

    def failure(
        self, refused: Refused, ref: VolumeRef | SnapshotRef | None = None, size: int = 0
    ) -> errors.DriverError:
        """Return EC2's refusal as the contract's error."""
        kind = _FAILURES.get(refused.code, errors.DriverError)
        facts = {'id': ref.id, 'object': ref.name} if ref else {'id': '-', 'object': 'such object'}
        return kind(backend=self._backend, reason=str(refused), size=size, **facts)

    def ec2(self, operation: str, ref: VolumeRef | SnapshotRef | None = None, **parameters: Any) -> Row:
        """Return EC2's answer. Raises a refusal as an error about the object that the call is for, and Unsure."""
        try:
            return self.api.ec2(operation, **parameters)
        except Refused as refused:
            raise self.failure(refused, ref) from refused

    def tag(self, id: str, values: Mapping[str, str], ref: VolumeRef | SnapshotRef | None = None) -> None:
        self.ec2('CreateTags', ref, Resources=[id], Tags=listed(values))

    def marks(self, name: str, project_id: str, more: Mapping[str, str] = _NO_MARKS) -> dict[str, str]:
        """Return the tags of a new object; the keys of ``more`` come without 'cinder:'."""
        ours = {'name': name, 'deployment': self._deployment, 'backend': self._backend, 'project': project_id}
        return {'Name': name, **{f'cinder:{key}': value for key, value in {**ours, **more}.items()}}

    def volumes(self, filters: Filters) -> list[Row]:
        """Return volumes by filter, except those being deleted."""
        pages = self.api.pages('DescribeVolumes', Filters=listed_filters(filters), MaxResults=_PAGE)
        rows: list[Row] = [row for page in pages for row in page['Volumes']]
        return [row for row in rows if row['State'] not in ('deleting', 'deleted')]

    def snapshots(self, filters: Filters) -> list[Row]:
        """Return snapshots by filter, oldest first."""
        pages = self.api.pages(
            'DescribeSnapshots', OwnerIds=['self'], Filters=listed_filters(filters), MaxResults=_PAGE
        )
        rows: list[Row] = [row for page in pages for row in page['Snapshots']]
        return sorted(rows, key=lambda row: (row['StartTime'], row['SnapshotId']))

    def named(self, name: str | Sequence[str]) -> dict[str, str | Sequence[str]]:
        """Return the filter for a cinder:name, or for any of several."""
        return {'tag:cinder:name': name, 'tag:cinder:deployment': self._deployment}

    def ours(self) -> dict[str, str]:
        """Return the filter for all objects of this backend."""
        return {'tag:cinder:backend': self._backend, 'tag:cinder:deployment': self._deployment}

    def deployed(self) -> dict[str, str]:
        """Return the filter for all objects that this deployment may change."""
        return {'tag:cinder:deployment': self._deployment}

    def volume(self, id: str) -> Row | None:
        """Return a volume by its EC2 id, None for a deleted one."""
        try:
            row: Row = self.api.ec2('DescribeVolumes', VolumeIds=[id])['Volumes'][0]
        except Refused as refused:
            if refused.code in _GONE:
                return None
            raise self.failure(refused) from refused
        return None if row['State'] in ('deleting', 'deleted', 'error') else row

    def find(self, volume: VolumeRef) -> Row | None:
        """Return the volume by the recorded id, or (not recorded yet, or replaced since) by its name."""
        found = self.volume(volume.provider_id) if volume.provider_id else None
        if found is not None:
            return found
        rows = self.volumes(self.named(volume.name))
        replaced = {tags(row).get('cinder:replaces') for row in rows if row['State'] in ('available', 'in-use')}
        return next((row for row in rows if row['VolumeId'] not in replaced and row['State'] != 'error'), None)

    def require(self, volume: VolumeRef) -> Row:
        """Raises ProviderNotFound."""
        found = self.find(volume)
        if found is None:
            raise errors.ProviderNotFound(backend=self._backend, object=volume.name)
        return found

    def with_id(self, volume: VolumeRef, call: Callable[[str], T]) -> T:
        """Call with the recorded EC2 id; if that volume is gone, with its replacement's.

        Raises ProviderNotFound, and what ``call`` raises.
        """
        id = volume.provider_id or str(self.require(volume)['VolumeId'])
        try:
            return call(id)
        except errors.ProviderNotFound:
            now = str(self.require(volume)['VolumeId'])
            if now == id:
                raise
            return call(now)

    def find_snapshot(self, snapshot: SnapshotRef) -> Row | None:
        """Return the snapshot; if a crash left several of one name, the oldest."""
        return self.snapshot_named(snapshot.name)

    def snapshot_named(self, name: str) -> Row | None:
        return next((row for row in self.snapshots(self.named(name)) if row['State'] != 'error'), None)

    def require_snapshot(self, snapshot: SnapshotRef) -> Row:
        """Raises ProviderNotFound."""
        found = self.find_snapshot(snapshot)
        if found is None:
            raise errors.ProviderNotFound(backend=self._backend, object=snapshot.name)
        return found

    def make_volume(
        self, operation: str, volume: VolumeRef, seed: str, parameters: Row, marks: Mapping[str, str] = _NO_MARKS
    ) -> Row:
        """Run CreateVolume or CopyVolumes and wait until it is available; an existing volume is the result.

        ``seed`` distinguishes volumes that may be made under one name. The token of a deleted volume is used up: the
        next one is used. Raises DriverError, also when a volume of that name exists with other properties.
        """
        tagged = {**parameters, 'TagSpecifications': self._specify('volume', volume, volume.name, marks)}
        for number in range(_TOKENS_TRIED):
            token = str(uuid.uuid5(_TOKENS, f'{volume.name} {seed} {number}'))
            made = self._make_once(operation, volume, {**tagged, 'ClientToken': token})
            row = self._settled(made, volume)
            if row is not None:
                return row
        raise self.api.unavailable(f'{volume.name} was created {_TOKENS_TRIED} times, and deleted each time')

    def _make_once(self, operation: str, volume: VolumeRef, parameters: Row) -> str:
        """Return the id of the token's volume; '' if that was deleted."""
        try:
            answer = self.api.ec2(operation, **parameters)
        except Refused as refused:
            if refused.code != 'IdempotentParameterMismatch':
                raise self.failure(refused, volume, volume.size) from refused
            return self._already(volume)
        made = answer['Volumes'][0] if 'Volumes' in answer else answer
        return '' if made['State'] in ('deleting', 'deleted') else str(made['VolumeId'])

    def _already(self, volume: VolumeRef) -> str:
        """Return the volume made with this token by another request; '' if it is deleted."""
        rows: list[Row] = []

        def look() -> bool:
            rows.extend(self.volumes(self.named(volume.name)))
            return bool(rows)

        self.api.wait(look, CONSISTENT)
        if rows and rows[0]['Size'] != volume.size:
            reason = f'{volume.name} exists with {rows[0]["Size"]} GiB'
            raise errors.DriverError(backend=self._backend, reason=reason)
        return str(rows[0]['VolumeId']) if rows else ''

    def _settled(self, id: str, volume: VolumeRef) -> Row | None:
        """Wait until a volume is available; None for one that was deleted.

        Raises DriverError, BackendUnavailable.
        """
        seen: list[Row] = []
        started = self.api.now()

        def look() -> bool:
            row = self.volume(id) if id else None
            if row is not None:
                seen.append(row)
                return bool(row['State'] != 'creating')
            return bool(seen) or self.api.now() - started >= CONSISTENT or not id

        if not self.api.wait(look, VOLUME_WAIT):
            raise self.api.unavailable(f'{volume.name} ({id}) is not available after {VOLUME_WAIT:.0f} s')
        if seen and seen[-1]['State'] == 'creating':
            reason = f'EC2 failed to create {volume.name}; check that its KMS key exists, is enabled and may be used'
            raise errors.DriverError(backend=self._backend, reason=reason)
        return seen[-1] if seen else None

    def make_snapshot(
        self, volume_id: str, ref: VolumeRef | SnapshotRef, name: str, marks: Mapping[str, str] = _NO_MARKS
    ) -> Row:
        """Run CreateSnapshot; it has no token, so each attempt first looks for an existing one. Returns at once."""
        volume = ref.volume if isinstance(ref, SnapshotRef) else ref
        for _ in range(3):
            found = self.snapshot_named(name)
            if found is not None:
                return found
            specification = self._specify('snapshot', volume, name, marks)
            try:
                return self.ec2(
                    'CreateSnapshot', volume, repeatable=False, VolumeId=volume_id, TagSpecifications=specification
                )
            except Unsure:
                self.api.sleep(CONSISTENT)
        raise self.api.unavailable(f'CreateSnapshot of {volume_id} got no answer')

    def _specify(self, resource: str, volume: VolumeRef, name: str, marks: Mapping[str, str]) -> list[Row]:
        return [{'ResourceType': resource, 'Tags': listed(self.marks(name, volume.project_id, marks))}]

    def is_completed(self, id: str, seconds: float, name: str) -> bool:
        """Wait for a snapshot. Raises DriverError when it failed."""

        def look() -> bool:
            try:
                row = self.api.ec2('DescribeSnapshots', SnapshotIds=[id])['Snapshots'][0]
            except Refused as refused:
                if refused.code in _GONE:  # not listed yet
                    return False
                raise self.failure(refused) from refused
            if row['State'] == 'error':
                raise errors.DriverError(backend=self._backend, reason=f'{name} ({id}) failed in EC2')
            return bool(row['State'] == 'completed')

        return self.api.wait(look, seconds)

    def completed(self, row: Row, name: str, seconds: float = SNAPSHOT_WAIT) -> str:
        """Return a snapshot's id, once it is completed. Raises NotReady."""
        if row['State'] != 'completed' and not self.is_completed(row['SnapshotId'], seconds, name):
            raise errors.NotReady(backend=self._backend, reason=f'{name} is still being copied by EC2; retry later')
        return str(row['SnapshotId'])

    def remove_volume(self, id: str, ref: VolumeRef) -> None:
        self._remove('DeleteVolume', ref, VolumeId=id)

    def remove_snapshots(self, name: str, ref: VolumeRef | SnapshotRef) -> int:
        """Delete all snapshots of one name: a crash may have left two. Returns their number."""
        rows = self.snapshots(self.named(name))
        for row in rows:
            self.remove_snapshot(row['SnapshotId'], ref)
        return len(rows)

    def remove_snapshot(self, id: str, ref: VolumeRef | SnapshotRef) -> None:
        self._remove('DeleteSnapshot', ref, SnapshotId=id)

    def _remove(self, operation: str, ref: VolumeRef | SnapshotRef, **named: Any) -> None:
        """Delete an object; a missing one is success."""
        try:
            self.api.ec2(operation, **named)
        except Refused as refused:
            if refused.code not in _GONE:
                raise self.failure(refused, ref) from refused


def listed_filters(filters: Filters) -> list[Row]:
    return [
        {'Name': name, 'Values': [value] if isinstance(value, str) else list(value)} for name, value in filters.items()
    ]


def translate_errors(driver: D) -> D:
    """Decorate a driver: EC2 errors that its verbs do not handle are raised as the contract's errors.

    The driver has its ``Objects`` as ``_objects``.
    """
    for name, verb in inspect.getmembers(driver, inspect.isfunction):
        if not name.startswith('_'):
            setattr(driver, name, _guarded(verb))
    return driver


def _guarded(verb: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(verb)
    def guarded(driver: Any, *arguments: Any, **facts: Any) -> Any:
        try:
            return verb(driver, *arguments, **facts)
        except Refused as refused:
            raise driver._objects.failure(refused) from refused
        except Unsure as unsure:
            raise driver._objects.api.unavailable(str(unsure)) from unsure

    return guarded
