"""Quotas: limits and counters of a project, and reservations inside the transactions that they pay for.

A reservation is an update of the project's one quota record under the condition that every counter stays below its
limit. The limits, the project's own and those of the class ``default``, are read consistently in one call; the
condition names the version of the project's. When the condition is lost the record is read: either the project is over
a limit, in Cinder's words, or the limits had changed and the transaction is made again. A release alone reads
nothing.
"""

from __future__ import annotations

import contextlib
import functools
import json
import logging
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from pynamodb.exceptions import DoesNotExist
from pynamodb.expressions.condition import Condition
from pynamodb.expressions.update import Action

from chalicelib import errors
from chalicelib.config import settings
from chalicelib.models import Quota, base, reading
from chalicelib.operations import volume_types
from chalicelib.rules import quotas as rules

logger = logging.getLogger(__name__)

#: A transaction whose view of the limits was old is made again this often.
ATTEMPTS = 5

#: Id of a project's quota record, and of the class that gives the defaults (Cinder knows this one class only).
PROJECT, DEFAULT_CLASS = 'quota', 'default'

#: Counters by name, as PynamoDB addresses them.
_USAGE: Any = Quota.usage
_RESERVED: Any = Quota.reserved


class View(NamedTuple):
    """A project's limits, with the version of its own."""

    limits: Mapping[str, int]
    version: int

    def limit(self, resource: str) -> int:
        return self.limits.get(resource, defaults().get(resource, rules.UNLIMITED))


def defaults() -> Mapping[str, int]:
    """Return the deployment's limit of each resource, Cinder's where it has none of its own."""
    return _defaults(settings().default_quotas)


@functools.lru_cache(maxsize=1)
def _defaults(text: str) -> Mapping[str, int]:
    return {**rules.DEFAULTS, **json.loads(text or '{}')}


def commit(
    project_id: str,
    deltas: Mapping[str, int],
    add_writes_to: Callable[[base.Transaction], None],
    *,
    type_id: str | None = None,
    reserved: Mapping[str, int] | None = None,
    largest: int = 0,
) -> None:
    """Commit the writes that ``add_writes_to`` adds, together with the deltas of the project's counters.

    Positive deltas raise OverQuota when a limit is in the way; negative ones are never refused. ``add_writes_to`` is
    called again, on a new transaction, when the limits had changed. ``reserved``: changes of the reserved part.
    ``largest``: the size in GiB of the largest volume among what is written; raises VolumeSizeExceedsLimit.
    """
    for attempt in range(ATTEMPTS):
        try:
            with base.Transaction() as transaction:
                add_writes_to(transaction)
                add_reservation_to(transaction, project_id, deltas, type_id=type_id, reserved=reserved, largest=largest)
            return
        except errors.QuotaChanged:
            if attempt == ATTEMPTS - 1:
                raise


def add_reservation_to(
    transaction: base.Transaction,
    project_id: str,
    deltas: Mapping[str, int],
    *,
    type_id: str | None = None,
    reserved: Mapping[str, int] | None = None,
    largest: int = 0,
) -> None:
    """Add the deltas to a transaction; it raises OverQuota, or QuotaChanged when it must be made again (``commit``)."""
    usage = rules.with_type(deltas, type_id)
    held = rules.with_type(reserved or {}, type_id)
    takes = any(delta > 0 for delta in [*usage.values(), largest])
    view = _read(project_id)[0] if takes else None
    if view is not None:
        _check_size(view, largest)
    if not usage and not held:
        return
    transaction.update(
        Quota(project_id, PROJECT),
        [*_actions(_USAGE, usage), *_actions(_RESERVED, held), *base.touched(Quota)],
        _condition(view, usage, held),
        lambda: _refused(project_id, usage, held),
    )


def add_release_to(transaction: base.Transaction, project_id: str, amounts: Mapping[str, int]) -> None:
    """Add the release of reserved amounts; no limit refuses it."""
    add_reservation_to(transaction, project_id, {name: -amount for name, amount in amounts.items()})


def _actions(counters: Any, deltas: Mapping[str, int]) -> list[Action]:
    return [counters[name].set((counters[name] | 0) + delta) for name, delta in deltas.items()]


