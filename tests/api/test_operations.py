"""The operations of a project, over HTTP."""

from __future__ import annotations

import datetime
import json
import uuid
from typing import Any

import pytest

from chalicelib import aws, errors
from chalicelib.models import Operation, base, operation_log
from chalicelib.operations import history
from chalicelib.rules.executions import execution_name
from tests.api.front_door import Caller, FrontDoor

#: An execution's history in the form of GetExecutionHistory: one attempt fails, and is made again.
MOMENT = datetime.datetime(2026, 11, 30, 12, tzinfo=datetime.UTC)
CAUSE = json.dumps({'errorType': 'BackendUnavailable', 'errorMessage': 'agent 10.0.0.7:18700 is away'})
EVENTS = [
    {'type': 'ExecutionStarted', 'executionStartedEventDetails': {}},
    {'type': 'TaskStateEntered', 'stateEnteredEventDetails': {'name': 'Schedule'}},
    {'type': 'TaskStateExited', 'stateExitedEventDetails': {'name': 'Schedule'}},
    {'type': 'TaskStateEntered', 'stateEnteredEventDetails': {'name': 'Provision'}},
    {
        'type': 'LambdaFunctionFailed',
        'lambdaFunctionFailedEventDetails': {'error': 'BackendUnavailable', 'cause': CAUSE},
    },
]


@pytest.fixture
def executions(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[dict[str, Any]]]:
    """ARN of an execution -> its events."""
    known: dict[str, list[dict[str, Any]]] = {}
    monkeypatch.setattr(aws, 'execution_events', known.get)
    return known


def shown(caller: Caller, id: str) -> Any:
    answer = caller.get(f'/operations/{id}')
    assert answer.status == 200, answer.body
    return answer.body['operation']


def test_an_accepted_request_is_an_operation(
    member: Caller, reader: Caller, stranger: Caller, executions: dict[str, Any]
) -> None:
    made = member.post('/volumes', {'volume': {'size': 1, 'name': '<b>'}})
    id = made.headers['x-openstack-request-id']
    [listed] = reader.get('/operations').body['operations']
    assert (listed['id'], listed['action'], listed['resource_type']) == (id, 'create', 'volume')
    assert (listed['resource_id'], listed['resource_name']) == (made.body['volume']['id'], '<b>')
    assert (listed['status'], listed['ended_at'], listed['error']) == ('running', None, None)
    assert listed['user_id'] == 'user-member'
    assert shown(reader, id)['steps'] == []
    assert stranger.get(f'/operations/{id}').status == 404
    assert stranger.get('/operations').body['operations'] == []


def test_a_refused_request_is_none(member: Caller) -> None:
    assert member.post('/volumes', {'volume': {'size': 0}}).status == 400
    assert member.get('/operations').body['operations'] == []


def test_the_steps_come_from_the_execution_and_its_inside_is_for_administrators(
    member: Caller, admin: Caller, project: str, executions: dict[str, Any]
) -> None:
    made = member.post('/volumes', {'volume': {'size': 1}})
    id = made.headers['x-openstack-request-id']
    name = execution_name('create', made.body['volume']['id'], id)
    timed = [{**event, 'timestamp': MOMENT + datetime.timedelta(seconds=i)} for i, event in enumerate(EVENTS)]
    executions[aws.execution_arn('create_volume', name)] = timed
    for caller in (member, admin):
        found = shown(caller, id)
        assert found['step'] == 'Provision'
        assert [(step['name'], step['ended_at']) for step in found['steps']] == [
            ('Schedule', '2026-11-30T12:00:02.000000'),
            ('Provision', None),
        ]
        [failure] = found['steps'][1]['failures']
        assert ('10.0.0.7' in json.dumps(found)) == (caller is admin)
        assert failure['error'] == 'The storage backend gave no answer in time. Try again later.'
    inside = {'host', 'cause', 'tried', 'why', 'trace'}
    assert not inside & set(shown(member, id))
    assert inside <= set(shown(admin, id))


def test_lists_have_pages_and_filters(member: Caller, executions: dict[str, Any]) -> None:
    made = [member.post('/volumes', {'volume': {'size': 1}}).body['volume']['id'] for _ in range(3)]
    first = member.get('/operations?limit=2').body
    assert [one['resource_id'] for one in first['operations']] == [made[2], made[1]]
    marker = first['operations'][-1]['id']
    rest = member.get(f'/operations?limit=2&marker={marker}').body
    assert [one['resource_id'] for one in rest['operations']] == [made[0]]
    for query, count in [
        (f'resource_id={made[0]}', 1),
        ('status=running', 3),
        ('status=failed', 0),
        ('action=delete', 0),
        ('resource_type=volume', 3),
        (f'since={first["operations"][0]["started_at"]}', 1),
        ('since=2020-01-01T00:00:00', 3),
    ]:
        assert len(member.get(f'/operations?{query}').body['operations']) == count, query
    assert member.get('/operations?since=yesterday').status == 400
    assert member.get('/operations?marker=unknown').status == 404


