"""The bounds of rules/bounds.py at every text and every map of every record, in both ways of writing one."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pynamodb.attributes import JSONAttribute, UnicodeAttribute

from chalicelib import errors, models
from chalicelib.models import Volume, base, bounded
from chalicelib.rules import bounds
from chalicelib.rules.bounds import Bound

RECORDS: list[type[base.Record]] = [table for table in models.TABLES if issubclass(table, base.Record)]

TEXTS = [
    (kind, name, bounds.of(kind.resource, name) or bounds.TEXT)
    for kind in RECORDS
    for name, attribute in kind.get_attributes().items()
    if type(attribute) is UnicodeAttribute
    and not name.startswith('write_token')  # of writes.py alone, under short names
]
MAPS = [
    (kind, name)
    for kind in RECORDS
    for name, attribute in kind.get_attributes().items()
    if isinstance(attribute, JSONAttribute)
]


def in_full(kind: type[base.Record], name: str, value: Any) -> Any:
    """The value that is written when the whole record is."""
    record = kind('project', 'id')
    setattr(record, name, value)
    bounded.fit_record(record)
    return getattr(record, name)


def by_update(kind: type[base.Record], name: str, value: Any, before: Any = None) -> Any:
    """The value that an update writes."""
    record = kind('project', 'id')
    if before is not None:
        setattr(record, name, before)
    action = getattr(kind, name).set(value)
    bounded.fit_actions(record, [action])
    stored = action.values[1].values[0]['S']
    return stored if isinstance(value, str) else json.loads(stored)


WAYS = pytest.mark.parametrize('written', [in_full, by_update])


@WAYS
def test_a_text_within_its_bound_is_written_as_it_is(written: Any) -> None:
    for kind, name, bound in TEXTS:
        text = 'a' + 'ü' * ((bound.size - 1) // 2)
        assert written(kind, name, text) == text, (kind, name)


@WAYS
def test_a_longer_one_is_shortened_where_the_service_writes_it_and_refused_elsewhere(written: Any) -> None:
    assert {bound.cut for _, _, bound in TEXTS} == {True, False}
    for kind, name, bound in TEXTS:
        text = 'a' * (bound.size + 1)
        if bound.cut:
            assert written(kind, name, text) == text[:-1], (kind, name)
            continue
        with pytest.raises(errors.AttributeTooLarge) as caught:
            written(kind, name, text)
        assert f' {kind.resource} {name} may have at most {bound.size} bytes' in caught.value.message


@WAYS
def test_a_map_beyond_its_bound_is_refused(written: Any) -> None:
    for kind, name in MAPS:
        bound = bounds.of(kind.resource, name)
        assert bound is not None
        assert written(kind, name, {'a': 'b'}) == {'a': 'b'}
        with pytest.raises(errors.AttributeTooLarge):
            written(kind, name, {'a': 'b' * bound.size})


def test_a_map_from_before_the_bounds_may_only_become_smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, 'COMMON', {**bounds.COMMON, 'metadata': Bound(10)})
    before = {'a': 'b' * 100}
    smaller = {'a': 'b' * 99}
    assert by_update(Volume, 'metadata', smaller, before) == smaller
    for other in (before, {'a': 'b' * 101}):
        with pytest.raises(errors.AttributeTooLarge):
            by_update(Volume, 'metadata', other, before)
    with pytest.raises(errors.AttributeTooLarge):
        by_update(Volume, 'metadata', smaller)


def test_other_actions_have_no_text_to_check() -> None:
    record = Volume('project', 'id')
    bounded.fit_actions(record, [Volume.revision.add(1), Volume.size.set(5), Volume.name.remove()])
    in_full(Volume, 'name', None)
