"""Bodies of snapshots and their actions."""

from __future__ import annotations

from chalicelib.api import parameters as p

_TEXTS = {
    'name': p.SHORT_TEXT,
    'description': p.PRINTABLE_TEXT,
    'display_name': p.SHORT_TEXT,
    'display_description': p.PRINTABLE_TEXT,
}

CREATE = p.only(
    'snapshot',
    p.members(
        {
            'name': p.SHORT_TEXT,
            'display_name': p.SHORT_TEXT,
            'description': p.PRINTABLE_TEXT,
            'volume_id': p.OPTIONAL_UUID,
            'force': p.BOOLEAN,
            'metadata': p.nullable(p.metadata(of='snapshot')),
        },
        required=('volume_id',),
    ),
)

UPDATE = p.only('snapshot', p.members(_TEXTS, **p.any_of(*_TEXTS)))

METADATA = p.only('metadata', p.metadata(p.SNAPSHOT_METADATA_KEY, of='snapshot'))
META = p.only('meta', p.metadata(p.SNAPSHOT_METADATA_KEY, of='snapshot', minProperties=1, maxProperties=1))

RESET_STATUS = p.members({'status': {'type': 'string', 'format': 'snapshot_status'}}, required=('status',))

UPDATE_STATUS = p.members(
    {
        'status': {'type': 'string', 'maxLength': p.LONGEST},
        'progress': {'type': ['string', 'null'], 'format': 'percentage'},
    },
    required=('status',),
)
