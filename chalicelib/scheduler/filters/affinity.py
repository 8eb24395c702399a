"""Filters by the location of other things: volumes, instances, earlier attempts of this request."""

from __future__ import annotations

import uuid
from typing import Any

from chalicelib import errors
from chalicelib.scheduler.filters.base import Filter
from chalicelib.scheduler.hosts import extract_host
from chalicelib.scheduler.placement_request import PlacementRequest
from chalicelib.scheduler.pools import PoolState


def is_uuid_like(value: Any) -> bool:
    """Return whether ``value`` is the text of a uuid, in any of its spellings."""
    try:
        return isinstance(value, str) and bool(uuid.UUID(value))
    except ValueError:
        return False


class _VolumeAffinityFilter(Filter):
    """A hint that names volumes: one uuid or a list of them. Any other value refuses every pool.

    ``Facts.volume_backends`` holds the volumes that exist and that the requester may see.
    """

    hint: str

    def __init__(self, request: PlacementRequest) -> None:
        super().__init__(request)
        value = request.spec.scheduler_hints.get(self.hint, [])
        volumes = value if isinstance(value, list) else [value]
        self.is_valid = all(is_uuid_like(volume) for volume in volumes)
        self.volumes = volumes
        backends = request.facts.volume_backends
        self.backends = {backends[volume] for volume in volumes if volume in backends} if self.is_valid else set()

    @property
    def is_idle(self) -> bool:
        return not self.volumes

    @property
    def refusal_of_hint(self) -> str:
        return f'the hint {self.hint} must be the id of a volume, or a list of ids'


class DifferentBackendFilter(_VolumeAffinityFilter):
    """Not where any of the volumes of ``different_host`` is; unknown volumes exclude nothing."""

    hint = 'different_host'

    def refuse(self, pool: PoolState) -> str | None:
        if not self.is_valid:
            return self.refusal_of_hint
        return 'a volume of the hint different_host is on this pool' if pool.name in self.backends else None


class SameBackendFilter(_VolumeAffinityFilter):
    """Where any of the volumes of ``same_host`` is; with unknown volumes only, no pool passes."""

    hint = 'same_host'

    def refuse(self, pool: PoolState) -> str | None:
        if not self.is_valid:
            return self.refusal_of_hint
        return None if pool.name in self.backends else 'no volume of the hint same_host is on this pool'


class IgnoreAttemptedHostsFilter(Filter):
    """Not where this request was sent before and failed."""

    def __init__(self, request: PlacementRequest) -> None:
        super().__init__(request)
        self.tried = frozenset(request.spec.retry.backends if request.spec.retry else ())

    @property
    def is_idle(self) -> bool:
        return not self.tried

    def refuse(self, pool: PoolState) -> str | None:
        return 'already tried for this request' if pool.name in self.tried else None


class InstanceLocalityFilter(Filter):
    """Only pools of the host that runs the server of ``local_to_instance``: the host part of the pool's name.

    Raises InvalidUUID for a hint that is not a uuid, HintNotSupported when Nova did not report the server's host.
    """

    hint = 'local_to_instance'

    def __init__(self, request: PlacementRequest) -> None:
        super().__init__(request)
        self.instance = request.spec.scheduler_hints.get(self.hint)
        if not self.instance:
            return
        if not is_uuid_like(self.instance):
            raise errors.InvalidUUID(uuid=self.instance)
        self.host = request.facts.instance_hosts.get(self.instance)
        if self.host is None:
            reason = f'Nova did not report the host of server {self.instance}.'
            raise errors.HintNotSupported(hint=self.hint, reason=reason)

    @property
    def is_idle(self) -> bool:
        return not self.instance

    def refuse(self, pool: PoolState) -> str | None:
        return None if extract_host(pool.name, 'host') == self.host else 'the server of the hint runs elsewhere'
