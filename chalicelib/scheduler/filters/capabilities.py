"""CapabilitiesFilter: a pool's report against the extra specs of the volume type (or of the group type)."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

from chalicelib.scheduler.extra_specs import Match, compile_requirement
from chalicelib.scheduler.filters.base import Filter
from chalicelib.scheduler.placement_request import PlacementRequest
from chalicelib.scheduler.pools import PoolState

_ONLINE_EXTEND = 'the backend cannot extend an attached volume'


class CapabilitiesFilter(Filter):
    """Keys without a scope and in the scope ``capabilities:`` count; further colons descend into nested objects."""

    def __init__(self, request: PlacementRequest) -> None:
        super().__init__(request)
        spec = request.spec
        specs = spec.extra_specs if spec.group_specs is None else spec.group_specs
        self.specs = specs
        self.tests = [(key, path, compile_requirement(specs[key])) for key in specs if (path := _path(key)) is not None]
        attached = spec.volume_properties.get('attach_status') != 'detached'
        self.extends_attached = spec.operation == 'extend_volume' and attached

    @property
    def is_idle(self) -> bool:
        return not (self.tests or self.extends_attached)

    def refuse(self, pool: PoolState) -> str | None:
        """Return the key of the first extra spec that the pool does not satisfy."""
        capabilities = pool.capabilities
        # Backends that report nothing are assumed to support it; only False counts.
        if self.extends_attached and capabilities.get('online_extend_support', True) is False:
            return _ONLINE_EXTEND
        for key, path, matches in self.tests:
            if not _satisfies(capabilities, path, matches):
                return key
        return None

    def explain(self, key: Hashable, pools: Sequence[PoolState]) -> tuple[str, str]:
        if key is _ONLINE_EXTEND:
            return _ONLINE_EXTEND, ''
        return 'the volume type requires other capabilities', f'extra spec {key} requires {self.specs[str(key)]!r}'


def _path(key: str) -> list[str] | None:
    """Return the path of the capability; None for a vendor's own scope, which the scheduler ignores."""
    scope, *rest = key.split(':')
    if scope == 'capabilities':
        return rest
    return None if rest else [scope]


def _satisfies(capabilities: Any, path: list[str], matches: Match) -> bool:
    value = capabilities
    for step in path:
        if not isinstance(value, dict) or step not in value:
            return False
        value = value[step]
    return any(matches(item) for item in value) if isinstance(value, list) else matches(value)
