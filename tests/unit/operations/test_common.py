"""Find and list: whose records, in which order, page by page."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chalicelib import errors
from chalicelib.models import Volume, base
from chalicelib.operations import common, volumes
from tests.factories import context, query, stored_volume


def stored(number: int, **facts: Any) -> Volume:
    """The number-th volume by age."""
    return stored_volume(created_at=f'2026-01-01T00:00:{number:02}.000000', id=f'{number:02}', **facts)


def ids(found: tuple[list[Volume], bool]) -> list[str]:
    return [volume.id for volume in found[0]]


def test_find_own(tables: None) -> None:
    volume = stored_volume()
    assert volumes.get(context(), volume.id).id == volume.id


@pytest.mark.parametrize('id', ['nothing', '', 'x' * 5000, '-' * 36])
def test_find_nothing(tables: None, id: str) -> None:
    with pytest.raises(errors.VolumeNotFound):
        volumes.get(context(), id)


def test_another_projects_record_does_not_exist(tables: None) -> None:
    volume = stored_volume('other')
    with pytest.raises(errors.VolumeNotFound) as refused:
        volumes.get(context(), volume.id)
    assert refused.value.message == f'Volume {volume.id} could not be found.'


def test_an_administrator_finds_any(tables: None) -> None:
    volume = stored_volume('other')
    assert volumes.get(context('admin'), volume.id).project_id == 'other'


def test_newest_first_and_a_page_reads_no_more_than_it_shows(tables: None, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(6):
        stored(number)
    monkeypatch.setattr(base, 'every', None)
    assert ids(volumes.list_(context(), query(limit=2))) == ['05', '04']
    assert ids(volumes.list_(context(), query(limit=2, marker='04'))) == ['03', '02']
    assert volumes.list_(context(), query(limit=6))[1] is False
    assert volumes.list_(context(), query(limit=5))[1] is True


def test_offset_skips(tables: None) -> None:
    for number in range(5):
        stored(number)
    assert ids(volumes.list_(context(), query(limit=2, offset=1))) == ['03', '02']
    assert ids(volumes.list_(context(), query(limit=2, offset=4))) == ['00']
    assert ids(volumes.list_(context(), query(limit=2, offset=1, filters={'size': '1'}))) == ['03', '02']


def test_limit_zero_is_nothing(tables: None) -> None:
    stored(0)
    assert volumes.list_(context(), query(limit=0)) == ([], False)


def test_other_projects_are_not_listed(tables: None) -> None:
    stored(0)
    stored_volume('other', id='99')
    assert ids(volumes.list_(context(), query())) == ['00']
    assert ids(volumes.list_(context(), query(all_tenants=True))) == ['00']
    assert ids(volumes.list_(context('admin'), query(all_tenants=True, sort=(('id', 'asc'),)))) == ['00', '99']


def test_unknown_marker(tables: None) -> None:
    with pytest.raises(errors.VolumeNotFound, match='zzz'):
        volumes.list_(context(), query(marker='zzz'))


@pytest.mark.parametrize(
    ('sort', 'wanted'),
    [
        ((('size', 'asc'),), ['01', '00', '02']),
        ((('size', 'desc'),), ['02', '00', '01']),
        ((('name', 'asc'),), ['01', '02', '00']),
        ((('status', 'asc'), ('size', 'desc')), ['02', '00', '01']),
        ((('metadata', 'asc'),), ['00', '01', '02']),
    ],
)
def test_sort(tables: None, sort: tuple[tuple[str, str], ...], wanted: list[str]) -> None:
    stored(0, size=2, name='b')
    stored(1, size=1)
    stored(2, size=3, name='a')
    assert ids(volumes.list_(context(), query(sort=sort))) == wanted


def test_unknown_sort_key(tables: None) -> None:
    stored(0)
    with pytest.raises(errors.InvalidInput) as refused:
        volumes.list_(context(), query(sort=(('nope', 'asc'),)))
    assert refused.value.message == 'Invalid input received: Invalid sort key'


FILTERS = [
    ({'status': 'available'}, ['01', '00']),
    ({'status': 'nope'}, []),
    ({'name': 'beta'}, ['01']),
    ({'name~': 'ET'}, ['01']),
    ({'size': '2'}, ['01']),
    ({'size': 'abc'}, []),
    ({'bootable': 'true'}, ['01']),
    ({'bootable': True}, ['01']),
    ({'bootable': 'False'}, ['02', '00']),
    ({'metadata': {'k': 'v'}}, ['01']),
    ({'metadata': {'k': 'w'}}, []),
    ({'glance_metadata': {'os': 'linux'}}, ['02']),
    ({'migration_status': None}, ['02', '01', '00']),
    ({'migration_status': 'None'}, []),
    ({'no_migration_targets': True}, ['02', '01', '00']),
    ({'use_quota': 'true'}, ['02', '01', '00']),
    ({'status': ['error', 'deleting']}, ['02']),
    ({'created_at': 'gt:2026-01-01T00:00:00'}, ['02', '01']),
    ({'created_at': 'gte:2026-01-01T00:00:00,lt:2026-01-01T00:00:02'}, ['01', '00']),
    ({'created_at': '2026-01-01T00:00:01'}, ['01']),
    ({'created_at': 'neq:2026-01-01T00:00:01.000000'}, ['02', '00']),
    ({'updated_at': 'gt:2026-01-01T00:00:00'}, []),
    ({'foo': 'bar'}, []),
    ({'status': 'available', 'size': '1'}, ['00']),
]


@pytest.mark.parametrize(('filters', 'wanted'), FILTERS, ids=[str(filters) for filters, _ in FILTERS])
def test_filters(tables: None, filters: dict[str, Any], wanted: list[str]) -> None:
    stored(0, name='alpha')
    stored(1, name='beta', size=2, bootable=True, metadata={'k': 'v', 'l': 'm'})
    stored(2, status='error', volume_image_metadata={'os': 'linux'})
    assert ids(volumes.list_(context(), query(filters=filters))) == wanted
    assert volumes.count(context(), query(filters=filters, limit=1)) == len(wanted)


def test_a_marker_that_no_longer_matches_still_says_where_to_go_on(tables: None) -> None:
    for number in range(4):
        stored(number, status='error' if number == 2 else 'available')
    found = volumes.list_(context(), query(marker='02', filters={'status': 'available'}))
    assert ids(found) == ['01', '00']


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    sizes=st.lists(st.integers(1, 3), max_size=9),
    limit=st.integers(1, 4),
    sort=st.sampled_from([common.NEWEST_FIRST, (('size', 'asc'),), (('size', 'desc'), ('created_at', 'asc'))]),
)
def test_pages_hold_everything_once(
    tables: None, sizes: list[int], limit: int, sort: tuple[tuple[str, str], ...]
) -> None:
    project = f'p{len(list(Volume.scan()))}'
    for size in sizes:
        stored_volume(project, size=size)
    caller, seen, marker = context(project_id=project), [], None
    while True:
        page, more = volumes.list_(caller, query(limit=limit, sort=sort, marker=marker))
        seen += [volume.id for volume in page]
        if not more:
            break
        marker = seen[-1]
    whole = [volume.id for volume in volumes.list_(caller, query(sort=sort))[0]]
    assert seen == whole
    assert len(set(seen)) == len(sizes)


def test_a_map_is_changed_on_what_is_there_now(tables: None) -> None:
    """Another request writes between reading and writing: both changes stay."""
    volume = stored_volume(metadata={'a': '1'})
    stale = volumes.get(context(), volume.id)
    volumes.set_metadata(context(), volume.id, {'b': '2'}, replace=False)
    changed = common.change_map(stale, 'metadata', lambda known: {**known, 'c': '3'}, common.any_status)
    assert changed == {'a': '1', 'b': '2', 'c': '3'}
    assert volume.reload().metadata == changed


def test_a_map_that_never_stands_still(tables: None) -> None:
    volume = stored_volume()

    def change(known: dict[str, Any]) -> dict[str, Any]:
        Volume('project', volume.id).update(actions=[Volume.revision.add(1)])
        return known

    with pytest.raises(errors.ServiceUnavailable, match='too many requests'):
        common.change_map(volume, 'metadata', change, common.any_status)
