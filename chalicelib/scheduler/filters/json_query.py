"""JsonFilter: the requester's own query, as JSON in the hint ``query``.

``[op, argument, ...]`` with ``= < > <= >= in not or and``. An argument is a value, a query, or ``$attribute`` of the
pool (``$capabilities.key`` reads nested objects). Arguments without a value are left out.
"""

from __future__ import annotations

import json
import operator
from collections.abc import Callable, Mapping
from typing import Any

from chalicelib.scheduler.filters.base import Filter
from chalicelib.scheduler.functions import stats
from chalicelib.scheduler.hosts import extract_host
from chalicelib.scheduler.placement_request import PlacementRequest
from chalicelib.scheduler.pools import PoolState

#: Limits of a query, which a user writes and every pool evaluates.
MAX_LENGTH = 4096
MAX_DEPTH = 50

_NO_QUERY = 'the hint query is not a JSON list that starts with an operator'
_UNKNOWN = 'the hint query has an unknown operator; allowed: {operators}'
_TOO_LONG = f'the hint query is longer than {MAX_LENGTH} characters'
_TOO_DEEP = f'the hint query is nested more than {MAX_DEPTH} levels deep'
_FALSE = 'the hint query is false'


def _compare(holds: Callable[[Any, Any], Any]) -> Callable[[list[Any]], bool]:
    """The first argument must compare true with all others; with fewer than two arguments the result is false."""
    return lambda values: len(values) > 1 and all(holds(values[0], other) for other in values[1:])


_OPERATORS: dict[str, Callable[[list[Any]], Any]] = {
    '=': _compare(operator.eq),
    '<': _compare(operator.lt),
    '>': _compare(operator.gt),
    '<=': _compare(operator.le),
    '>=': _compare(operator.ge),
    'in': lambda values: len(values) > 1 and values[0] in values[1:],
    # A list, one result per argument: as an argument of ``or`` it is always true, as in Cinder.
    'not': lambda values: [not value for value in values],
    'or': any,
    'and': all,
}


class JsonFilter(Filter):
    """A malformed query refuses every pool: failing is better than placing a volume wrongly."""

    def __init__(self, request: PlacementRequest) -> None:
        super().__init__(request)
        self.query, self.fault = _parse(request.spec.scheduler_hints.get('query'))

    @property
    def is_idle(self) -> bool:
        return not (self.query or self.fault)

    def refuse(self, pool: PoolState) -> str | None:
        if self.fault:
            return self.fault
        result = _evaluate(self.query, _state(pool, self.request.config.max_over_subscription_ratio))
        return None if (any(result) if isinstance(result, list) else result) else _FALSE


def _parse(text: Any) -> tuple[Any, str | None]:
    """Return (query, fault); both None without a query."""
    if not text:
        return None, None
    if isinstance(text, str) and len(text) > MAX_LENGTH:
        return None, _TOO_LONG
    try:
        query = json.loads(text)
    except (TypeError, ValueError, RecursionError):
        return None, _NO_QUERY
    return query, _fault(query, 0)


def _fault(query: Any, depth: int) -> str | None:
    """Return what is wrong with the form of a query, or None; an empty query is true, as in Cinder."""
    if depth > MAX_DEPTH:
        return _TOO_DEEP
    if not query:
        return None
    if not isinstance(query, list):
        return _NO_QUERY
    if not isinstance(query[0], str) or query[0] not in _OPERATORS:
        return _UNKNOWN.format(operators=' '.join(_OPERATORS))
    faults = (_fault(argument, depth + 1) for argument in query[1:] if isinstance(argument, list))
    return next((fault for fault in faults if fault), None)


def _evaluate(query: list[Any], state: Mapping[str, Any]) -> Any:
    if not query:
        return True
    values = [_argument(argument, state) for argument in query[1:]]
    return _OPERATORS[query[0]]([value for value in values if value is not None])


def _argument(argument: Any, state: Mapping[str, Any]) -> Any:
    if isinstance(argument, list):
        return _evaluate(argument, state)
    if argument == '':
        return None
    if isinstance(argument, str) and argument.startswith('$'):
        return _attribute(argument[1:].split('.'), state)
    return argument


def _attribute(path: list[str], state: Mapping[str, Any]) -> Any:
    value: Any = state
    for step in path:
        value = None if value is None else value.get(step)
    return value


def _state(pool: PoolState, default_ratio: str) -> dict[str, Any]:
    """Return the attributes that a query may read: those of Cinder's PoolState."""
    capabilities = pool.capabilities
    service = {key: pool.record.get(key) for key in ('availability_zone', 'disabled', 'frozen')}
    return {
        **stats(pool),
        'provisioned_capacity_gb': pool.provisioned_capacity_gb,
        'thin_provisioning_support': pool.thin_provisioning_support,
        'pool_name': pool.pool_name,
        'thick_provisioning_support': capabilities.get('thick_provisioning_support', False),
        'max_over_subscription_ratio': pool.ratio(default_ratio),
        'multiattach': capabilities.get('multiattach', False),
        'filter_function': capabilities.get('filter_function'),
        'goodness_function': capabilities.get('goodness_function', 0),
        'capabilities': capabilities,
        'service': {**service, 'host': extract_host(pool.host), 'cluster_name': pool.cluster_name},
    }
