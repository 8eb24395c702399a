"""Bounds of every attribute of every record, so that a record always keeps space for its own end.

DynamoDB refuses an item above 400 KiB. A record that a user fills to that limit cannot change its status any more, and
so cannot be deleted. What a local secondary index repeats of an item counts, too, and ``by_created_at`` repeats all of
it: the records that are listed have 200 KiB (Amazon DynamoDB Developer Guide, Constraints, Items).

Hence each attribute has a bound in UTF-8 bytes as it is stored, maps and lists one in entries too, and the bounds of a
record add up to less than ``RECORD`` or ``LISTED``. Cinder's own limits (255 characters for a name) hold before these.

What a user sends beyond a bound is refused with AttributeTooLarge, which names the limit. A text that the service
writes (``cut``) is shortened instead: an error text must never be the reason that a record cannot be written.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from chalicelib import errors

KIB = 1024

#: Bytes that the attributes of one record may take together: DynamoDB's 400 KiB without an eighth.
RECORD = 350 * KIB

#: The same for a record that the index ``by_created_at`` repeats.
LISTED = 190 * KIB


class Bound(NamedTuple):
    """At most ``size`` bytes, ``entries`` members, and ``each`` bytes in every text inside a map or list."""

    size: int
    entries: int | None = None
    each: int | None = None
    #: The service writes it: a longer text is shortened.
    cut: bool = False


#: A text that has no row of its own: 255 characters of four bytes each, and some more.
TEXT = Bound(KIB)
#: A key, a status, a timestamp.
WORD = Bound(255)

#: What the service knows of work under way; the scheduler hints of a new volume are part of it.
OPERATION = Bound(48 * KIB)
METADATA = Bound(32 * KIB, entries=128, each=KIB)
SPECS = Bound(64 * KIB, entries=256, each=KIB)

#: Attributes that mean the same in every record.
COMMON: Mapping[str, Bound] = {
    'project_id': WORD,
    'id': TEXT,
    'created_at': WORD,
    'updated_at': WORD,
    'status': WORD,
    'previous_status': WORD,
    'in_flight': WORD,
    'deadline': WORD,
    'owner': WORD,
    'user_id': WORD,
    'metadata': METADATA,
    'operation': OPERATION,
    #: {'resource', 'project_id', 'id', 'request_id'}.
    'reading': Bound(2 * KIB, entries=8),
    #: One number for each range of a volume's data that is copied.
    'progress': Bound(8 * KIB, entries=300),
    # Ids and timestamps.
    **dict.fromkeys(
        (
            'attach_status',
            'backup_id',
            'encryption_key_id',
            'group_id',
            'launched_at',
            'migration_status',
            'name_id',
            'replication_status',
            'reserved_type_id',
            'scheduled_at',
            'snapshot_id',
            'source_volid',
            'terminated_at',
            'transfer_id',
            'volume_id',
            'volume_type_id',
            'write_token',
            'write_token_1',
            'write_token_2',
        ),
        WORD,
    ),
}

#: Resource -> attribute -> bound. A map or a list must be here or in COMMON.
BOUNDS: Mapping[str, Mapping[str, Bound]] = {
    'volume': {
        'admin_metadata': Bound(4 * KIB, entries=16, each=KIB),
        'volume_image_metadata': Bound(32 * KIB, entries=256),
        'attachments': Bound(24 * KIB, entries=64),
        # At most 32 are made; attachments that could not be made may leave more, which end later.
        'exports': Bound(22 * KIB, entries=64),
        'reserved_snapshots': Bound(255, entries=2),
        'provider_id': Bound(2 * KIB),
        'provider_location': Bound(2 * KIB),
    },
    'attachment': {
        'connector': Bound(16 * KIB, entries=64, each=KIB),
        'connection_info': Bound(64 * KIB, entries=256),
        'sealed': Bound(32 * KIB),
    },
    'snapshot': {
        'metadata': Bound(16 * KIB, entries=128, each=KIB),
        'operation': Bound(8 * KIB),
        'provider_id': Bound(2 * KIB),
        'progress': WORD,
    },
    'backup': {
        'location': Bound(4 * KIB, entries=8, each=KIB),
        'scrub': Bound(8 * KIB),
        'drill': Bound(8 * KIB),
        'fail_reason': Bound(4 * KIB, cut=True),
    },
    'volume_type': {
        'extra_specs': SPECS,
        # 3,000 projects of 32 digits each.
        'projects': Bound(108 * KIB, entries=3000, each=255),
        'encryption': Bound(4 * KIB, entries=16, each=KIB),
    },
    'group_type': {'group_specs': SPECS},
    'qos_specs': {'specs': SPECS},
    'group': {'volume_type_ids': Bound(16 * KIB, entries=256, each=255)},
    'backup_schedule': {'keep': Bound(KIB, entries=8), 'last_error': Bound(4 * KIB, cut=True)},
    'message': {'user_message': Bound(4 * KIB, cut=True), 'explanation': Bound(64 * KIB, cut=True)},
    'quota': {
        'limits': Bound(100 * KIB, entries=2000, each=KIB),
        'usage': Bound(100 * KIB),
        'reserved': Bound(100 * KIB),
    },
    'pool': {
        'report': Bound(128 * KIB),
        'warning': Bound(4 * KIB, cut=True),
        'leftovers': Bound(128 * KIB),
    },
    'service': {
        'disabled_reason': TEXT,
        # Fifty findings of each kind (operations/reconciliations.py).
        'reconciliation': Bound(96 * KIB),
        'reconciliation_confirmed': Bound(32 * KIB),
    },
    'operation': {
        'resource_name': TEXT,
        'first': Bound(2 * KIB),
        'last': Bound(2 * KIB),
        # models/operation_log.py cuts its texts.
        'end': Bound(64 * KIB),
        'end_of_group': Bound(64 * KIB),
    },
    'secret': {'sealed': Bound(8 * KIB)},
    'idempotency_key': {
        'begun': Bound(2 * KIB),
        'kept': Bound(8 * KIB),
        'headers': Bound(8 * KIB),
        # operations/idempotency.py stores answers of up to 128 KiB, or 32 KiB sealed.
        'body': Bound(128 * KIB),
        'sealed': Bound(64 * KIB),
        **dict.fromkeys(('fingerprint', 'holder'), WORD),
    },
}

#: Volume types of the cloud. A project's usage counts three figures of each type that it uses, 210 bytes.
VOLUME_TYPES = 400

#: The scheduler hints of a request for a volume, which become part of its operation.
HINTS = Bound(8 * KIB, entries=32)

#: The reference of an existing object that is brought under management.
REFERENCE = Bound(4 * KIB, entries=16, each=KIB)

#: Bounds of parts of a body that are not attributes themselves, by the name that a refusal gives them.
PARTS: Mapping[str, Bound] = {
    'scheduler_hints': HINTS,
    'ref': REFERENCE,
    # The request has name and consumer among the specs.
    'qos_specs': Bound(SPECS.size + KIB, entries=(SPECS.entries or 0) + 2, each=SPECS.each),
}


def of(resource: str, attribute: str) -> Bound | None:
    """Return the bound of a record's attribute that has a row of its own, else None: ``TEXT`` holds for a text."""
    return BOUNDS.get(resource, {}).get(attribute) or COMMON.get(attribute)


