"""Every route for every caller: the answer is derived from the rule of the route and from the owner of the object.

* A caller without a valid token gets 401.
* An object of another project does not exist: its answer is that for an id that was never used.
* A caller of the owner's project whose roles do not pass the rule gets 403; without the role reader, 404 also.
* Any other caller reaches the handler.

A refused call changes no table, and names nothing of the objects. The rules are oslo.policy's check strings of
Cinder's package, not this service's table.
"""

from __future__ import annotations

import itertools
import json
import uuid
from collections.abc import Iterator
from typing import Any

import boto3
import pytest

from chalicelib import aws
from chalicelib.api import front_door
from chalicelib.api.resource import Route
from chalicelib.api.resources import PREFIXES, routes
from chalicelib.rules.policies import ANY_AUTHENTICATED
from tests.api import memory
from tests.api.front_door import Answer, FrontDoor, Worker
from tests.policies.objects import MARK, NAMED, OWNED, Objects, body_of, make, path_of
from tests.policies.personas import OWNER, PERSONAS, Persona, Tokens, built_in, document, headers_of, of_keystone
from tests.run_statistics import Counting
from tests.unit.identity.fake_keystone import FakeKeystone, serving
from tests.unit.policy_defaults import CHECK_STRINGS
from tests.unit.test_policies import granted

TABLE = routes()

#: Rules of extensions -> Cinder's rule for the same verb on the resource that they extend.
LIKE = {
    **{f'backup_schedule:{verb}': f'backup:{verb}' for verb in ('create', 'delete', 'get', 'get_all', 'update')},
    **{f'backup:{verb}': 'backup:create' for verb in ('copy', 'drill', 'scrub')},
    **{f'operation:{verb}': f'backup:{verb}' for verb in ('get', 'get_all')},
}

#: Objects that any caller finds who has the key of the offer.
OFFERED = {('POST', '/volume-transfers/{id}/accept'), ('POST', '/os-volume-transfer/{id}/accept')}

#: Routes that answer 404 to callers who may see the object: it lacks what they name.
NOT_THERE = {
    ('GET', '/clusters/{id}', None), ('PUT', '/clusters/enable', None), ('PUT', '/clusters/disable', None),
    ('POST', '/volumes/{id}/action', 'os-unset_image_metadata'), ('GET', '/volumes/{id}/encryption/{key}', None),
    ('GET', '/types/{id}/os-volume-type-access', None), ('GET', '/types/{id}/extra_specs/{key}', None),
    ('GET', '/types/{id}/encryption/{key}', None), ('PUT', '/types/{id}/encryption/{key}', None),
    ('DELETE', '/types/{id}/encryption/{key}', None), ('GET', '/group_types/{id}/group_specs/{key}', None),
    ('DELETE', '/group_types/{id}/group_specs/{key}', None),
    ('GET', '/default-types/{id}', None), ('DELETE', '/default-types/{id}', None),
}  # fmt: skip


class Cloud:
    """The API with its objects, and the callers' tokens."""

    def __init__(self, door: FrontDoor, of: Tokens, objects: Objects, patch: pytest.MonkeyPatch) -> None:
        self.door, self.tokens, self.objects = door, of, objects
        self.reached: list[Route] = []
        self._before = memory._tables().copy()
        handle = front_door._handle

        def handled(route: Route, *rest: Any) -> Any:
            self.reached.append(route)
            return handle(route, *rest)

        patch.setattr(front_door, '_handle', handled)

    def call(self, persona: Persona, method: str, path: str, body: str | None, version: Any = (3, 71)) -> Answer:
        headers = {'OpenStack-API-Version': f'volume {version[0]}.{version[1]}', 'Content-Type': 'application/json'}
        self.reached.clear()
        return self.door.send(method, path, headers | headers_of(self.tokens, persona), body)

    def changed(self) -> list[str]:
        """Return the tables that differ from the beginning, and restore them."""
        now = memory._tables()
        differing = [
            name
            for name, table in self._before.tables.items()
            if table.items != now.tables[name].items and not name.endswith('-revocations')
        ]
        if differing:
            now.put_back(self._before)
            memory.forget()
        return differing


