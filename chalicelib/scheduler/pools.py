"""The state of one pool: its backend's report, and the capacity that this process has promised since.

A decision reads thousands of pools within milliseconds, so reading a record is optimised.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from chalicelib.scheduler import capacity
from chalicelib.scheduler.hosts import extract_host

_VARIANTS = (['iSCSI', 'iscsi'], ['FC', 'fibre_channel', 'fc'], ['NFS', 'nfs'], ['NVMe-oF', 'NVMeOF', 'nvmeof'])
#: Spellings of one protocol. A request for any of them matches all: a pool's protocol is the list of them.
PROTOCOL_VARIANTS = {name: variants for variants in _VARIANTS for name in variants}

#: GiB beyond which a report is absurd: no pool holds a yobibyte.
ABSURD_GB = 2.0**50


class Obstacle(NamedTuple):
    """Why a pool takes no work: ``step`` is ServiceState or PoolReport; the detail is for operators."""

    step: str
    reason: str
    detail: str = ''


#: A pool whose backend did not answer the last request for a report.
DOWN = Obstacle('ServiceState', 'the backend is down')


class PoolState(NamedTuple):
    """One pool. ``name`` is ``host@backend#pool`` (``cluster@backend#pool`` for a clustered backend).

    A tuple, since many are made per decision: a frozen dataclass costs four times as much. Sizes are GiB; missing keys
    of a report have Cinder's defaults. A pool that takes no work, or whose report is malformed, has an ``obstacle`` and
    is not chosen; without one the numbers are numbers, except where stated here.
    """

    name: str
    record: Mapping[str, Any]
    #: The report with the backend's keys merged in, and the protocol as the list of its spellings.
    capabilities: Mapping[str, Any]
    #: Or 'infinite', or 'unknown'.
    total_capacity_gb: Any
    #: Likewise, or None.
    free_capacity_gb: Any
    allocated_capacity_gb: Any
    provisioned_capacity_gb: Any
    reserved_percentage: Any
    thin_provisioning_support: Any
    #: Seconds since the epoch; None: unknown.
    reported_at: float | None
    obstacle: Obstacle | None

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> PoolState:
        """Read a pool record: a dict with these keys, of which only ``name`` is required.

        ``name``; ``availability_zone``; ``capabilities``: the pool's report (None: it has not reported);
        ``reported_at``: seconds since the epoch or ISO 8601 text in UTC; ``disabled``, ``frozen`` (default False) and
        ``up`` (default True): of its service; ``warning``: what was found wrong with the report when it was received;
        ``host`` and ``cluster_name``: both names of a pool of a clustered backend.
        """
        read = record.get
        capabilities = read('capabilities')
        if capabilities.__class__ is not dict:
            return cls(record['name'], record, {}, 0, None, 0, 0, 0, False, None, _without_report(record))
        get = capabilities.get
        total, free = get('total_capacity_gb', 0), get('free_capacity_gb', 0)
        allocated = get('allocated_capacity_gb', 0)
        provisioned = get('provisioned_capacity_gb', allocated)
        reserved, thin = get('reserved_percentage', 0), get('thin_provisioning_support', False)
        is_plain = _are_plain(total, free, allocated, provisioned, reserved) or _are_plain(
            _finite(total), 0 if free is None else _finite(free), allocated, provisioned, reserved
        )
        reported_at = read('reported_at')
        if reported_at.__class__ is not float:
            reported_at = seconds(reported_at)
        if get('storage_protocol').__class__ is str:
            capabilities = _with_variants(capabilities)
        state: PoolState = _tuple(
            cls,
            (
                record['name'],
                record,
                capabilities,
                total,
                free,
                allocated,
                provisioned,
                reserved,
                thin,
                reported_at,
                None,
            ),
        )
        takes_work = read('up', True) and not (read('disabled') or read('frozen') or read('warning'))
        if is_plain and takes_work and (not thin or _is_ratio(get('max_over_subscription_ratio'))):
            return state
        return state._judged()

    def once_up(self) -> PoolState:
        """Return the pool as it will be when its backend answers again, if only that keeps it from work."""
        if self.obstacle != DOWN:
            return self
        return self._replace(record={**self.record, 'up': True}, obstacle=None)._judged()

    @property
    def warning(self) -> str:
        """What is wrong with the report, for operators; empty when the report is usable."""
        obstacle = self.obstacle
        return obstacle.detail if obstacle and obstacle.step == 'PoolReport' else ''

    @property
    def host(self) -> str:
        """The pool's name with the host of the service that represents its cluster."""
        host: str = self.record.get('host') or self.name
        return host

    @property
    def cluster_name(self) -> str | None:
        return self.record.get('cluster_name')

    @property
    def pool_name(self) -> str | None:
        return self.capabilities.get('pool_name') or extract_host(self.name, 'pool')

    @property
    def availability_zone(self) -> str | None:
        return self.record.get('availability_zone')

    def ratio(self, default: str) -> float:
        """Return the over-subscription ratio of the report, without capacity promised since."""
        return capacity.max_over_subscription_ratio(self.capabilities, default)

    @property
    def is_limited(self) -> bool:
        """Whether both capacities are numbers, not infinite or unknown."""
        return not (self.total_capacity_gb in capacity.UNLIMITED or self.free_capacity_gb in capacity.UNLIMITED)

    def virtual_free_gb(self, default_ratio: str, thick: bool = False) -> float | None:
        """Return the GiB that can still be allocated, possibly negative; None for no limit.

        ``thick`` requests real space, on a thin pool as well. Raises TypeError when real space counts and the pool
        reports no free capacity.
        """
        if not self.is_limited:
            return None
        ratio = self.ratio(default_ratio) if self.thin_provisioning_support and not thick else None
        _, _, virtual_free = capacity.space(
            self.total_capacity_gb,
            self.free_capacity_gb,
            self.provisioned_capacity_gb,
            self.reserved_percentage,
            ratio,
        )
        return capacity.to_cents(virtual_free)

    def consume(self, size: int) -> PoolState:
        """Return the pool with ``size`` GiB allocated (released, if negative), as Cinder counts in memory."""
        free = self.free_capacity_gb
        return self._replace(
            free_capacity_gb=free - size if isinstance(free, int | float) else free,
            allocated_capacity_gb=self.allocated_capacity_gb + size,
            provisioned_capacity_gb=self.provisioned_capacity_gb + size,
        )

    def _judged(self) -> PoolState:
        """Return the pool with its obstacle, if any, and with numbers for texts that Cinder reads as numbers."""
        pool = self._replace(
            total_capacity_gb=_number(self.total_capacity_gb), reserved_percentage=_number(self.reserved_percentage)
        )
        if obstacle := _of_service(self.record):
            return pool._replace(obstacle=obstacle)
        bad = [f'{key} is {_show(value)}' for key, value in pool._numbers() if not _RULES[key](value)]
        warning = self.record.get('warning') or ', '.join(bad)
        return pool._replace(obstacle=Obstacle('PoolReport', _MALFORMED, warning) if warning else None)

    def _numbers(self) -> Iterator[tuple[str, Any]]:
        """Yield every number that must be usable; a ratio counts only where thin provisioning is supported."""
        for key in _RULES:
            if key != 'max_over_subscription_ratio':
                yield key, getattr(self, key)
            elif self.thin_provisioning_support:
                yield key, self.capabilities.get(key)