def check(resource: str, attribute: str, value: Any) -> None:
    """Raise AttributeTooLarge for a value, as JSON knows it, beyond its attribute's bound."""
    check_bound(f'{resource} {attribute}', of(resource, attribute) or TEXT, value)


def check_types(count: int) -> None:
    """Raise AttributeTooLarge for more volume types than a cloud may have."""
    if count > VOLUME_TYPES:
        raise errors.AttributeTooLarge(name='The list of volume types', limit=f'{VOLUME_TYPES} entries', found=count)


def check_part(name: str, value: Any) -> None:
    """Raise AttributeTooLarge for a part of a body beyond its bound; ``name``: of ``PARTS``, or an attribute."""
    resource, _, attribute = name.rpartition('.')
    if resource:
        check(resource, attribute, value)
    else:
        check_bound(name, PARTS[name], value)


def check_bound(name: str, bound: Bound, value: Any) -> None:
    """Raise AttributeTooLarge, with the limit and what was found, for a value beyond ``bound``."""
    if value is None:
        return
    if isinstance(value, dict | list) and bound.entries is not None and len(value) > bound.entries:
        raise errors.AttributeTooLarge(name=name, limit=f'{bound.entries} entries', found=len(value))
    longest = max((size_of(text) for text in _texts(value)), default=0) if bound.each is not None else 0
    if bound.each is not None and longest > bound.each:
        raise errors.AttributeTooLarge(name=name, limit=f'{bound.each} bytes in one text', found=longest)
    if (size := size_of(value)) > bound.size:
        raise errors.AttributeTooLarge(name=name, limit=f'{bound.size} bytes', found=size)


def fitting(resource: str, attribute: str, value: Mapping[str, Any]) -> dict[str, Any]:
    """Return the map without its last entries, as many as are beyond the bound, and without texts that are too long.

    For what comes from outside a request, such as a manifest that another deployment wrote.
    """
    bound = of(resource, attribute) or TEXT
    kept: dict[str, Any] = {}
    for key, inner in value.items():
        try:
            check_bound(attribute, bound, {**kept, key: inner})
        except errors.AttributeTooLarge:
            continue
        kept[key] = inner
    return kept


def size_of(value: Any) -> int:
    """Return the UTF-8 bytes that a value takes in a record: a text's own, anything else's as JSON."""
    text = value if isinstance(value, str) else json.dumps(value)
    return len(text.encode(errors='surrogatepass'))


def shortened(text: str, size: int) -> str:
    """Return as much of a text's beginning as fits in ``size`` bytes of UTF-8."""
    return text.encode(errors='replace')[:size].decode(errors='ignore')


def _texts(value: Any) -> Iterator[str]:
    """Every text in a value, keys included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield str(key)
            yield from _texts(inner)
    elif isinstance(value, list | tuple | set):
        for inner in value:
            yield from _texts(inner)
