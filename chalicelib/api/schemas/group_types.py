"""Bodies of group types and their group specs."""

from __future__ import annotations

from chalicelib.api import parameters as p

_SPEC = {'type': ['string', 'null'], 'maxLength': 255}


def _specs(key: str, value: p.Schema) -> p.Schema:
    return p.bounded('group_type.group_specs', p.pairs(key, value))


CREATE = p.only(
    'group_type',
    p.members(
        {
            'name': {**p.NAME_REQUIRED, 'format': 'type_name'},
            'description': p.PRINTABLE_TEXT,
            'is_public': p.BOOLEAN,
            'group_specs': p.nullable(_specs(p.METADATA_KEY, {'type': 'string', 'maxLength': 255})),
        },
        required=('name',),
    ),
)

UPDATE = p.only(
    'group_type',
    p.members({'name': p.SHORT_TEXT, 'description': p.PRINTABLE_TEXT, 'is_public': p.BOOLEAN}),
)

GROUP_SPECS = p.only('group_specs', _specs(p.EXTRA_SPEC_KEY, _SPEC))
GROUP_SPEC = _specs(p.EXTRA_SPEC_KEY, _SPEC)