def test_an_operation_is_kept_for_the_days_that_are_configured(member: Caller, project: str) -> None:
    id = member.post('/volumes', {'volume': {'size': 1}}).headers['x-openstack-request-id']
    record = Operation.find(project, id)
    begun = datetime.datetime.fromisoformat(f'{record.created_at}+00:00').timestamp()
    assert 29.9 < (int(record.expires) - begun) / 86400 < 30.1
    assert record.created_at <= base.now()


def logged(caller: Caller, answer: Any) -> Any:
    """The operation of an answer's request."""
    return shown(caller, answer.headers['x-openstack-request-id'])


def test_a_write_that_is_complete_with_its_answer_is_an_operation(
    member: Caller, reader: Caller, make: Any, executions: dict[str, Any]
) -> None:
    volume = make.volume(name='data')
    offered = member.post('/volume-transfers', {'transfer': {'volume_id': volume.id, 'name': 'gift'}})
    found = logged(reader, offered)
    transfer = offered.body['transfer']['id']
    assert (found['action'], found['resource_type'], found['resource_id']) == ('create', 'transfer', transfer)
    assert (found['resource_name'], found['status'], found['user_id']) == ('gift', 'succeeded', 'user-member')
    assert (found['steps'], found['step'], found['progress']) == ([], None, None)
    assert found['started_at'] <= found['ended_at']
    renamed = member.put(f'/volumes/{volume.id}', {'volume': {'name': 'other'}})
    assert logged(reader, renamed)['action'] == 'update'
    assert [one['action'] for one in reader.get('/operations').body['operations']] == ['update', 'create']


def test_work_of_a_workflow_is_logged_once(member: Caller, make: Any, executions: Any) -> None:
    volume = make.volume()
    answer = member.post(f'/volumes/{volume.id}/action', {'os-extend': {'new_size': volume.size + 1}})
    found = logged(member, answer)
    assert (found['action'], found['status'], found['ended_at']) == ('extend', 'running', None)
    # The request after it begins none: what one has begun is not taken for another's.
    renamed = member.put(f'/volumes/{volume.id}', {'volume': {'name': 'other'}})
    assert logged(member, renamed)['status'] == 'succeeded'


@pytest.mark.parametrize(
    ('method', 'path', 'body'),
    [
        ('post', '/volumes?dry_run=1', {'volume': {'size': 1}}),
        ('put', '/os-services/get-log', {}),
        ('get', '/volumes', None),
        ('post', '/volumes', {'volume': {'size': 0}}),
    ],
)
def test_what_changes_nothing_is_no_operation(admin: Caller, method: str, path: str, body: Any) -> None:
    admin.get(path) if body is None else getattr(admin, method)(path, body)
    assert admin.get('/operations').body['operations'] == []