def _condition(view: View | None, usage: Mapping[str, int], held: Mapping[str, int]) -> Condition:
    """The condition of an update; ``view`` is there when anything is taken."""
    condition = Quota.id.exists() if view is None else Quota.limits_version == view.version
    for name, delta in usage.items():
        condition &= _fits(view, name, delta) if view and delta > 0 else _USAGE[name] >= -delta
    for name, delta in held.items():
        if delta < 0:
            condition &= _RESERVED[name] >= -delta
    return condition


def _fits(view: View, name: str, delta: int) -> Condition:
    left = rules.ceiling(view.limit(name)) - delta
    fits: Condition = _USAGE[name] <= left
    return fits if left < 0 else fits | _USAGE[name].does_not_exist()


def _refused(project_id: str, usage: Mapping[str, int], held: Mapping[str, int]) -> Exception:
    """Return why a reservation's condition was lost; raise a counter that would have fallen below zero first."""
    view, record = _read(project_id)
    used = record.usage.attribute_values
    if refusal := _refusal(view, used, usage):
        return refusal
    _repair_counters(record, _USAGE, used, usage)
    _repair_counters(record, _RESERVED, record.reserved.attribute_values, held)
    return errors.QuotaChanged(project_id=project_id)


def _refusal(view: View, used: Mapping[str, int], deltas: Mapping[str, int]) -> errors.OverQuota | None:
    wanted = {name: used.get(name, 0) + delta for name, delta in deltas.items() if delta > 0}
    overflowing = sorted(name for name, total in wanted.items() if total > rules.MAX_USAGE)
    if overflowing:
        return errors.QuotaUsageOverflow(
            overs=sorted(shown_name(name) for name in overflowing), max_int=rules.MAX_USAGE
        )
    over = [name for name, total in wanted.items() if total > rules.ceiling(view.limit(name))]
    if not over:
        return None
    first = rules.search_order(over)[0]
    return rules.refusal(
        first, shown=shown_name(first), requested=deltas[first], limit=view.limit(first), used=used.get(first, 0)
    )


def _repair_counters(record: Quota, counters: Any, found: Mapping[str, int], deltas: Mapping[str, int]) -> None:
    """Raise counters that are lower than the release: a count that drifted must not keep a resource alive."""
    for name, delta in deltas.items():
        if delta < 0 and found.get(name, 0) < -delta:
            logger.error('quota of %s: %s is %s, but %s is released', record.project_id, name, found.get(name), -delta)
            known = counters[name] == found[name] if name in found else counters[name].does_not_exist()
            try:
                base.update(record, [counters[name].set(-delta)], known)
            except errors.StateChanged:
                logger.info('quota of %s: %s has just changed', record.project_id, name)


def _read(project_id: str) -> tuple[View, Quota]:
    """Read a project's record and the class that gives its defaults, in one call."""
    fetched = reading.take(*keys(project_id))
    found = Quota.batch_get([key[1:] for key in keys(project_id)], consistent_read=True) if fetched is None else fetched
    by_id = {one.id: one for one in found if isinstance(one, Quota)}
    record, shared = by_id.get(PROJECT) or _find(project_id, PROJECT), by_id.get(DEFAULT_CLASS)
    limits = {**defaults(), **(shared.limits if shared else {}), **record.limits}
    return View(limits, int(record.limits_version)), record


def keys(project_id: str) -> tuple[reading.Key, reading.Key]:
    """Return the keys of the records that a reservation reads, for ``reading.together``."""
    return Quota.key(project_id, PROJECT), Quota.key(base.GLOBAL, DEFAULT_CLASS)


def _find(project_id: str, id: str) -> Quota:
    """Return a quota record, made on first use: its maps must exist before a counter in them can be written."""
    with contextlib.suppress(DoesNotExist):
        return Quota.get(project_id, id, consistent_read=True)
    with contextlib.suppress(errors.StateChanged):
        made = Quota(project_id, id, created_at=base.now())
        base.put(made, Quota.id.does_not_exist())
        return made
    return Quota.get(project_id, id, consistent_read=True)


