"""Pages, orders, filters and counts, as every list has them."""

from __future__ import annotations

import json
import urllib.parse
import uuid
from typing import Any

import pytest

from chalicelib.api import pagination
from chalicelib.models import base
from tests.api.front_door import Caller, FrontDoor
from tests.api.records import Records

BAD = ('badRequest', 400)


@pytest.fixture
def five(make: Any) -> list[str]:
    """Ids of five volumes, newest first; v3 and v4 are bootable, v4 is in error."""
    made = [
        make.volume(
            name=f'v{number}',
            size=10 - number,
            bootable=number > 2,
            metadata={'n': str(number), 'all': 'x'},
            status='error' if number == 4 else 'available',
            created_at=f'2026-11-2{number}T00:00:00.000000',
        ).id
        for number in range(5)
    ]
    return made[::-1]


def ids(answer: Any) -> list[str]:
    assert answer.status == 200, answer.text
    return [item['id'] for item in answer.body['volumes']]


def names(answer: Any) -> str:
    assert answer.status == 200, answer.text
    return ' '.join(item['name'] for item in answer.body['volumes'])


def test_newest_first_without_a_next_link(member: Caller, five: list[str]) -> None:
    answer = member.get('/volumes')
    assert ids(answer) == five
    assert set(answer.body) == {'volumes'}


def test_pages_follow_their_links(member: Caller, five: list[str]) -> None:
    seen, path = [], '/volumes/detail?limit=2&sort=name:asc'
    while path:
        answer = member.get(path)
        seen += ids(answer)
        links = answer.body.get('volumes_links')
        path = links[0]['href'].partition('/v3')[2] if links else ''
    assert seen == five[::-1]


def test_a_next_link_repeats_the_request(member: Caller, five: list[str]) -> None:
    answer = member.get('/volumes/detail?limit=2&status=available&offset=1&name=', at='3.71')
    assert ids(answer) == []
    answer = member.get('/volumes/detail?sort=size&limit=2&offset=1', at='3.71')
    href = urllib.parse.urlsplit(answer.body['volumes_links'][0]['href'])
    assert href.path == '/stage/v3/volumes/detail'
    assert urllib.parse.parse_qsl(href.query) == [('limit', '2'), ('sort', 'size'), ('marker', ids(answer)[-1])]


def test_limit_zero_is_an_empty_page(member: Caller, five: list[str]) -> None:
    assert member.get('/volumes?limit=0').body == {'volumes': []}


def test_a_full_last_page_has_a_link_all_the_same(member: Caller, five: list[str]) -> None:
    assert 'volumes_links' in member.get('/volumes?limit=5').body
    assert 'volumes_links' not in member.get('/volumes?limit=6').body


def test_the_offset_counts_from_the_marker(member: Caller, five: list[str]) -> None:
    assert ids(member.get(f'/volumes?marker={five[0]}&offset=1')) == five[2:]


@pytest.mark.parametrize(
    ('query', 'message'),
    [
        ('limit=-1', 'limit param must be positive'),
        ('limit=a', 'limit param must be an integer'),
        ('limit=', 'limit param must be an integer'),
        ('offset=-1', 'offset must be >= 0'),
        ('offset=a', 'offset must be an integer'),
        ('offset=2147483648', 'offset must be <= 2147483647'),
        ('sort=nope', 'Invalid input received: Invalid sort key'),
        ('sort=name:up', "Invalid input received: Unknown sort direction, must be 'desc' or 'asc'."),
        ('sort_key=name&sort_dir=up', "Invalid input received: Unknown sort direction, must be 'desc' or 'asc'."),
        (
            'sort=size&sort_key=size',
            "The 'sort_key' and 'sort_dir' parameters are deprecated and cannot be used with the 'sort' parameter.",
        ),
        ('with_count=maybe', "Value 'maybe' for 'with_count' is not a boolean."),
        ('bootable=foo', "Invalid input received: 'bootable = foo'"),
        ('consumes_quota=zz', "Value 'zz' for 'use_quota' is not a boolean."),
        ('created_at=gt:nope', 'Invalid nope value'),
        ('created_at=2026-11-22', 'Invalid 2026-11-22 operator'),
        ('created_at=after:2026-11-22', 'Invalid after operator'),
        ('sort=metadata', 'Invalid input received: Invalid sort key'),
        ('foo=bar', 'Invalid filters foo are found in query options.'),
        ('name~=x', 'Invalid filters name~ are found in query options.'),
        ('%C3%A9=1', 'Filter keys can only contain ASCII characters.'),
    ],
)
def test_what_is_refused(member: Caller, five: list[str], query: str, message: str) -> None:
    assert member.get(f'/volumes?{query}', at='3.71').fault == (*BAD, message)