def seconds(timestamp: str | float | None) -> float | None:
    """Return seconds since the epoch for these, or for ISO 8601 text (UTC, unless it has an offset).

    Any other value counts as older than everything.
    """
    if timestamp is None or isinstance(timestamp, int | float):
        return timestamp
    try:
        parsed = datetime.datetime.fromisoformat(timestamp)
    except (TypeError, ValueError):
        return -math.inf
    return (parsed if parsed.tzinfo else parsed.replace(tzinfo=datetime.UTC)).timestamp()


# A NamedTuple's own constructor is a Python function, which takes twice as long.
_tuple: Any = tuple.__new__


def _with_variants(capabilities: Mapping[str, Any]) -> dict[str, Any]:
    protocol = capabilities['storage_protocol']
    return {**capabilities, 'storage_protocol': PROTOCOL_VARIANTS.get(protocol, protocol)}


def _of_service(record: Mapping[str, Any]) -> Obstacle | None:
    """Return the obstacle of the pool's service, if any."""
    for flag in ('disabled', 'frozen'):
        if record.get(flag):
            return Obstacle('ServiceState', f'the backend is {flag}')
    return None if record.get('up', True) else DOWN


def _without_report(record: Mapping[str, Any]) -> Obstacle:
    if obstacle := _of_service(record):
        return obstacle
    report, warning = record.get('capabilities'), record.get('warning')
    if report is None and not warning:
        return Obstacle('ServiceState', 'the backend has not reported')
    return Obstacle('PoolReport', _MALFORMED, warning or f'the report is {_show(report)}, not an object')


def _are_plain(total: Any, free: Any, allocated: Any, provisioned: Any, reserved: Any) -> bool:
    """Return whether all are usable numbers, as for nearly all pools; ``_RULES`` finds out which are not.

    Adding text or null fails; NaN, infinite or absurd numbers show in the sum.
    """
    try:
        plain: bool = -ABSURD_GB < total + free + allocated + provisioned + reserved < ABSURD_GB
        return plain and allocated >= 0 and provisioned >= 0 and 0 <= reserved <= 100
    except (TypeError, OverflowError):
        return False


def _finite(value: Any) -> Any:
    return 0 if value in capacity.UNLIMITED else value


def _is_number(value: Any) -> bool:
    return value.__class__ in (int, float) and -ABSURD_GB < value < ABSURD_GB


def _is_amount(value: Any) -> bool:
    return _is_number(value) and value >= 0


def _number(value: Any) -> Any:
    """Read text as float() does; return other values, and text that is not a number, unchanged."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def _is_ratio(value: Any) -> bool:
    try:
        return not value or value == 'auto' or -ABSURD_GB < float(value) < ABSURD_GB
    except (TypeError, ValueError, OverflowError):
        return False


#: The allowed values of each number of a report.
_RULES: dict[str, Callable[[Any], bool]] = {
    'total_capacity_gb': lambda value: value in capacity.UNLIMITED or _is_number(value),
    'free_capacity_gb': lambda value: value is None or value in capacity.UNLIMITED or _is_number(value),
    'allocated_capacity_gb': _is_amount,
    'provisioned_capacity_gb': _is_amount,
    'reserved_percentage': lambda value: _is_amount(value) and value <= 100,
    'max_over_subscription_ratio': _is_ratio,
}
_MALFORMED = 'the report is malformed'


def _show(value: Any) -> str:
    return f'a {type(value).__name__}' if isinstance(value, dict | list) else f'{value!r:.40}'