def check_volume_size(project_id: str, size: int) -> None:
    """Raise VolumeSizeExceedsLimit for a volume larger than the project's volumes may be, where nothing is reserved."""
    _check_size(_read(project_id)[0], size)


def _check_size(view: View, size: int) -> None:
    limit = view.limit('per_volume_gigabytes')
    if limit != rules.UNLIMITED and size > limit:
        raise errors.VolumeSizeExceedsLimit(size=size, limit=limit)


def limits(project_id: str) -> dict[str, int]:
    """Return the limits in force, those of volume types under the types' names."""
    view, _ = _read(project_id)
    return {shown_name(name): view.limit(name) for name in _resources()}


def usages(project_id: str) -> dict[str, dict[str, int]]:
    """Return {resource: {limit, in_use, reserved}}, those of volume types under the types' names."""
    view, record = _read(project_id)
    used, held = record.usage.attribute_values, record.reserved.attribute_values
    return {
        shown_name(name): {
            'limit': view.limit(name),
            'in_use': used.get(name, 0) - held.get(name, 0),
            'reserved': held.get(name, 0),
        }
        for name in _resources()
    }


def _resources() -> list[str]:
    return [*rules.DEFAULTS, *(f'{name}_{id}' for id in volume_types.names() for name in rules.PER_TYPE)]


def update(project_id: str, changes: Mapping[str, int]) -> dict[str, int]:
    """Set limits of a project; return all. Raises Invalid for one below what is in use, InvalidInput for a bad key."""
    stored = _stored_names(changes)
    used = usages(project_id)
    for name, limit in changes.items():
        # A type may be removed between the two readings of the types.
        in_use = used[name]['in_use'] + used[name]['reserved'] if name in used else 0
        if name not in rules.NOT_COUNTED and limit != rules.UNLIMITED and limit < in_use:
            raise errors.Invalid(
                f'Quota {name} limit must be equal or greater than existing resources. '
                f'Current usage is {in_use} and the requested limit is {limit}.'
            )
    _change_limits(project_id, PROJECT, lambda known: {**known, **stored})
    return limits(project_id)


def delete(project_id: str) -> None:
    """Give a project the default limits again; its counters stay."""
    _change_limits(project_id, PROJECT, lambda _: {})


def class_limits(name: str) -> dict[str, int]:
    """Return the limits of a quota class; only ``default`` has any effect, as in Cinder."""
    own = _find(base.GLOBAL, name).limits
    return {shown_name(resource): limit for resource, limit in {**defaults(), **own}.items()}


def update_class(name: str, changes: Mapping[str, int]) -> dict[str, int]:
    """Set limits of a quota class and return all."""
    stored = _stored_names(changes)
    _change_limits(base.GLOBAL, name, lambda known: {**known, **stored})
    return class_limits(name)


def _change_limits(project_id: str, id: str, change: Callable[[dict[str, int]], dict[str, int]]) -> None:
    for _ in range(ATTEMPTS):
        record = _find(project_id, id)
        actions = [Quota.limits.set(change(dict(record.limits))), Quota.limits_version.add(1), *base.touched(Quota)]
        try:
            base.update(record, actions, Quota.limits_version == record.limits_version)
        except errors.StateChanged:
            continue
        return
    raise errors.QuotaChanged(project_id=project_id)


def shown_name(resource: str) -> str:
    """Return a resource as users know it: a volume type by its name; a type that is gone by its id."""
    for prefix in rules.PER_TYPE:
        id = resource.removeprefix(f'{prefix}_')
        if id != resource:
            return f'{prefix}_{volume_types.shown_name(id) or id}'
    return resource


def _stored_names(changes: Mapping[str, int]) -> dict[str, int]:
    """Return changes under the names that are stored; raises InvalidInput for names of nothing."""
    volume_types.ensure_default()
    per_type = {
        f'{prefix}_{name}': f'{prefix}_{id}' for id, name in volume_types.names().items() for prefix in rules.PER_TYPE
    }
    known = {**{name: name for name in rules.DEFAULTS}, **per_type}
    bad = [name for name in changes if name not in known]
    if bad:
        raise errors.InvalidInput(reason=f'Bad key(s) in quota set: {", ".join(sorted(bad))}')
    return {known[name]: limit for name, limit in changes.items()}
