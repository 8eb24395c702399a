"""Bodies of attachments."""

from __future__ import annotations

from chalicelib.api import parameters as p
from chalicelib.api.schema import since

CREATE = p.only(
    'attachment',
    p.members(
        {
            'instance_uuid': p.UUID,
            'connector': p.bounded('attachment.connector', {'type': ['object', 'null']}),
            'volume_uuid': p.UUID,
            'mode': since('3.54', {'type': 'string', 'enum': ['rw', 'ro']}),
        },
        required=('volume_uuid',),
    ),
)

_CONNECTOR = p.bounded('attachment.connector', {'type': 'object', 'minProperties': 1})

UPDATE = p.only('attachment', p.members({'connector': _CONNECTOR}, required=('connector',)))
