"""Bodies of volume transfers."""

from __future__ import annotations

from chalicelib.api import parameters as p
from chalicelib.api.schema import since

_OFFER = {'volume_id': p.UUID, 'name': p.NAME}

#: For the older API.
CREATE_OLD = p.only('transfer', p.members(_OFFER, required=('volume_id',)))

CREATE = p.only('transfer', p.members({**_OFFER, 'no_snapshots': since('3.55', p.BOOLEAN)}, required=('volume_id',)))

ACCEPT = p.only(
    'accept', p.members({'auth_key': {'type': ['string', 'integer'], 'maxLength': p.LONGEST}}, required=('auth_key',))
)