def opened(patch: pytest.MonkeyPatch) -> FrontDoor:
    from app import app

    patch.setattr(aws, 'invoke', Worker().invoke)
    patch.setattr(aws, 'enqueue', lambda message: None)
    patch.setattr(aws, 'execution_events', lambda arn: None)
    memory.forget()
    return FrontDoor(app)


@pytest.fixture(scope='module', params=['built-in identity', 'Keystone'])
def cloud(request: pytest.FixtureRequest) -> Iterator[Cloud]:
    name, keystone = f'identity-{uuid.uuid4().hex}', FakeKeystone()
    with serving(keystone), pytest.MonkeyPatch.context() as patch:
        is_keystone = request.param == 'Keystone'
        chosen = {'KEYSTONE_URL': keystone.url, 'KEYSTONE_SECRET': name} if is_keystone else {'IDENTITY_SECRET': name}
        with memory.cloud_in_memory(**chosen):
            secret = 'password' if is_keystone else json.dumps(document())
            boto3.client('secretsmanager').create_secret(Name=name, SecretString=secret)
            aws.forget_documents()
            door = opened(patch)
            known = of_keystone(keystone) if is_keystone else built_in(door)
            yield Cloud(door, known, make(known.projects[OWNER]), patch)
            aws.forget_documents()


def passes(route: Route, persona: Persona) -> bool:
    """Whether a caller's roles pass the route's rule on an object of its own project, by Cinder's check string."""
    rule = LIKE.get(route.policy, route.policy)
    return rule == ANY_AUTHENTICATED or granted(CHECK_STRINGS[rule], persona.roles, owns=True)


def names_an_owned_object(route: Route) -> bool:
    return '{id}' in route.path and route.path.split('/')[1] in OWNED


def expected(route: Route, persona: Persona) -> set[int]:
    """The statuses of a refusal that the rules demand; empty for a call that reaches the handler."""
    if not persona.is_valid:
        return {401}
    foreign = persona.is_stranger and names_an_owned_object(route) and (route.method, route.path) not in OFFERED
    if foreign:
        return {404} if passes(route, persona) else {403, 404}
    if persona.is_stranger and route.owned_by is not None:
        return {403}
    if not passes(route, persona):
        looked_up = persona.is_stranger and route.visible is not None
        return {403} if 'reader' in persona.roles and not looked_up else {403, 404}
    return set()


def leaked(answer: Answer, objects: Objects, sent: str) -> list[str]:
    """What an answer shows of the objects beyond what the request named."""
    return [value for value in objects.values() if value in answer.text and value not in sent]


def violations(cloud: Cloud, route: Route, persona: Persona, path: str, body: str | None) -> Iterator[str]:
    answer = cloud.call(persona, route.method, path, body, route.until)
    reached, changed = bool(cloud.reached), cloud.changed()
    wanted = expected(route, persona)
    where = f'{route.method} {path} {route.action or ""} as {persona.name}: {answer.status} {answer.text[:150]}'
    if wanted and answer.status not in wanted:
        yield f'{where} (not {sorted(wanted)})'
    if not wanted and (not reached or answer.status in (401, 403, 500)):
        yield f'{where} (refused)'
    lacking = answer.status == 404 and (route.method, route.path, route.action) not in NOT_THERE
    if not wanted and lacking and not persona.is_stranger:
        yield f'{where} (its own object)'
    if wanted and changed:
        yield f'{where} changed {changed}'
    if (wanted or persona.is_stranger) and (shown := leaked(answer, cloud.objects, f'{path} {body}')):
        yield f'{where} shows {shown}'


def prefixes(cloud: Cloud, persona: Persona) -> tuple[str, str]:
    project = cloud.tokens.projects[persona.project or OWNER]
    return PREFIXES[0], f'{PREFIXES[0]}/{project}'


def test_every_route_for_every_caller(cloud: Cloud, counted: Counting) -> None:
    cells, found = 0, []
    for route, persona in itertools.product(TABLE, PERSONAS):
        path, body = path_of(route, cloud.objects), body_of(route, cloud.objects.ids)
        for prefix in prefixes(cloud, persona):
            cells += 1
            found += violations(cloud, route, persona, prefix + path, body)
    counted('isolation: cells of routes and callers', cells)
    assert found == [], '\n'.join([f'{len(found)} of {cells}', *found])


STRANGERS = tuple(persona for persona in PERSONAS if persona.is_valid and persona.is_stranger)