def test_a_sort_key_is_judged_where_there_is_nothing_to_sort(member: Caller) -> None:
    for kind in 'volumes', 'snapshots', 'backups', 'types':
        assert member.get(f'/{kind}?sort=nope').fault == (*BAD, 'Invalid input received: Invalid sort key')


@pytest.mark.parametrize(('kind', 'at'), [('snapshots', '3.30'), ('backups', '3.37')])
def test_names_are_a_sort_key_from_some_version_on(member: Caller, kind: str, at: str) -> None:
    before = f'3.{int(at[2:]) - 1}'
    assert member.get(f'/{kind}?sort=name', at=before).fault == (*BAD, 'Invalid input received: Invalid sort key')
    assert member.get(f'/{kind}?sort=display_name', at=before).status == 200
    assert member.get(f'/{kind}?sort=name', at=at).status == 200


def test_lists_that_do_not_count(member: Caller, admin: Caller, make: Any) -> None:
    make.group()
    refused = 'Invalid filters with_count are found in query options.'
    for kind in 'groups', 'group_snapshots', 'attachments', 'messages':
        assert member.get(f'/{kind}?with_count=1', at='3.71').fault == (*BAD, refused)
        assert admin.get(f'/{kind}?with_count=1', at='3.71').body == {kind: []}


def test_snapshots_of_a_backend(admin: Caller, make: Any) -> None:
    id = make.snapshot().id
    for query, found in (('host=host@lvm', [id]), ('host=elsewhere', []), ("status=['available','error']", [])):
        assert [one['id'] for one in admin.get(f'/snapshots?{query}', at='3.71').body['snapshots']] == found


def test_an_unknown_marker(member: Caller) -> None:
    assert member.get('/volumes?marker=zzz').fault == ('itemNotFound', 404, 'Volume zzz could not be found.')


@pytest.mark.parametrize(
    ('query', 'expected'),
    [
        ('sort=name:asc', 'v0 v1 v2 v3 v4'),
        ('sort=size', 'v0 v1 v2 v3 v4'),
        ('sort=bootable:asc,size:asc', 'v2 v1 v0 v4 v3'),
        ('sort_key=size&sort_dir=asc', 'v4 v3 v2 v1 v0'),
        ('sort_key=display_name', 'v4 v3 v2 v1 v0'),
        ('sort=created_at:asc', 'v0 v1 v2 v3 v4'),
        ('name=v1', 'v1'),
        ('status=error', 'v4'),
        ("status=['error','available']", 'v4 v3 v2 v1 v0'),
        ('status=nope', ''),
        ('size=10', 'v0'),
        ('size=abc', ''),
        ('bootable=true', 'v4 v3'),
        ('bootable=0', 'v2 v1 v0'),
        ("metadata={'n':'2'}", 'v2'),
        ("metadata={'n':'2','all':'y'}", ''),
        ('metadata={"all":"x"}&size=7', 'v3'),
        ('metadata=abc', ''),
        ('migration_status=None', 'v4 v3 v2 v1 v0'),
        ('consumes_quota=false', ''),
        ('availability_zone=nova&limit=1', 'v4'),
        ('created_at=gt:2026-11-22T00:00:00', 'v4 v3'),
        ('created_at=gte:2026-11-21,lt:2026-11-23T00:00:00', 'v2 v1'),
        ('created_at=eq:2026-11-22T02:00:00%2B02:00', 'v2'),
        ('all_tenants=maybe', 'v4 v3 v2 v1 v0'),
        ('limit=99999999999', 'v4 v3 v2 v1 v0'),
    ],
)
def test_what_is_found(member: Caller, five: list[str], query: str, expected: str) -> None:
    query = urllib.parse.quote(query, safe='=&,:%')
    assert names(member.get(f'/volumes/detail?{query}', at='3.71')) == expected


