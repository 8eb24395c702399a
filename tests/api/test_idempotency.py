"""The Idempotency-Key header through the mounted routes: one key, one piece of work, one answer."""

from __future__ import annotations

import itertools
import threading
import time
from typing import Any

import pytest

from chalicelib import errors
from chalicelib.api import idempotency as layer
from chalicelib.api import resources
from chalicelib.models import IdempotencyKey
from chalicelib.operations import idempotency as operations
from chalicelib.operations import volume_creation
from tests.api.front_door import Answer, Caller, Worker

VOLUME = {'volume': {'size': 1}}


def create(caller: Caller, key: str | None, body: Any = None, path: str = '/volumes', **facts: Any) -> Answer:
    headers = {} if key is None else {'Idempotency-Key': key}
    return caller.post(path, body or VOLUME, headers={**headers, **facts.pop('headers', {})}, **facts)


def count(caller: Caller) -> int:
    return len(caller.get('/volumes').body['volumes'])


def keys_of(project: str) -> list[IdempotencyKey]:
    return list(IdempotencyKey.query(project, consistent_read=True))


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operations, 'PAUSES', (0.0, 0.01, 0.01))


def test_a_repeated_request_gets_the_first_answer(member: Caller) -> None:
    first, second = create(member, 'k'), create(member, 'k')
    assert (first.status, first.text) == (second.status, second.text) == (202, first.text)
    assert count(member) == 1
    assert ('idempotent-replayed' in first.headers, second.headers['idempotent-replayed']) == (False, 'true')
    assert first.headers['content-type'] == second.headers['content-type']
    assert first.headers['x-openstack-request-id'] != second.headers['x-openstack-request-id']


def test_the_answer_stays_when_the_volume_changes(member: Caller) -> None:
    first = create(member, 'k')
    member.put(f'/volumes/{first.body["volume"]["id"]}', {'volume': {'name': 'renamed'}})
    assert create(member, 'k').text == first.text


def test_without_the_header_two_requests_make_two_volumes(member: Caller, project: str) -> None:
    create(member, None)
    create(member, None)
    assert count(member) == 2
    assert keys_of(project) == []


def test_a_global_request_id_never_deduplicates(member: Caller) -> None:
    """One id accompanies a whole server build, which may make several equal volumes."""
    headers = {'X-OpenStack-Request-ID': 'req-7d1c8f3e-1111-4222-8333-444455556666'}
    assert create(member, None, headers=headers).status == create(member, None, headers=headers).status == 202
    assert count(member) == 2


@pytest.mark.parametrize(
    'other',
    [{'body': {'volume': {'size': 2}}}, {'path': '/volumes?dry_run=1'}, {'at': '3.50'}],
    ids=['body', 'query', 'microversion'],
)
def test_another_request_under_the_key_is_422(member: Caller, other: dict[str, Any]) -> None:
    create(member, 'k')
    name, code, message = create(member, 'k', **other).fault
    assert (name, code) == ('computeFault', 422)
    assert message == errors.IdempotencyKeyReused.template
    assert count(member) == 1


def test_the_order_of_a_body_does_not_matter(member: Caller) -> None:
    texts = '{"volume": {"size": 1, "name": "a"}}', '{"volume":{"name":"a","size":1}}'
    assert len({create(member, 'k', text).text for text in texts}) == 1


def test_a_key_belongs_to_project_user_and_path(member: Caller, admin: Caller, stranger: Caller) -> None:
    made = [create(caller, 'k').body['volume']['id'] for caller in (member, admin, stranger)]
    assert len(set(made)) == 3
    for id in made[:2]:
        body = {'snapshot': {'volume_id': id, 'force': True}}
        assert create(member, 'k', body, f'/volumes/{id}/metadata', headers={}).status == 400
    both = [create(member, 'l', {'metadata': {'a': 'b'}}, f'/volumes/{id}/metadata').status for id in made[:2]]
    assert both == [200, 200]


def test_both_forms_of_a_path_are_one(member: Caller, project: str) -> None:
    first = create(member, 'k')
    second = create(member, 'k', prefix=f'/v3/{project}')
    assert first.text == second.text


@pytest.mark.parametrize('key', ['', 'x' * 256, 'tab\t', 'é', '\x7f'])
def test_a_malformed_key_is_400_that_names_the_limit(member: Caller, key: str) -> None:
    name, code, message = create(member, key).fault
    assert (name, code) == ('badRequest', 400)
    assert '255' in message
    assert count(member) == 0


