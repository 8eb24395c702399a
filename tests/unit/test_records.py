"""Records are read by a way of our own: it must end where PynamoDB's ends."""

from __future__ import annotations

import concurrent.futures
import contextlib
import time
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

from chalicelib import errors, models
from chalicelib.models import base
from chalicelib.rules import workflows
from tests.factories import stored_volume

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


@pytest.mark.parametrize('number', ['0', '-3', '12345678901234567890', '1.5', '-0.25', '1E+2', '1e-7'])
def test_a_number_is_read_as_pynamodb_reads_it(number: str) -> None:
    ours, theirs = both(models.Volume, {'size': {'N': number}})
    assert ours == theirs
    assert type(ours['size']) is type(theirs['size'])


@pytest.mark.parametrize('text', ['{}', ' {} ', '[]', 'null', '"a\nb"', '{"k": "tab\there", "ü": [1, {"n": null}]}'])
def test_json_is_read_as_pynamodb_reads_it(text: str) -> None:
    ours, theirs = both(models.Volume, {'metadata': {'S': text}, 'unknown': {'S': 'ignored'}})
    assert ours == theirs


def test_two_records_share_no_default() -> None:
    one, other = models.Quota.from_raw_data({}), models.Quota.from_raw_data({})
    assert one.usage is not other.usage
    empty = {'metadata': {'S': '{}'}}
    first, second = models.Volume.from_raw_data(empty), models.Volume.from_raw_data(empty)
    assert first.metadata is not second.metadata


@pytest.mark.parametrize(
    ('status', 'owner', 'is_ended'),
    [('extending', 'mine', True), ('extending', 'another', False), ('available', 'mine', False)],
)
def test_only_the_request_that_owns_a_status_ends_it(tables: None, status: str, owner: str, is_ended: bool) -> None:
    """An equal request may have taken the record over: the same status is not enough."""
    volume, row = stored_volume(status=status, owner=owner), workflows.VOLUME['extend']
    with contextlib.nullcontext() if is_ended else pytest.raises(errors.StateChanged):
        base.update(volume, base.end_actions(volume, 'available'), base.owned_by(models.Volume, row, 'mine'))
    assert (volume.reload().owner is None) == is_ended


def test_threads_that_use_a_table_first_at_the_same_time(tables: None, monkeypatch: pytest.MonkeyPatch) -> None:
    shared, add = base.connection(), base.connection().add_meta_table
    models.Volume._get_connection()
    monkeypatch.setattr(models.Volume, '_connection', None)
    monkeypatch.delitem(shared._tables, models.Volume.Meta.table_name)

    def slow(table: Any) -> None:
        time.sleep(0.05)
        add(table)

    monkeypatch.setattr(shared, 'add_meta_table', slow)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        found = [pool.submit(models.Volume._get_connection) for _ in range(4)]
    assert {one.result().connection for one in found} == {shared}
