"""Rows that change a record which the service itself creates: limits of a quota record, the state of a service.

Such a record changes with every request or report, so its revision proves nothing. Instead the values that a migration
set are compared: a record that has other values now was changed here, and is left as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from pynamodb.expressions.condition import Condition
from pynamodb.expressions.update import Action

from chalicelib import errors
from chalicelib.models import Quota, Service, base
from cinderless.migration import items
from cinderless.migration.items import Item
from cinderless.migration.ledger import Mark
from cinderless.migration.transactions import Writes, ensure_quota

#: Values of a record that no migration and no administrator has set.
_UNSET: Mapping[str, Mapping[str, Any]] = {'Quota': {'limits': {}}, 'Service': {'disabled': False, 'frozen': False}}


class _Overlay(NamedTuple):
    """``find``: the record, or None; ``actions`` set values; ``same``: the condition that it has the values."""

    find: Callable[[str, str], Any]
    actions: Callable[[Mapping[str, Any]], list[Action]]
    same: Callable[[Any], Condition]


def _limits(values: Mapping[str, Any]) -> list[Action]:
    return [Quota.limits.set(dict(values['limits'])), Quota.limits_version.add(1), *base.touched(Quota)]


def _state(values: Mapping[str, Any]) -> list[Action]:
    reason = values.get('disabled_reason')
    return [
        Service.disabled.set(bool(values['disabled'])),
        Service.frozen.set(bool(values['frozen'])),
        Service.disabled_reason.set(reason) if reason else Service.disabled_reason.remove(),
        *base.touched(Service),
    ]


def _is_still(found: Service) -> Condition:
    """The condition that a service has the state it was read with; a report that makes the record sets none."""
    condition: Condition = Service.disabled == found.disabled
    return condition if found.disabled else condition | Service.disabled.does_not_exist()


_OVERLAYS: Mapping[str, _Overlay] = {
    'Quota': _Overlay(ensure_quota, _limits, lambda found: Quota.limits_version == found.limits_version),
    'Service': _Overlay(Service.find_or_none, _state, _is_still),
}

#: Names of the classes of such records.
KINDS = frozenset(_OVERLAYS)


def add(writes: Writes, item: Item, mark: Mark | None) -> None:
    """Add the values of an item to its record. Raises StateChanged for a record with other values of its own."""
    overlay = _OVERLAYS[item.kind]
    found = overlay.find(item.project_id, item.id)
    if found is None:
        raise errors.StateChanged(resource=item.kind, id=item.id, status=None, expected='an existing record')
    expected = mark.digest if mark else Item(*item.key, _UNSET[item.kind]).digest
    if digest_of(item.kind, found) not in (expected, item.digest):
        raise errors.StateChanged(resource=item.kind, id=item.id, status=None, expected='the values brought before')
    writes.update(found, overlay.actions(item.values), overlay.same(found))
    writes.mark(Mark(*item.key, item.digest, 0), mark)


def digest_of(kind: str, found: Any) -> str:
    """Return the digest of the values that a record has now, as an item's digest."""
    return Item(kind, found.project_id, found.id, values_of(kind, found)).digest


def values_of(kind: str, found: Any) -> dict[str, Any]:
    """Return the values of a record that an item sets."""
    if kind == 'Quota':
        return {'limits': {name: int(limit) for name, limit in found.limits.items()}}
    return items.set_values(
        disabled=bool(found.disabled), frozen=bool(found.frozen), disabled_reason=found.disabled_reason
    )


def remove(mark: Mark) -> bool:
    """Unset the values of a mark; return False for a record that was changed here since."""
    overlay, writes = _OVERLAYS[mark.kind], Writes()
    found = overlay.find(mark.project_id, mark.id)
    if found is not None:
        if digest_of(mark.kind, found) != mark.digest:
            return False
        writes.update(found, overlay.actions(_UNSET[mark.kind]), overlay.same(found))
    writes.unmark(mark)
    try:
        writes.commit()
    except errors.StateChanged:
        return False
    return True