@pytest.mark.parametrize('key', ['x', 'x' * 255, '"8e03978e-40d5-43e8-bc93-6894a57f9324"', '~ !'])
def test_keys_that_may_be(member: Caller, key: str) -> None:
    assert create(member, key).text == create(member, key).text


def test_the_token_and_the_policy_are_checked_at_each_repetition(member: Caller, project: str) -> None:
    first = create(member, 'k')
    assert create(Caller(member.door, project, {}), 'k').status == 401
    demoted = Demoted(member.door, project, {'X-Auth-Token': f'reader@{project}'})
    demoted.install()
    try:
        assert create(demoted, 'k').status == 403
    finally:
        demoted.remove()
    assert create(member, 'k').text == first.text


class Demoted(Caller):
    """The member, whose role on the project was reduced to reader."""

    def install(self) -> None:
        from chalicelib.api import tokens

        real = tokens.validator
        Demoted.real = real  # type: ignore[attr-defined]

        class Same:
            def validate(self, token: str, *, allow_expired: bool = False) -> Any:
                return real().validate(token, allow_expired=allow_expired)._replace(user_id='user-member')

        tokens.validator = Same  # type: ignore[assignment]

    def remove(self) -> None:
        from chalicelib.api import tokens

        tokens.validator = Demoted.real  # type: ignore[attr-defined]


def test_a_refusal_is_not_kept(member: Caller, admin: Caller, project: str) -> None:
    """A client that is over its quota frees capacity, and repeats the request with its key."""
    admin.put(f'/os-quota-sets/{project}', {'quota_set': {'volumes': 0}})
    assert create(member, 'k').status == 413
    assert keys_of(project) == []
    admin.put(f'/os-quota-sets/{project}', {'quota_set': {'volumes': 1}})
    assert create(member, 'k').status == 202


