"""Every attribute of every record has a bound, and no record can be filled so far that it cannot be ended."""

from __future__ import annotations

import pytest
from pynamodb.attributes import (
    Attribute,
    BooleanAttribute,
    JSONAttribute,
    MapAttribute,
    NumberAttribute,
    UnicodeAttribute,
    UnicodeSetAttribute,
)

from chalicelib import errors, models
from chalicelib.models import base
from chalicelib.rules import bounds

RECORDS: list[type[base.Record]] = [table for table in models.TABLES if issubclass(table, base.Record)]

#: Bytes of a number or a boolean, at most (DynamoDB: 21 for a number).
NUMBER = 32

#: DynamoDB's limits of one item, and of the items of one transaction together.
ITEM, TRANSACTION = 400 * bounds.KIB, 4 * 1024 * bounds.KIB


def bytes_of(kind: type[base.Record], name: str, attribute: Attribute) -> int:
    """The most that an attribute can take, with its name."""
    if isinstance(attribute, NumberAttribute | BooleanAttribute):
        return len(name) + NUMBER
    bound = bounds.of(kind.resource, name) or bounds.TEXT
    return len(name) + bound.size


def most(kind: type[base.Record]) -> int:
    return sum(bytes_of(kind, name, attribute) for name, attribute in kind.get_attributes().items())


@pytest.mark.parametrize('kind', RECORDS, ids=lambda kind: kind.__name__)
def test_each_attribute_has_a_bound(kind: type[base.Record]) -> None:
    known = UnicodeAttribute | NumberAttribute | BooleanAttribute
    for name, attribute in kind.get_attributes().items():
        of_many = isinstance(attribute, JSONAttribute | MapAttribute | UnicodeSetAttribute)
        assert of_many or isinstance(attribute, known), f'{kind.__name__}.{name}: what bounds it?'
        assert not of_many or bounds.of(kind.resource, name), f'{kind.__name__}.{name} has no row in rules/bounds.py'


@pytest.mark.parametrize('kind', RECORDS, ids=lambda kind: kind.__name__)
def test_a_full_record_has_space_for_its_end(kind: type[base.Record]) -> None:
    if any(index.Meta.index_name == 'by_created_at' for index in kind._indexes.values()):
        assert most(kind) <= bounds.LISTED < ITEM / 2
    assert most(kind) <= bounds.RECORD < ITEM


def test_the_table_names_attributes_that_exist() -> None:
    by_resource = {kind.resource: set(kind.get_attributes()) for kind in RECORDS}
    for resource, rows in bounds.BOUNDS.items():
        assert set(rows) <= by_resource[resource], resource
    everywhere = set().union(*by_resource.values())
    assert set(bounds.COMMON) <= everywhere


def test_a_transfer_of_full_records_is_one_transaction() -> None:
    """Each record is removed in one project and written in another; what is under way is in none of them."""
    from chalicelib.operations.transfers import MAX_SNAPSHOTS

    at_rest = most(models.Snapshot) - bounds.of('snapshot', 'operation').size  # type: ignore[union-attr]
    moving = most(models.Volume) + MAX_SNAPSHOTS * at_rest
    assert 2 * moving <= TRANSACTION


@pytest.mark.parametrize(
    ('resource', 'attribute', 'value', 'limit', 'found'),
    [
        ('volume', 'metadata', {str(number): '' for number in range(129)}, '128 entries', 129),
        ('volume', 'metadata', {'key': 'ü' * 600}, '1024 bytes in one text', 1200),
        ('volume', 'metadata', {f'{number}': 'x' * 500 for number in range(100)}, '32768 bytes', 50990),
        ('attachment', 'connector', {'host': 'x' * 100_000}, '1024 bytes in one text', 100_000),
        ('attachment', 'connector', {'wwpns': ['x' * 2000]}, '1024 bytes in one text', 2000),
        ('volume', 'name', 'x' * 1025, '1024 bytes', 1025),
        ('volume', 'metadata', {'x' * 1025: ''}, '1024 bytes in one text', 1025),
    ],
)
def test_the_refusal_names_the_limit(resource: str, attribute: str, value: object, limit: str, found: int) -> None:
    with pytest.raises(errors.AttributeTooLarge) as refused:
        bounds.check(resource, attribute, value)
    assert refused.value.code == 400
    facts = {'name': f'{resource} {attribute}', 'limit': limit, 'found': found}
    assert {key: refused.value.facts[key] for key in facts} == facts


@pytest.mark.parametrize(
    ('attribute', 'value'),
    [
        ('metadata', {str(number): '' for number in range(128)}),
        ('metadata', {'x' * 1024: 'y' * 1024}),
        ('name', 'x' * 1024),
        ('name', None),
    ],
)
def test_a_value_at_its_bound_is_taken(attribute: str, value: object) -> None:
    bounds.check('volume', attribute, value)


def test_a_cloud_has_a_bound_of_volume_types() -> None:
    bounds.check_types(bounds.VOLUME_TYPES)
    with pytest.raises(errors.AttributeTooLarge, match='The list of volume types may have at most 400 entries'):
        bounds.check_types(bounds.VOLUME_TYPES + 1)


def test_a_text_is_shortened_between_characters() -> None:
    assert bounds.shortened('aü', 2) == 'a'
    assert bounds.shortened('aü', 3) == 'aü'


def test_what_a_manifest_says_is_taken_as_far_as_it_fits() -> None:
    many = {f'key{number:03}': 'v' for number in range(200)}
    assert list(bounds.fitting('volume', 'metadata', many)) == list(many)[:128]
    assert bounds.fitting('volume', 'metadata', {'a': 'x' * 2000, 'b': 'c'}) == {'b': 'c'}


@pytest.mark.parametrize(
    ('name', 'entries', 'shown'),
    [('qos_specs', 258, 'qos_specs'), ('volume.volume_image_metadata', 256, 'volume volume_image_metadata')],
)
def test_parts_of_bodies(name: str, entries: int, shown: str) -> None:
    """A part has a row of its own, or the bound of the attribute that it becomes."""
    value = {str(number): 'x' for number in range(entries)}
    bounds.check_part(name, value)
    with pytest.raises(errors.AttributeTooLarge) as refused:
        bounds.check_part(name, {**value, 'one more': 'x'})
    facts = {'name': shown, 'limit': f'{entries} entries', 'found': entries + 1}
    assert {key: refused.value.facts[key] for key in facts} == facts


def test_a_map_is_shortened_to_the_bound_of_its_attribute() -> None:
    many = {str(number): 'x' for number in range(500)}
    assert len(bounds.fitting('volume', 'volume_image_metadata', many)) == 256
    assert len(bounds.fitting('volume', 'admin_metadata', many)) == 16


def test_a_text_that_is_not_unicode_is_shortened_too() -> None:
    assert bounds.shortened('a\ud800b', 9) == 'a?b'