@pytest.mark.parametrize(
    ('query', 'at', 'expected'),
    [
        ('foo=bar', '3.0', 5),  # before 3.31 an unknown filter is ignored
        ('foo=bar', '3.30', 5),
        ('with_count=maybe', '3.30', 5),
        ('host=nowhere', '3.30', 5),  # nor is one that only administrators may use
        ('size=10', '3.30', 1),
        ('name=v1', '3.30', 1),
        ('name~=v', '3.30', 5),
        ('group_id=g', '3.9', 5),
        ('group_id=g', '3.10', 0),
        ('bootable=foo', '3.1', 2),  # before 3.2 anything but false means yes
        ('bootable=false', '3.1', 3),
        ('created_at=gt:2099-01-01', '3.59', 5),
        ('created_at=gt:2099-01-01', '3.60', 0),
        ('consumes_quota=false', '3.64', 5),
    ],
)
def test_filters_by_version(member: Caller, five: list[str], query: str, at: str, expected: int) -> None:
    assert len(ids(member.get(f'/volumes?{query}', at=at))) == expected


@pytest.mark.parametrize(
    ('query', 'at', 'expected'),
    [
        ('foo=bar', '3.71', 0),  # a column that is not there matches nothing
        ('foo~=bar', '3.71', 0),  # Cinder answers 500
        ('name~=V', '3.71', 5),
        ('name~=v1', '3.71', 1),
        ('name~=v1', '3.33', 5),
        ('name~=', '3.71', 5),
        ('description~=', '3.71', 0),  # none has one
        ('description=None', '3.71', 5),
        ('display_name=None', '3.71', 0),
        ('host=host@lvm%23pool', '3.0', 5),
        ('host=host@lvm', '3.0', 5),
        ('host=host', '3.0', 5),
        ('host=ost', '3.0', 0),
        ('project_id=other', '3.71', 5),  # only with all_tenants
        ('glance_metadata={}', '3.71', 5),
    ],
)
def test_administrators_filter_by_anything(admin: Caller, five: list[str], query: str, at: str, expected: int) -> None:
    assert len(ids(admin.get(f'/volumes?{query}', at=at))) == expected


def test_all_tenants_is_for_administrators(door: FrontDoor, member: Caller, five: list[str], project: str) -> None:
    admin = door.caller('admin', 'ad' * 16)
    assert len(ids(admin.get('/volumes'))) == 0
    assert set(ids(admin.get(f'/volumes?all_tenants=1&project_id={project}'))) == set(five)
    assert admin.get('/volumes?all_tenants=maybe').fault == (*BAD, "Value 'maybe' for 'all_tenants' is not a boolean.")


def test_the_marker_of_another_project(door: FrontDoor, make: Any, five: list[str], project: str) -> None:
    """An administrator may name one: what follows it in time is shown, and DynamoDB would refuse it as a key."""
    admin = door.caller('admin', make.volume().project_id)
    theirs = Records(uuid.uuid4().hex).volume(created_at='2026-11-22T12:00:00.000000')
    assert ids(admin.get(f'/volumes?marker={theirs.id}'))[-3:] == five[2:]
    assert five[1] not in ids(admin.get(f'/volumes?marker={theirs.id}'))
    assert door.caller('member', project).get(f'/volumes?marker={theirs.id}').status == 404


def test_backups_say_it_in_words_of_their_own(admin: Caller) -> None:
    answer = admin.get('/backups?all_tenants=z')
    assert answer.fault == (*BAD, "all_tenants must be a boolean, got 'z'.")
    assert admin.get('/backups?all_tenants=1').status == 200


