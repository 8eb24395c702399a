"""Records are read by a way of our own: it must end where PynamoDB's ends."""

from __future__ import annotations

from typing import Any

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
from pynamodb.models import Model

from chalicelib import models
from chalicelib.models import base

#: One value of each kind of attribute that a record has, as DynamoDB sends it.
SENT: dict[type[Attribute[Any]], dict[str, Any]] = {
    UnicodeAttribute: {'S': 'text'},
    NumberAttribute: {'N': '7'},
    BooleanAttribute: {'BOOL': True},
    JSONAttribute: {'S': '{"a": [1]}'},
    MapAttribute: {'M': {'volumes': {'N': '3'}}},
    UnicodeSetAttribute: {'SS': ['one', 'two']},
}


def plain(record: base.Record) -> dict[str, Any]:
    return {
        name: (type(value), value.attribute_values if isinstance(value, MapAttribute) else value)
        for name, value in record.attribute_values.items()
    }


def both(kind: type[base.Record], item: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What we and what PynamoDB make of an item."""
    theirs = Model.from_raw_data.__func__(kind, item)  # type: ignore[attr-defined]
    return plain(kind.from_raw_data(item)), plain(theirs)


@pytest.mark.parametrize('kind', models.TABLES, ids=lambda kind: kind.__name__)
def test_a_record_is_read_as_pynamodb_reads_it(kind: type[base.Record]) -> None:
    everything = {one.attr_name: SENT[type(one)] for one in kind.get_attributes().values()}
    ours, theirs = both(kind, everything)
    assert ours == theirs
    assert set(ours) == set(kind.get_attributes())
    nulls = {name: {'NULL': True} for name in everything}
    for sparse in ({}, nulls):
        ours, theirs = both(kind, sparse)
        assert ours == theirs


def test_two_records_share_no_default() -> None:
    one, other = models.Quota.from_raw_data({}), models.Quota.from_raw_data({})
    assert one.usage is not other.usage