@pytest.mark.parametrize('error', [errors.ServiceUnavailable, errors.OutcomeUnknown, errors.AwsRefused])
def test_a_log_that_cannot_be_written_fails_no_request(
    error: type[errors.CinderlessError], member: Caller, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the role may not write the log, as during an update."""
    volume = make.volume()

    def failing(*_: Any) -> None:
        raise error(operation='dynamodb:UpdateItem', reason='closed', code='AccessDeniedException')

    monkeypatch.setattr(history, 'record', failing)
    assert member.put(f'/volumes/{volume.id}', {'volume': {'name': 'other'}}).body['volume']['name'] == 'other'


def test_a_repeated_request_with_a_key_is_one_operation(member: Caller, make: Any) -> None:
    volume = make.volume()
    for _ in range(2):
        body = {'transfer': {'volume_id': volume.id}}
        assert member.post('/volume-transfers', body, headers={'Idempotency-Key': 'one'}).status == 202
    assert len(member.get('/operations').body['operations']) == 1


def test_administrators_see_what_the_executions_took(member: Caller, admin: Caller, executions: dict[str, Any]) -> None:
    made = member.post('/volumes', {'volume': {'size': 1}})
    id = made.headers['x-openstack-request-id']
    kinds: list[tuple[str, dict[str, Any]]] = [
        ('ExecutionStarted', {}),
        ('TaskStateEntered', {'stateEnteredEventDetails': {'name': 'Schedule'}}),
        ('LambdaFunctionScheduled', {}),
        ('LambdaFunctionFailed', {'lambdaFunctionFailedEventDetails': {'error': 'BackendUnavailable'}}),
        ('LambdaFunctionScheduled', {}),
        ('TaskStateExited', {'stateExitedEventDetails': {'name': 'Schedule'}}),
        ('ChoiceStateEntered', {'stateEnteredEventDetails': {'name': 'IsDone'}}),
        ('ChoiceStateExited', {'stateExitedEventDetails': {'name': 'IsDone'}}),
        ('ExecutionSucceeded', {}),
    ]
    events = [
        {'type': kind, **facts, 'timestamp': MOMENT + datetime.timedelta(seconds=second)}
        for second, (kind, facts) in enumerate(kinds)
    ]
    name = execution_name('create', made.body['volume']['id'], id)
    executions[aws.execution_arn('create_volume', name)] = events
    effort = shown(admin, id)['effort']
    assert (effort['state_transitions'], effort['invocations'], effort['task_seconds']) == (4, 2, 4.0)
    dollars = 4 * 2.5e-5 + 2 * (0.2e-6 + 1300e-9 * 0.5) + 4 * 1.66667e-5
    assert effort['dollars'] == pytest.approx(dollars, abs=1e-9)
    assert 'effort' not in shown(member, id)


def test_prices_are_those_of_the_cost_table() -> None:
    from docs import cost

    assert {name: cost.PRICES[name] for name in history.PRICES} == history.PRICES
    assert cost.LOGGED / 1e9 == history.LOGGED


def test_an_older_path_has_the_same_name(member: Caller, make: Any) -> None:
    answer = member.post('/os-volume-transfer', {'transfer': {'volume_id': make.volume().id}})
    found = logged(member, answer)
    assert (found['action'], found['resource_type']) == ('create', 'transfer')


def test_a_page_follows_any_operation_that_the_caller_sees(member: Caller, door: FrontDoor) -> None:
    """DynamoDB refuses a start key of another project, and one beyond the times of the query."""
    admin = door.caller('admin', uuid.uuid4().hex)
    ids = [member.post('/volumes', {'volume': {'size': 1}}).headers['x-openstack-request-id'] for _ in range(2)]
    own = admin.post('/types', {'volume_type': {'name': 'older'}}).headers['x-openstack-request-id']
    later = member.post('/volumes', {'volume': {'size': 1}}).headers['x-openstack-request-id']

    def listed(caller: Caller, query: str) -> list[str]:
        answer = caller.get(f'/operations?{query}')
        assert answer.status == 200, answer.body
        return [one['id'] for one in answer.body['operations']]

    assert listed(admin, f'marker={later}') == [own]
    assert listed(admin, f'marker={ids[0]}') == []
    since = next(one['started_at'] for one in member.get('/operations').body['operations'] if one['id'] == ids[1])
    assert listed(member, f'since={since}&marker={later}') == [ids[1]]
    assert listed(member, f'since={since}&marker={ids[0]}') == []


def test_the_pages_of_all_projects_read_no_further_than_they_need(
    door: FrontDoor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A log of thirty days may have a million operations; those of each project are read from their newest."""
    callers = [door.caller('member', uuid.uuid4().hex) for _ in range(3)]
    made = [
        callers[number % 3].post('/volumes', {'volume': {'size': 1}}).headers['x-openstack-request-id']
        for number in range(8)
    ]
    for number in range(300):
        facts = {'created_at': '2026-01-01T00:00:00.000000', 'first': {}, 'resource_id': 'old'}
        base.write(Operation(callers[0].project, f'req-{number:03}'), operation_log.kept(facts))
    newest, read, projects = base.newest_first, list[str](), {caller.project for caller in callers}

    def counted(*arguments: Any, **options: Any) -> Any:
        for each in newest(*arguments, **options):
            if each.project_id in projects:  # other tests have theirs in the same table
                read.append(each.id)
            yield each

    monkeypatch.setattr(base, 'newest_first', counted)
    admin = door.caller('admin', uuid.uuid4().hex)
    listed: list[str] = []
    marker = ''
    for _ in range(4):
        answer = admin.get(f'/operations?all_tenants=1&limit=3{marker}')
        listed += [one['id'] for one in answer.body['operations']]
        marker = f'&marker={listed[-1]}'
    assert listed[: len(made)] == made[::-1]  # then come those of other tests
    assert len(made) <= len(read) < 100
    found = admin.get('/operations?all_tenants=1&since=2026-06-01T00:00:00').body['operations']
    assert [one['id'] for one in found][: len(made)] == made[::-1]