@pytest.mark.parametrize(('at', 'counted'), [('3.44', False), ('3.45', True)])
def test_counts_ignore_the_page(member: Caller, five: list[str], at: str, counted: bool) -> None:
    path = '/volumes?limit=1' if at == '3.44' else '/volumes?limit=1&with_count=true&status=available'
    body = member.get(path, at=at).body
    assert body.get('count') == (4 if counted else None)


@pytest.mark.parametrize('kind', ['snapshots', 'backups'])
def test_the_other_lists_page_alike(member: Caller, make: Any, kind: str) -> None:
    made = {getattr(make, kind[:-1])().id for _ in range(3)}
    first = member.get(f'/{kind}/detail?limit=2&with_count=1', at='3.71').body
    assert first['count'] == 3
    href = first[f'{kind}_links'][0]['href']
    assert f'/v3/{kind}/detail?' in href
    second = member.get(href.partition('/v3')[2], at='3.71').body
    assert {item['id'] for item in first[kind] + second[kind]} == made


def test_a_list_without_links_is_never_cut(member: Caller, make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(3):
        make.attachment(make.volume())
    monkeypatch.setattr(pagination, 'MAX_ITEMS', 400)
    message = '3 attachments are too many for one response: set limit to 2 or less.'
    assert member.get('/attachments', at='3.27').fault == (*BAD, message)
    assert len(member.get('/attachments?limit=2', at='3.27').body['attachments']) == 2


def test_a_page_too_large_for_one_response_is_cut(
    member: Caller, five: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pagination, 'MAX_ITEMS', 3000)
    answer = member.get('/volumes/detail')
    assert ids(answer) == five[: len(ids(answer))]
    assert 0 < len(ids(answer)) < 5
    rest = member.get(answer.body['volumes_links'][0]['href'].partition('/v3')[2])
    assert ids(rest)[0] == five[len(ids(answer))]


@pytest.mark.parametrize('query', ['', '?limit=2', '?limit=2&offset=1'])
def test_a_brief_list_reads_only_what_it_shows(
    member: Caller, five: list[str], monkeypatch: pytest.MonkeyPatch, query: str
) -> None:
    read, items = base.page, []

    def page(*facts: Any, **named: Any) -> Any:
        records = read(*facts, **named)
        items.append({name for record in records for name, value in record.attribute_values.items() if value})
        return records

    monkeypatch.setattr(base, 'page', page)
    brief, detail = (member.get(f'/volumes{path}{query}', at='3.70').body['volumes'] for path in ('', '/detail'))
    assert brief == [{key: volume[key] for key in ('id', 'name', 'links')} for volume in detail]
    assert items[0] & items[1] >= {'id', 'project_id', 'created_at', 'name'}
    assert not items[0] & {'size', 'status', 'metadata', 'user_id'}
    assert items[1] >= {'size', 'status', 'metadata', 'user_id'}


@pytest.mark.parametrize('query', ['', '?limit=2', '?with_count=1', '?limit=2&with_count=1', '?limit=0'])
def test_a_page_is_written_as_any_other_response(member: Caller, five: list[str], query: str) -> None:
    for path in ('volumes', 'volumes/detail', 'snapshots'):
        answer = member.get(f'/{path}{query}', at='3.70')
        assert answer.text == json.dumps(answer.body)


@pytest.mark.parametrize('path', ['attachments', 'messages', 'backup-schedules'])
def test_an_administrator_lists_what_all_projects_have(door: FrontDoor, make: Any, path: str) -> None:
    """The administrator is in another project; members see their own project's records only."""
    if path == 'messages':
        id = make.message().id
    elif path == 'attachments':
        id = make.attachment(make.volume()).id
    else:
        owner = door.caller('member', make.volume().project_id)
        body = {'backup_schedule': {'volume_id': make.volume().id, 'cron': '30 2 * * *'}}
        id = owner.post('/backup-schedules', body).body['backup_schedule']['id']
    elsewhere = '0' * 32
    for role, sees in (('admin', True), ('member', False)):
        answer = door.caller(role, elsewhere).get(f'/{path}?all_tenants=1', at='3.71')
        assert answer.status == 200, answer.text
        assert (id in [item['id'] for item in answer.body[path.replace('-', '_')]]) == sees