def test_an_object_of_another_project_is_like_one_that_never_existed(cloud: Cloud, counted: Counting) -> None:
    """Named in the path or in the body: the answers differ in the id only."""
    cells, found = 0, []
    unused = {name: str(uuid.uuid4()) for name in cloud.objects.ids}
    unused['os-volume-transfer'] = unused['volume-transfers']
    for route, persona in itertools.product(TABLE, STRANGERS):
        for path_ids, body_ids in ((unused, cloud.objects.ids), ({}, unused)):
            cells += 1
            found += differences(cloud, route, persona, path_ids, body_ids, unused)
    counted('isolation: comparisons with objects that never existed', cells)
    assert found == [], '\n'.join([f'{len(found)} of {cells}', *found])


def differences(
    cloud: Cloud, route: Route, persona: Persona, path_ids: Any, body_ids: Any, unused: dict[str, str]
) -> Iterator[str]:
    """Compare the answer about the owner's object, in the body or in the path, with that about an unused id."""
    own = cloud.objects.ids
    if path_ids and not any(own[NAMED[name]] in str(body_of(route, own)) for name in NAMED):
        return
    if not path_ids and (not names_an_owned_object(route) or (route.method, route.path) in OFFERED):
        return
    answers = []
    for path_from, body_from in ((path_ids, body_ids), (unused, unused)):
        path, body = path_of(route, cloud.objects, path_from), body_of(route, body_from)
        answer = cloud.call(persona, route.method, PREFIXES[0] + path, body, route.until)
        if cloud.changed() and (path_from, body_from) != (unused, unused):
            yield f'{route.method} {path} {route.action} as {persona.name} changed something'
        answers.append((answer.status, masked(answer.text, own, unused)))
    if answers[0] != answers[1]:
        yield f'{route.method} {route.path} {route.action or ""} as {persona.name}: {answers[0]}, not {answers[1]}'


def masked(text: str, own: Any, unused: dict[str, str]) -> str:
    for name in own:
        text = text.replace(own[name], name).replace(unused[name], name)
    return text


def test_no_other_verb_is_served(cloud: Cloud, counted: Counting) -> None:
    """A verb that a path lacks is the router's 404 for every caller."""
    cells, found = 0, []
    every = ('GET', 'POST', 'PUT', 'DELETE', 'PATCH', 'HEAD', 'TRACE')
    for place, methods in cloud.door.app.routes.items():
        for method in (verb for verb in every if verb not in methods):
            for persona in (PERSONAS[0], PERSONAS[1], PERSONAS[-1]):
                cells += 1
                path = place.replace('{project_id}', cloud.tokens.projects[persona.project or OWNER])
                answer = cloud.call(persona, method, path.replace('{id}', cloud.objects.ids['volumes']), '{}')
                if answer.status != 404 or cloud.changed() or MARK in answer.text:
                    found.append(f'{method} {place} as {persona.name}: {answer.status}')
    counted('isolation: verbs that are not served', cells)
    assert found == []


def test_keys_belong_to_their_project(cloud: Cloud, counted: Counting) -> None:
    cells = 0
    for persona, payload in itertools.product(PERSONAS, ('', '/payload')):
        cells += 1
        path = f'/key-manager/v1/secrets/{cloud.objects.ids["key"]}{payload}'
        headers = headers_of(cloud.tokens, persona) | {'Accept': 'application/octet-stream' if payload else '*/*'}
        answer = cloud.door.send('GET', path, headers, None)
        role = 'member' if payload else 'reader'
        allowed = persona.project == OWNER and role in persona.roles
        expected = 200 if allowed else 401 if not persona.is_valid else 404 if persona.project != OWNER else 403
        assert answer.status == expected, (persona.name, path, answer.text)
    counted('isolation: cells of keys and callers', cells)


def test_a_private_type_does_not_exist_for_other_projects(cloud: Cloud) -> None:
    path = f'/v3/types/{cloud.objects.ids["private type"]}'
    for persona in PERSONAS:
        if persona.is_valid and 'reader' in persona.roles:
            answer = cloud.call(persona, 'GET', path, None)
            assert answer.status == (200 if 'admin' in persona.roles else 404), (persona.name, answer.text)
            listed = cloud.call(persona, 'GET', '/v3/types?is_public=None', None)
            assert (MARK in listed.text) == ('admin' in persona.roles), persona.name
