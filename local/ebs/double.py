"""The emulator: it answers one call at a time, with the faults that a test configures."""

from __future__ import annotations

import collections
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from local.calls import Call
from local.ebs import attachments, direct, snapshots, tags, volumes, wire
from local.ebs.blocks import BlockFile, Disk
from local.ebs.cloud import Cloud, Cut, Instance, Refused, Timing
from local.http import Request, Response

Operation = Callable[[Cloud, Mapping[str, Any]], dict[str, Any]]

#: Actions of EC2 that are answered here.
EC2: Mapping[str, Operation] = {
    'AttachVolume': attachments.attach,
    'CopySnapshot': snapshots.copy,
    'CopyVolumes': volumes.copy,
    'CreateSnapshot': snapshots.create,
    'CreateSnapshots': snapshots.create_many,
    'CreateTags': tags.create,
    'CreateVolume': volumes.create,
    'DeleteSnapshot': snapshots.delete,
    'DeleteTags': tags.delete,
    'DeleteVolume': volumes.delete,
    'DescribeAvailabilityZones': volumes.zones,
    'DescribeSnapshots': snapshots.list_,
    'DescribeTags': tags.describe,
    'DescribeVolumes': volumes.list_,
    'DescribeVolumesModifications': volumes.modifications,
    'DetachVolume': attachments.detach,
    'ModifyVolume': volumes.modify,
}

DIRECT: Mapping[str, Operation] = {
    'CompleteSnapshot': direct.complete,
    'GetSnapshotBlock': direct.get_block,
    'ListChangedBlocks': direct.list_changed,
    'ListSnapshotBlocks': direct.list_blocks,
    'PutSnapshotBlock': direct.put_block,
    'StartSnapshot': direct.start,
}

#: Error code of a throttled request, by service.
_THROTTLED = {
    'ec2': Refused('RequestLimitExceeded', 'Request limit exceeded.', 503),
    'ebs': Refused('RequestThrottledException', 'Too many requests.', 400, Reason='ACCOUNT_THROTTLED'),
}

#: The emulators of this process, for ``known_tags``.
_LIVE: weakref.WeakSet[Ebs] = weakref.WeakSet()


def known_tags(id: str) -> Mapping[str, str] | None:
    """Return the tags of a volume, snapshot or instance of any emulator in this process; None for an unknown one."""
    for ebs in list(_LIVE):
        with ebs.lock:
            found = ebs.cloud.volumes.get(id) or ebs.cloud.snapshots.get(id)
            if found is not None:
                return dict(found.tags.now)
        if id.startswith('i-') and (instance := ebs.cloud.instances(id)) is not None:
            return dict(instance.tags)
    return None


def attached_volumes(instance_id: str) -> list[str]:
    """Return the ids of the volumes that an instance of any emulator in this process has attached."""
    found = []
    for ebs in list(_LIVE):
        with ebs.lock:
            found += [id for id, volume in ebs.cloud.volumes.items() if instance_id in volume.attachments]
    return found


class Ebs:
    """One region's EBS. Thread-safe. ``now`` is its clock, by which objects change state.

    ``instances`` and ``keys`` look up objects of other services. By default they are the instances of ``add_instance``
    and the KMS keys in ``known_keys``.
    """

    def __init__(
        self,
        zones: tuple[str, ...] = ('us-east-1a', 'us-east-1b'),
        *,
        timing: Timing | None = None,
        now: Callable[[], float] = time.time,
        instances: Callable[[str], Instance | None] | None = None,
        keys: Callable[[str], bool] | None = None,
    ) -> None:
        self._added: dict[str, Instance] = {}
        self.known_keys: set[str] = set()
        self.cloud = Cloud(
            now=now,
            timing=timing or Timing(),
            zones=zones,
            instances=instances or self._added.get,
            keys=keys or self.known_keys.__contains__,
            file=BlockFile(),
        )
        #: Every call that arrived, by name.
        self.calls: list[str] = []
        self._before: dict[str, list[Exception]] = collections.defaultdict(list)
        self._after: dict[str, list[Exception]] = collections.defaultdict(list)
        #: Held by each call while it reads and changes ``cloud``.
        self.lock = threading.RLock()
        _LIVE.add(self)

    def add_instance(
        self, id: str, zone: str, state: str = 'running', tags: Mapping[str, str] = MappingProxyType({})
    ) -> str:
        self._added[id] = Instance(zone, state, tags)
        return id

    def disk(self, volume_id: str) -> Disk:
        """A volume's bytes, as an instance that has it attached reads and writes them."""
        with self.lock:
            return self.cloud.volume(volume_id).disk

    def throttle(self, operation: str, times: int = 1) -> None:
        """Refuse the next calls of an operation as too many."""
        self.fail(operation, *[_THROTTLED['ec2' if operation in EC2 else 'ebs']] * times)

    def fail(self, operation: str, *errors: Exception) -> None:
        """Give the next calls of an operation these errors, before anything is done. ``Cut`` cuts the connection."""
        self._before[operation] += errors

    def lose_answer(self, operation: str, times: int = 1) -> None:
        """Carry out the next calls, and cut the connection before the answer."""
        self._after[operation] += [Cut()] * times

    def answer(self, call: Call) -> wire.Answer | None:
        """Answer a call of EC2 or EBS; None for one that is not about EBS. Raises Cut."""
        if call.service == 'ec2':
            return self._ec2(wire.form(call.body))
        if call.service == 'ebs':
            return self._direct(call)
        return None

    def _ec2(self, sent: Mapping[str, str]) -> wire.Answer | None:
        action = sent.get('Action', '')
        if action not in EC2 or (action.endswith('Tags') and not _of_storage(sent)):
            return None
        try:
            return wire.xml(action, self._run(action, EC2[action], lambda: wire.query(action, sent)))
        except Refused as refused:
            return wire.xml_refusal(refused)

    def _direct(self, call: Call) -> wire.Answer | None:
        found = wire.direct(call)
        if found is None:
            return None
        try:
            return wire.rest(found[0], self._run(found[0], DIRECT[found[0]], lambda: found[1]))
        except Refused as refused:
            return wire.rest_refusal(refused)

    def _run(self, name: str, operation: Operation, read: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        with self.lock:
            self.calls.append(name)
            _raise_next(self._before[name])
            self.cloud.settle()
            result = operation(self.cloud, read())
            _raise_next(self._after[name])
            return result

    def __call__(self, request: Request) -> Response:
        """Answer HTTP (``local.http.Server``): an endpoint for clients of EC2 and EBS."""
        answer = self.answer(_call(request))
        if answer is None:
            return Response(501, [], b'this endpoint has EBS only')
        status, headers, body = answer
        return Response(status, list(headers.items()), body.encode() if isinstance(body, str) else body)


def _raise_next(errors: list[Exception]) -> None:
    if errors:
        raise errors.pop(0)


def _of_storage(sent: Mapping[str, str]) -> bool:
    ids = [value for name, value in sent.items() if name.startswith('ResourceId.')]
    return all(id.startswith(('vol-', 'snap-')) for id in ids)


def _call(request: Request) -> Call:
    headers = {name.lower(): value for name, value in request.headers}
    service = 'ebs' if request.path.startswith('/snapshots') else 'ec2'
    return Call(service, '', request.method, request.path, headers, request.body, request.query)
