"""Request bodies: what is accepted, and that a refusal has the exact text of jsonschema, which Cinder uses."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.api import parameters as p
from chalicelib.api.formats import FORMATS, REFUSALS, is_base64, is_uuid
from chalicelib.api.resources import routes
from chalicelib.api.schema import BodySchema, at
from chalicelib.api.schemas import backups, volumes
from chalicelib.errors import Invalid, InvalidInput

UUID = '015d3a19-98f9-4b6a-85df-808a1286bb51'


def refusal(schema: dict[str, Any], body: Any, version: tuple[int, int] = (3, 71)) -> str | None:
    try:
        BodySchema(schema).check(body, version)
    except Invalid as error:
        return error.message
    return None


def jsonschema_says(schema: dict[str, Any], body: Any) -> str | None:
    """What Cinder's validator makes of jsonschema's first error."""
    formats = jsonschema.FormatChecker(formats=())
    for name, check in FORMATS.items():
        formats.checks(name)(lambda value, check=check: not isinstance(value, str) or check(value))
    error = next(jsonschema.Draft4Validator(schema, format_checker=formats).iter_errors(body), None)
    if error is None:
        return None
    if error.validator == 'format' and error.validator_value in REFUSALS:
        return REFUSALS[error.validator_value](error.instance).message
    if not error.path:
        return error.message
    return f'Invalid input for field/attribute {error.path[-1]}. Value: {error.instance}. {error.message}'


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 3),
    st.just(0x80000000),
    st.sampled_from(['', 'x', '1', '01', 'true', 'nope', UUID, 'a' * 256, 'a\nb']),
    st.lists(st.sampled_from([UUID, 'x', 1]), max_size=2),
    st.dictionaries(st.sampled_from(['k', 'a.b', 'a@b', 'a.b@', '']), st.sampled_from(['v', 1, None, 'v' * 256])),
)


def bodies(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Bodies near a schema: its own names with values of every kind, and a name that it lacks."""
    if 'properties' not in schema:
        return VALUES
    members = {name: st.one_of(bodies(part), VALUES) for name, part in schema['properties'].items()}
    return st.fixed_dictionaries({}, optional={**members, 'zzz': VALUES})


SCHEMAS = [route.schema.schema for route in routes() if route.schema is not None]


@pytest.mark.parametrize('index', range(len(SCHEMAS)))
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_refusals_are_jsonschemas(index: int, data: st.DataObject) -> None:
    schema = at(SCHEMAS[index], (3, 71))
    body = data.draw(st.one_of(bodies(schema), VALUES))
    assert refusal(SCHEMAS[index], body) == jsonschema_says(schema, body)


@pytest.mark.parametrize(
    ('body', 'message'),
    [
        ([], "[] is not of type 'object'"),
        (None, "None is not of type 'object'"),
        ({}, "'volume' is a required property"),
        ({'volume': {'size': 1}, 'zzz': 1}, "Additional properties are not allowed ('zzz' was unexpected)"),
        (
            {'volume': {'size': -1}},
            'Invalid input for field/attribute size. Value: -1. -1 is less than the minimum of 1',
        ),
        (
            {'volume': {'size': 1, 'snapshot_id': 'x'}},
            "Invalid input for field/attribute snapshot_id. Value: x. 'x' is not valid under any of the given schemas",
        ),
        (
            {'volume': {'size': 1, 'metadata': {'a.b': 1}}},
            "Invalid input for field/attribute a.b. Value: 1. 1 is not of type 'string'",
        ),
    ],
)
def test_cinders_words(body: Any, message: str) -> None:
    assert refusal(volumes.create(strict=True), body) == message


def test_a_members_error_comes_before_its_objects() -> None:
    body = {'volume': {'size': -1, 'foo': 1}, 'zzz': 1}
    message = refusal(volumes.create(strict=True), body)
    assert message is not None
    assert 'attribute size' in message


def test_long_names_are_measured_without_blanks() -> None:
    schema = p.only('volume', p.members({'name': p.NAME}))
    assert refusal(schema, {'volume': {'name': ' ' * 300 + 'x' * 255}}) is None
    with pytest.raises(InvalidInput, match='name has 256 characters, more than 255'):
        BodySchema(schema).check({'volume': {'name': 'x' * 256}}, (3, 71))


@pytest.mark.parametrize(('version', 'fits'), [((3, 42), False), ((3, 43), True), ((3, 71), True)])
def test_a_member_that_came_later(version: tuple[int, int], fits: bool) -> None:
    body = {'backup': {'volume_id': UUID, 'metadata': {}}}
    message = refusal(backups.CREATE, body, version)
    assert (message is None) == fits
    assert fits or "('metadata' was unexpected)" in str(message)


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        (UUID, True),
        (UUID.replace('-', ''), True),
        (f'{{{UUID}}}', True),
        (UUID.upper(), True),
        ('x', False),
        ('', False),
    ],
)
def test_uuid(text: str, expected: bool) -> None:
    assert is_uuid(text) is expected


@pytest.mark.parametrize(('text', 'expected'), [('eyJ9', True), ('e', False), ('####', True), ('/w==', True)])
def test_base64(text: str, expected: bool) -> None:
    assert is_base64(text) is expected


@pytest.mark.parametrize('value', [0, 1, None, 'maybe', 1.0, [], {}])
def test_what_is_no_boolean(value: Any) -> None:
    assert refusal({'type': 'object', 'properties': {'force': p.BOOLEAN}}, {'force': value}) is not None


@pytest.mark.parametrize(('value', 'meaning'), [(True, True), ('yes', True), (False, False), ('off', False)])
def test_what_a_boolean_means(value: bool | str, meaning: bool) -> None:
    assert p.is_yes(value) is meaning


def test_a_size_beyond_any_database() -> None:
    with pytest.raises(InvalidInput, match='greater than the maximum'):
        p.size('9' * 5000)
    assert p.size('2147483647') == 0x7FFFFFFF
