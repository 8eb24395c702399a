"""Bodies of groups, their snapshots and their actions, and of the legacy consistency groups."""

from __future__ import annotations

from typing import Any

from chalicelib.api import parameters as p

_TEXTS: dict[str, Any] = {'name': p.SHORT_TEXT, 'description': p.PRINTABLE_TEXT}

CREATE = p.only(
    'group',
    p.members(
        {
            **_TEXTS,
            'group_type': p.NAME_REQUIRED,
            'volume_types': p.bounded(
                'group.volume_type_ids',
                {
                    'type': 'array',
                    'minItems': 1,
                    'uniqueItems': True,
                    'items': {'type': 'string', 'maxLength': 255},
                },
            ),
            'availability_zone': p.SHORT_TEXT,
        },
        required=('group_type', 'volume_types'),
    ),
)

#: Ids in one text, separated by commas: six fit into 255 characters.
_IDS = p.PRINTABLE_TEXT

UPDATE = p.only(
    'group',
    p.members(
        {**_TEXTS, 'add_volumes': _IDS, 'remove_volumes': _IDS},
        **p.any_of('name', 'description', 'add_volumes', 'remove_volumes'),
    ),
)

CREATE_FROM_SRC = p.only(
    'create-from-src',
    p.members(
        {**_TEXTS, 'source_group_id': p.UUID, 'group_snapshot_id': p.UUID},
        oneOf=[{'required': ['group_snapshot_id']}, {'required': ['source_group_id']}],
    ),
)

DELETE = p.members({'delete-volumes': p.BOOLEAN})

RESET_STATUS = p.members({'status': {'type': 'string', 'format': 'group_status'}}, required=('status',))

SNAPSHOT_RESET_STATUS = p.members(
    {'status': {'type': 'string', 'format': 'group_snapshot_status'}}, required=('status',)
)

FAILOVER = p.members({'allow_attached_volume': p.BOOLEAN, 'secondary_backend_id': p.SHORT_TEXT})

#: Members are ignored.
EMPTY: dict[str, Any] = {'type': 'object', 'properties': {}}

CREATE_SNAPSHOT = p.only('group_snapshot', p.members({**_TEXTS, 'group_id': p.UUID}, required=('group_id',)))

#: Ids in one text, separated by commas, as many as a group has members.
_OLD_IDS: dict[str, Any] = {'type': ['string', 'null'], 'maxLength': 4096}

#: The legacy API ignores unknown members.
OLD_CREATE = p.only(
    'consistencygroup',
    p.members(
        {**_TEXTS, 'volume_types': _OLD_IDS, 'availability_zone': p.SHORT_TEXT},
        required=('volume_types',),
        strict=False,
    ),
)

OLD_UPDATE = p.only(
    'consistencygroup', p.members({**_TEXTS, 'add_volumes': _OLD_IDS, 'remove_volumes': _OLD_IDS}, strict=False)
)

OLD_DELETE = p.only('consistencygroup', p.members({'force': p.BOOLEAN}, strict=False))

#: python-cinderclient sends both, one of them null.
OLD_CREATE_FROM_SRC = p.only(
    'consistencygroup-from-src',
    p.members(
        {**_TEXTS, 'cgsnapshot_id': p.SHORT_TEXT, 'source_cgid': p.SHORT_TEXT},
        strict=False,
    ),
)

OLD_CREATE_SNAPSHOT = p.only(
    'cgsnapshot',
    p.members(
        {
            'consistencygroup_id': {'type': 'string', 'maxLength': p.LONGEST},
            'name': {'type': ['string', 'null'], 'maxLength': 255},
            'description': {'type': ['string', 'null'], 'maxLength': 255},
        },
        required=('consistencygroup_id',),
        strict=False,
    ),
)
