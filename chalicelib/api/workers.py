"""Clean-up after services that died.

Work does not belong to a service but to a state machine, and the reconciler resumes what a dead process leaves within a
minute. So services never have anything to clean, as the answer shows.
"""

from __future__ import annotations

from typing import Any

from chalicelib import errors
from chalicelib.api import parameters as p
from chalicelib.api.request import Request
from chalicelib.api.resource import Resource

workers = Resource('workers')

_HOST = {'type': ['string', 'null'], 'minLength': 1, 'maxLength': 255, 'pattern': '^[a-zA-Z0-9-._#@:/+]*$'}

CLEANUP = p.members(
    {
        'cluster_name': _HOST,
        'disabled': p.BOOLEAN,
        'host': _HOST,
        'is_up': p.BOOLEAN,
        'binary': {'enum': ['cinder-volume', 'cinder-scheduler']},
        'resource_id': p.OPTIONAL_UUID,
        'resource_type': {'type': ['string', 'null'], 'minLength': 0, 'maxLength': 40},
        'service_id': {'type': ['integer', 'string', 'null'], 'pattern': '^[0-9]*$', 'maxLength': 11},
    }
)

#: The resources that Cinder's services clean up.
RESOURCE_TYPES = ('Snapshot', 'Volume')


@workers.post('/cleanup', policy='workers:cleanup', schema=CLEANUP, status=202, since='3.24')
def cleanup(request: Request) -> dict[str, Any]:
    kind = request.body.get('resource_type')
    if kind and kind.title() not in RESOURCE_TYPES:
        valid = ' or '.join(RESOURCE_TYPES)
        raise errors.InvalidInput(reason=f'Resource type {kind.title()} not valid, must be {valid}')
    if request.body.get('resource_id') and not kind:
        raise errors.InvalidInput(reason='Must specify resource_type with resource_id')
    return {'cleaning': [], 'unavailable': []}