def test_an_outage_is_not_kept(member: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(
            volume_creation, '_accept', lambda *_: (_ for _ in ()).throw(errors.ServiceUnavailable(reason='x'))
        )
        assert create(member, 'k').status == 503
    assert create(member, 'k', {'volume': {'size': 2}}).status == 422
    assert create(member, 'k').status == 202


def test_a_key_ends_after_24_hours_though_its_record_is_still_there(
    member: Caller, project: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    create(member, 'k')
    (kept,) = keys_of(project)
    assert 0 <= kept.expires - time.time() - 24 * 3600 < 2 or abs(kept.expires - time.time() - 24 * 3600) < 60
    now = time.time()
    monkeypatch.setattr(operations.time, 'time', lambda: now + 24 * 3600 - 60)
    create(member, 'k')
    assert count(member) == 1
    monkeypatch.setattr(operations.time, 'time', lambda: now + 24 * 3600 + 1)
    assert 'idempotent-replayed' not in create(member, 'k').headers
    assert count(member) == 2


def test_while_the_first_is_served_the_second_is_409_with_retry_after(
    member: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: list[Answer] = []
    accept = volume_creation._accept

    def slow(*arguments: Any) -> Any:
        answers.append(create(member, 'k'))
        return accept(*arguments)

    monkeypatch.setattr(volume_creation, '_accept', slow)
    first = create(member, 'k')
    (second,) = answers
    name, code, message = second.fault
    assert (first.status, name, code, second.headers['retry-after']) == (202, 'conflictingRequest', 409, '5')
    assert 'still being served' in message
    assert create(member, 'k').text == first.text


def test_requests_at_once_get_one_answer(member: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operations, 'PAUSES', (0.0, *[0.1] * 100))
    start, answers = threading.Barrier(6), []

    def ask() -> None:
        start.wait()
        answers.append(create(member, 'k'))

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {answer.status for answer in answers} == {202}
    assert len({answer.text for answer in answers}) == 1
    assert count(member) == 1


def test_a_request_that_lost_its_key_accepts_nothing(
    member: Caller, project: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that is slower than the gateway: meanwhile the client repeats the request, and is served."""
    accept, answers = volume_creation._accept, []

    def overtaken(*arguments: Any) -> Any:
        monkeypatch.setattr(volume_creation, '_accept', accept)
        (held,) = keys_of(project)
        held.update(actions=[IdempotencyKey.busy_until.set(0)])
        answers.append(create(member, 'k'))
        return accept(*arguments)

    monkeypatch.setattr(volume_creation, '_accept', overtaken)
    late = create(member, 'k')
    assert (late.status, answers[0].status, count(member)) == (409, 202, 1)
    assert create(member, 'k').text == answers[0].text


def test_answers_with_secrets_are_sealed(member: Caller, worker: Worker, make: Any, project: str) -> None:
    volume = make.volume()
    real = worker.invoke

    def invoke(function: str, task: str, payload: dict[str, Any], *, seconds: float = 27) -> Any:
        return {**real(function, task, payload, seconds=seconds), 'auth_password': 'chap-secret' * 600}

    member.door  # noqa: B018
    from chalicelib import aws

    patch = pytest.MonkeyPatch()
    patch.setattr(aws, 'invoke', invoke)
    try:
        body = {'attachment': {'volume_uuid': volume.id, 'connector': {'host': 'h', 'initiator': 'iqn.x'}}}
        attached = [create(member, 'k', body, '/attachments', at='3.54') for _ in range(2)]
    finally:
        patch.undo()
    body = {'transfer': {'volume_id': make.volume().id}}
    offered = [create(member, 'k', body, '/volume-transfers', at='3.71') for _ in range(2)]
    assert attached[0].text == attached[1].text
    assert offered[0].text == offered[1].text
    stored = repr([record.attribute_values for record in keys_of(project)])
    assert 'chap-secret' in attached[1].text
    assert 'chap-secret' not in stored
    assert offered[0].body['transfer']['auth_key'] not in stored


def test_an_answer_that_is_too_large_is_completed_from_the_record(
    member: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operations, 'MAX_BODY', 10)
    first, second = create(member, 'k'), create(member, 'k')
    assert first.body['volume']['id'] == second.body['volume']['id']
    assert count(member) == 1


def test_a_secret_is_completed_too(member: Caller, make: Any, project: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer is too large; the transfer's record has only a hash of its key."""
    monkeypatch.setattr(operations, 'MAX_SEALED', 10)
    body = {'transfer': {'volume_id': make.volume().id}}
    first, second = (create(member, 'k', body, '/volume-transfers', at='3.71') for _ in range(2))
    assert (first.status, second.status) == (202, 202)
    assert first.body['transfer']['auth_key'] == second.body['transfer']['auth_key']
    stored = repr([record.attribute_values for record in keys_of(project)])
    assert first.body['transfer']['auth_key'] not in stored


def test_an_answer_that_cannot_be_stored_is_given_and_found_later(
    member: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(*_: Any) -> None:
        raise errors.OutcomeUnknown

    with monkeypatch.context() as patch:
        patch.setattr(operations, '_change', lost)
        first = create(member, 'k')
    assert first.status == 202
    assert create(member, 'k').status == 409
    later = time.time() + 40
    monkeypatch.setattr(operations.time, 'time', lambda: later)
    assert create(member, 'k').body['volume']['id'] == first.body['volume']['id']
    assert count(member) == 1


def test_other_methods_ignore_the_header(member: Caller) -> None:
    made = create(member, 'k').body['volume']['id']
    for name in ('a', 'b'):
        answer = member.put(f'/volumes/{made}', {'volume': {'name': name}}, headers={'Idempotency-Key': 'k'})
        assert answer.body['volume']['name'] == name


def test_logging_in_is_no_part_of_it() -> None:
    assert not any('/auth/' in route.path for route in resources.routes())


def test_each_rule_is_of_a_route() -> None:
    posts = {(route.path, route.action) for route in resources.routes() if route.method == 'POST'}
    assert set(layer.RULES) <= posts


def test_each_route_that_answers_with_a_body_may_be_resumed_or_decides_nothing() -> None:
    """A marked key of any other route is answered by the route's status alone."""
    import inspect

    bodiless = {
        (route.path, route.action)
        for route in resources.routes()
        if route.method == 'POST' and inspect.signature(route.handler).return_annotation in ('None', None)
    }
    for path, rule in layer.RULES.items():
        assert rule.resumes != (path in bodiless), path
    unruled = {
        (route.path, route.action)
        for route in resources.routes()
        if route.method == 'POST' and (route.path, route.action) not in layer.RULES
    }
    assert unruled - bodiless == SERVED_AGAIN


#: Routes whose handlers change no status, and return the same when they are called again.
SERVED_AGAIN = {
    *itertools.product(['/volumes/{id}/metadata', '/snapshots/{id}/metadata'], [None]),
    ('/types/{id}/extra_specs', None),
    ('/group_types/{id}/group_specs', None),
    ('/volumes/{id}/action', 'os-show_image_metadata'),
    ('/volumes/{id}/action', 'os-set_image_metadata'),
    ('/groups/{id}/action', 'list_replication_targets'),
    ('/workers/cleanup', None),
    ('/os-services/dead-letters', None),
}
