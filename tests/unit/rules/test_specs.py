"""Extra specs and group specs that the API itself obeys."""

from __future__ import annotations

from typing import Any

import pytest

from chalicelib import errors
from chalicelib.rules import extra_specs, group_specs

YES, NO = '<is> True', ('<is> False', 'True', '<is> true', '')


@pytest.mark.parametrize(
    ('rule', 'name'),
    [
        (extra_specs.is_multiattach, 'multiattach'),
        (group_specs.is_consistent, 'consistent_group_snapshot_enabled'),
        (group_specs.is_replicated, 'group_replication_enabled'),
        (group_specs.is_replicated, 'consistent_group_replication_enabled'),
    ],
)
def test_one_text_means_yes(rule: Any, name: str) -> None:
    assert rule({name: YES}) is True
    assert [rule({name: text}) for text in NO] == [False] * len(NO)
    assert (rule({}), rule({'other': YES})) == (False, False)


@pytest.mark.parametrize(
    ('text', 'zones'), [(None, None), ('', None), ('a', ['a']), (' a , b,', ['a', 'b']), (' , ', [])]
)
def test_zones(text: str | None, zones: list[str] | None) -> None:
    assert extra_specs.availability_zones({} if text is None else {'RESKEY:availability_zones': text}) == zones


@pytest.mark.parametrize(('size', 'is_allowed'), [(1, False), (2, True), (4, True), (5, False)])
def test_sizes(size: int, is_allowed: bool) -> None:
    specs = {'provisioning:min_vol_size': '2', 'provisioning:max_vol_size': '4'}
    extra_specs.check_size({}, 'gold', size)
    if is_allowed:
        extra_specs.check_size(specs, 'gold', size)
        return
    with pytest.raises(errors.InvalidInput) as refused:
        extra_specs.check_size(specs, 'gold', size)
    which = (
        "less than the minimum required size of '2'" if size < 2 else "greater than the maximum allowable size of '4'"
    )
    expected = f"Specified volume size of '{size}' is {which} for volume type 'gold'."
    assert refused.value.message == f'Invalid input received: {expected}'


def test_cacheable_excludes_multiattach() -> None:
    for specs in ({}, {'cacheable': YES}, {'multiattach': YES}, {'cacheable': 'True', 'multiattach': YES}):
        extra_specs.check_cacheable(specs)
    with pytest.raises(errors.Invalid, match=r'^cacheable cannot be set with multiattach\.$'):
        extra_specs.check_cacheable({'cacheable': YES, 'multiattach': YES})
