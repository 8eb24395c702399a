"""Bodies that bring existing objects under management."""

from __future__ import annotations

from chalicelib.api import parameters as p

_HOST = {'type': ['string', 'null'], 'minLength': 1, 'maxLength': 255, 'pattern': r'^[a-zA-Z0-9-._#@:/+\[\]]*$'}

_VOLUME = {
    'description': p.PRINTABLE_TEXT,
    'availability_zone': p.SHORT_TEXT,
    'bootable': p.BOOLEAN,
    'volume_type': p.SHORT_TEXT,
    'name': p.SHORT_TEXT,
    'host': _HOST,
    'ref': p.bounded('ref', {'type': ['object', 'string']}),
    'metadata': p.nullable(p.metadata()),
}


def _volume(**more: p.Schema) -> p.Schema:
    return p.only('volume', p.members({**_VOLUME, **more}, required=('ref',)))


VOLUME = _volume()
#: From 3.16 on a cluster may be named.
VOLUME_CLUSTER = _volume(cluster=p.SHORT_TEXT)

SNAPSHOT = p.only(
    'snapshot',
    p.members(
        {
            'description': p.PRINTABLE_TEXT,
            'metadata': p.nullable(p.metadata(of='snapshot')),
            'name': p.SHORT_TEXT,
            'volume_id': p.UUID,
            'ref': p.bounded('ref', {'type': ['object', 'null', 'string']}),
        },
        required=('volume_id', 'ref'),
    ),
)
