"""Common parts of bodies as JSON schemas. Limits and words are Cinder's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chalicelib.errors import InvalidInput

Schema = dict[str, Any]

#: Texts accepted as yes and no, besides JSON's true and false.
YES = ('True', 'TRUE', 'true', '1', 'ON', 'On', 'on', 'YES', 'Yes', 'yes', 'y', 't')
NO = ('False', 'FALSE', 'false', '0', 'OFF', 'Off', 'off', 'NO', 'No', 'no', 'n', 'f')

BOOLEAN: Schema = {'type': ['boolean', 'string'], 'enum': [True, *YES, False, *NO]}

#: For an action without parameters: the value is ignored.
ANYTHING: Schema = {}

#: The largest integer in Cinder's database.
MAX_INT = 0x7FFFFFFF

#: Names the bound of a part of a body.
BOUND = 'x-bound'

UUID: Schema = {'type': 'string', 'format': 'uuid'}
OPTIONAL_UUID: Schema = {'oneOf': [{'type': 'null'}, UUID]}

#: Unicode without control characters.
PRINTABLE = '^[^\x00-\x1f\x7f-\x9f]*$'

#: The length of volumes' names and descriptions does not count blanks around them.
NAME: Schema = {'type': ['string', 'null'], 'format': 'short_name'}
DESCRIPTION: Schema = {'type': ['string', 'null'], 'format': 'short_description'}

#: The length of those of snapshots, backups and types counts all characters.
LONGEST = 255
SHORT_TEXT: Schema = {'type': ['string', 'null'], 'minLength': 0, 'maxLength': 255}
PRINTABLE_TEXT: Schema = {**SHORT_TEXT, 'pattern': PRINTABLE}

#: The folder of a backup's objects: a part of S3 keys, which are measured in bytes and listed as XML.
CONTAINER: Schema = {**PRINTABLE_TEXT, 'format': 'container'}
NAME_REQUIRED: Schema = {'type': 'string', 'minLength': 1, 'maxLength': 255}

SIZE: Schema = {'type': ['integer', 'string'], 'pattern': '^[0-9]+$', 'minimum': 1, 'maximum': MAX_INT}

METADATA_KEY = '^[a-zA-Z0-9-_:. /]{1,255}$'
#: Without the slash.
SNAPSHOT_METADATA_KEY = '^[a-zA-Z0-9-_:. ]{1,255}$'
EXTRA_SPEC_KEY = '^[a-zA-Z0-9-_:.]{1,255}$'


def members(properties: Schema, *, required: tuple[str, ...] = (), strict: bool = True, **rules: Any) -> Schema:
    """Return the schema of an object with these members; ``strict`` refuses others."""
    needs = {'required': list(required)} if required else {}
    return {'type': 'object', 'properties': properties, **needs, 'additionalProperties': not strict, **rules}


def only(name: str, schema: Schema, **others: Schema) -> Schema:
    """Return the schema of a body with the required member ``name``, and optional others."""
    return members({name: schema, **others}, required=(name,))


def nullable(schema: Schema) -> Schema:
    """Return the schema, or null."""
    return {**schema, 'type': [schema['type'], 'null']}


def size(value: int | str) -> int:
    """Return a SIZE in GiB. A text may be of any length: beyond any integer of the database raises InvalidInput."""
    if len(str(value)) > len(str(MAX_INT)) or int(value) > MAX_INT:
        raise InvalidInput(reason=f'The size {str(value)[:32]} is greater than the maximum of {MAX_INT}.')
    return int(value)


def pairs(key: str, value: Schema, **rules: Any) -> Schema:
    """Return the schema of an object whose keys match the pattern ``key``."""
    return {'type': 'object', 'patternProperties': {key: value}, 'additionalProperties': False, **rules}


def bounded(name: str, schema: Schema) -> Schema:
    """Return a part of a body with a bound of rules/bounds.py: ``<resource>.<attribute>``, or a name of ``PARTS``."""
    return {**schema, BOUND: name}


def metadata(key: str = METADATA_KEY, of: str = 'volume', **rules: Any) -> Schema:
    """User metadata of a resource: short strings by name."""
    return bounded(f'{of}.metadata', pairs(key, {'type': 'string', 'maxLength': 255}, **rules))


def any_of(*names: str) -> dict[str, Any]:
    """Return the rule that at least one of these members is required."""
    return {'anyOf': [{'required': [name]} for name in names]}


def is_yes(value: bool | str) -> bool:
    """Return the meaning of a BOOLEAN."""
    return value is True or value in YES


def stripped(body: Mapping[str, Any], name: str) -> str | None:
    """Return a name or description without blanks around it; the v1 API's ``display_...`` counts where it is absent."""
    text: str | None = body.get(name) if name in body else body.get(f'display_{name}')
    return text if text is None else text.strip()


def texts(body: Mapping[str, Any]) -> dict[str, str | None]:
    """Return name and description of the body, in either spelling."""
    given = [name for name in ('name', 'description') if name in body or f'display_{name}' in body]
    return {name: stripped(body, name) for name in given}
