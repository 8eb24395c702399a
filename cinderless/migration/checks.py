"""What a plan finds out of the refusals of a run: taken ids and names, records that are too large or changed here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from chalicelib import errors, models
from chalicelib.models import Name, base, bounded
from chalicelib.operations import volume_types
from cinderless.migration import counters, overlays
from cinderless.migration.items import Item
from cinderless.migration.ledger import Mark

Key = tuple[str, str, str]

TAKEN = 'its id or name is taken here, or it was changed here since it was brought'
CHANGED = 'it was changed or deleted here since it was brought'

#: Keys that DynamoDB's BatchGetItem takes.
_BATCH = 100


def record_of(item: Item) -> Any:
    """Return the record of an item without its secret. Raises AttributeTooLarge."""
    record = getattr(models, item.kind)(item.project_id, item.id, **item.values)
    bounded.fit_record(record)
    return record


def refused(items: Iterable[Item], marks: Mapping[Key, Mark]) -> dict[Key, str]:
    """Return the reasons for which a run would not write items, by the items' keys."""
    wanted = [item for item in items if item.kind not in overlays.KINDS]
    found = {item.key: reason for item in wanted if (reason := _too_large(item))}
    existing = _existing(wanted)
    for item in wanted:
        mark, record = marks.get(item.key), existing.get(item.key)
        if mark is None and record is not None:
            found[item.key] = TAKEN
        elif mark is not None and (record is None or int(record.revision) != mark.revision):
            found[item.key] = CHANGED
    return found | dict.fromkeys(_with_taken_names(wanted), TAKEN)


def _too_large(item: Item) -> str:
    try:
        record_of(item)
    except errors.AttributeTooLarge as error:
        return str(error)
    return ''


def _existing(items: Iterable[Item]) -> dict[Key, Any]:
    by_kind: dict[str, list[tuple[str, str]]] = {}
    for item in items:
        by_kind.setdefault(item.kind, []).append((item.project_id, item.id))
    return {
        (kind, str(record.project_id), str(record.id)): record
        for kind, keys in by_kind.items()
        for record in _batches(getattr(models, kind), keys)
    }


def _with_taken_names(items: Iterable[Item]) -> Iterator[Key]:
    """Yield the keys of items whose unique name another record has."""
    names = {item.key: name for item in items if (name := counters.name_of(*item.key, item.values))}
    found = _batches(Name, list({(base.GLOBAL, id) for id, _ in names.values()}))
    owners = {str(name.id): str(name.owner) for name in found}
    replaced = volume_types.generated_default_id()  # the first run removes this type, unless it is in use
    for key, (id, owner) in names.items():
        if owners.get(id) not in (None, owner, replaced):
            yield key


def _batches(kind: Any, keys: list[tuple[str, str]]) -> Iterator[Any]:
    for start in range(0, len(keys), _BATCH):
        yield from kind.batch_get(keys[start : start + _BATCH], consistent_read=True)
