"""Bodies of volume types, their extra specs and their projects."""

from __future__ import annotations

from chalicelib.api import parameters as p


def _specs(key: str) -> p.Schema:
    return p.bounded('volume_type.extra_specs', p.pairs(key, {'type': ['string', 'null'], 'maxLength': 255}))


CREATE = p.only(
    'volume_type',
    p.members(
        {
            'name': {**p.NAME_REQUIRED, 'format': 'type_name'},
            'description': p.PRINTABLE_TEXT,
            'extra_specs': _specs(p.METADATA_KEY),
            'os-volume-type-access:is_public': p.BOOLEAN,
        },
        required=('name',),
    ),
)

UPDATE = p.only(
    'volume_type',
    p.members(
        {
            'name': {'type': ['string', 'null'], 'minLength': 1, 'maxLength': 255},
            'description': p.PRINTABLE_TEXT,
            'is_public': p.BOOLEAN,
        }
    ),
)

EXTRA_SPECS = p.only('extra_specs', _specs(p.EXTRA_SPEC_KEY))
EXTRA_SPEC = _specs(p.EXTRA_SPEC_KEY)

PROJECT = p.members({'project': p.NAME_REQUIRED}, required=('project',))

_ENCRYPTION = {
    'key_size': {'type': ['string', 'integer', 'null'], 'minimum': 0, 'maximum': p.MAX_INT, 'format': 'key_size'},
    'provider': {'type': 'string', 'minLength': 0, 'maxLength': 255},
    'control_location': {'enum': ['front-end', 'back-end']},
    'cipher': p.SHORT_TEXT,
}

CREATE_ENCRYPTION = p.only(
    'encryption', p.members(_ENCRYPTION, required=('provider', 'control_location'), strict=False)
)
UPDATE_ENCRYPTION = p.only('encryption', p.members(_ENCRYPTION, strict=False))
