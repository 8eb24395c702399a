"""The table of routes as a whole: every row names its rule, refuses a stranger, and fits API Gateway."""

from __future__ import annotations

import itertools
import json
import re
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from chalice.app import Chalice
from chalice.local import LocalChalice

from chalicelib.api import route_registration
from chalicelib.api.resource import Resource, Route
from chalicelib.api.resources import MODULES, PREFIXES, beginning_of, routes
from chalicelib.rules.policies import ANY_AUTHENTICATED, POLICIES
from tests.api.front_door import Answer, Caller, FrontDoor, event, match, serve

#: API Gateway's default quota of resources in one API.
MAX_RESOURCES = 300

TABLE = routes()


def name(route: Route) -> str:
    return ' '.join(filter(None, (route.method, route.path, route.action, f'{route.since[0]}.{route.since[1]}')))


def call(route: Route, token: str) -> tuple[Answer, list[str]]:
    """Send a request by this route with a handler that only records the call; only the access rules apply."""
    reached: list[str] = []

    def handler(request: Any, **ids: str) -> None:
        reached.append(name(route))

    seen = route.visible._replace(find=None) if route.visible else None
    bare = route._replace(handler=handler, schema=None, find=None, visible=seen)
    ids = {key: uuid.uuid4().hex for key in re.findall(r'{(\w+)}', route.path)}
    inner = {'snapshot': {'volume_id': 'v'}, 'backup': {'volume_id': 'v'}}
    headers = {
        'X-Auth-Token': token,
        'Content-Type': 'application/json',
        'OpenStack-API-Version': f'volume {route.until[0]}.{route.until[1]}',
    }
    return serve(bare, headers, ids, json.dumps({route.action: None} if route.action else inner)), reached


@pytest.mark.parametrize('route', TABLE, ids=name)
def test_names_a_rule_that_exists(route: Route) -> None:
    assert route.policy in POLICIES


@pytest.mark.parametrize('route', TABLE, ids=name)
def test_without_a_role_no_handler_is_reached(route: Route, door: FrontDoor) -> None:
    answer, reached = call(route, f'@{uuid.uuid4().hex}')
    if route.policy == ANY_AUTHENTICATED:
        assert reached
    else:
        assert not reached
        assert answer.status in {403, 404}


@pytest.mark.parametrize('route', TABLE, ids=name)
def test_without_a_token_nothing_is_reached(route: Route, door: FrontDoor) -> None:
    answer, reached = call(route, 'stale')
    assert not reached
    assert answer.status == 401


@pytest.mark.parametrize('route', TABLE, ids=name)
def test_an_administrator_reaches_everything(route: Route, door: FrontDoor) -> None:
    answer, reached = call(route, f'admin@{uuid.uuid4().hex}')
    assert reached
    assert answer.status == route.status


def test_both_forms_of_every_path_are_routed(door: FrontDoor) -> None:
    for route in TABLE:
        for prefix in PREFIXES:
            assert route.method in door.app.routes[prefix + route.path]


def test_a_path_is_served_by_the_modules_of_its_row() -> None:
    """A module that a row leaves out is not imported for its paths, so its routes would be missing where they serve."""
    served: dict[str | None, set[str]] = {}
    for route in TABLE:
        module = route.handler.__module__.rpartition('.')[2]
        if module != 'standard_routes':  # whose lists are declared beside their resource
            served.setdefault(beginning_of(route.path), set()).add(module)
    assert served == {beginning: set(modules) for beginning, modules in MODULES.items()}


def test_a_path_is_registered_when_it_is_first_asked_for(door: FrontDoor) -> None:
    lazy = Chalice('cinderless')
    route_registration.register_on_demand(lazy)
    assert not lazy.routes
    for place, methods in door.app.routes.items():
        answer = lazy(event('PATCH', place, place, {}, '', {}, None), None)
        assert answer['statusCode'] == 404
        assert set(lazy.routes[place]) == set(methods)
    assert set(lazy.routes) == set(door.app.routes)


def test_what_is_registered_on_demand_answers(door: FrontDoor, member: Caller) -> None:
    lazy = Chalice('cinderless')
    route_registration.register_on_demand(lazy)
    known = FrontDoor(door.app).caller('member', member.project)
    for path in ('/volumes', '/volumes/detail', '/types'):
        sent = event('GET', f'/v3{path}', f'/v3{path}', {}, '', member.headers, None)
        assert json.loads(lazy(sent, None)['body']) == known.get(path).body
    unknown = event('GET', '/v3/nothing', '/v3/nothing', {}, '', member.headers, None)
    assert lazy(unknown, None)['statusCode'] == 404


def test_two_first_requests_for_a_path_wait_for_all_of_it(member: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the local cloud, where requests of one process are served side by side."""
    lazy = LocalChalice('cinderless')
    route_registration.register_on_demand(lazy)
    begun, second = threading.Event(), threading.Event()
    register = route_registration._register_options

    def slowly(app: Chalice) -> None:
        begun.set()
        second.wait(0.3)  # without the lock the second request is answered meanwhile
        register(app)

    monkeypatch.setattr(route_registration, '_register_options', slowly)
    sent = event('GET', '/v3/volumes', '/v3/volumes', {}, '', member.headers, None)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(lazy, sent, None)
        assert begun.wait(20)
        assert pool.submit(lazy, sent, None).result()['statusCode'] == 200
        assert 'OPTIONS' in lazy.routes['/v3/volumes']
        second.set()
        assert first.result()['statusCode'] == 200


def test_every_handler_of_every_module_is_mounted(door: FrontDoor) -> None:
    """A module that the table does not name is dead, and so are tests that call its handlers directly."""
    import importlib
    from pathlib import Path

    folder = Path(route_registration.__file__).parent
    declared = {
        (route.method, route.path, route.handler.__qualname__)
        for file in folder.glob('*.py')
        for one in vars(importlib.import_module(f'chalicelib.api.{file.stem}')).values()
        if isinstance(one, Resource)
        for route in one.routes
    }
    assert declared == {(route.method, route.path, route.handler.__qualname__) for route in TABLE}
    for method, path, _ in declared:
        for prefix in PREFIXES:
            assert method in door.app.routes[prefix + path]


def test_every_mounted_path_is_handled(door: FrontDoor, member: Caller) -> None:
    """No path of the table ends in the router's 404."""
    for place, methods in door.app.routes.items():
        path = re.sub(r'{(\w+)}', lambda found: member.project if found[1] == 'project_id' else 'x', place)
        if place.startswith(('/identity', '/console/')):
            continue  # tests/api/test_identity.py, test_console.py
        for method in set(methods) - {'OPTIONS'}:
            sent = {**member.headers, 'OpenStack-API-Version': 'volume 3.71'}
            answer = door.send(method, path, sent, None)
            assert answer.status < 500, (method, path)
            assert '<br />' not in answer.text, (method, path)
            assert answer.headers['x-openstack-request-id'].startswith('req-')


def test_fits_the_quota_of_api_gateway(door: FrontDoor) -> None:
    assert len(_nodes(door)) < MAX_RESOURCES


def test_one_variable_name_per_level(door: FrontDoor) -> None:
    """API Gateway refuses sibling variables of different names; Chalice does not notice."""
    variables: dict[str, set[str]] = {}
    for node in _nodes(door):
        parent, _, leaf = node.rpartition('/')
        if leaf.startswith('{'):
            variables.setdefault(parent, set()).add(leaf)
    assert {parent: names for parent, names in variables.items() if len(names) > 1} == {}


def _nodes(door: FrontDoor) -> set[str]:
    """Every resource that API Gateway makes of the paths."""
    nodes = set()
    for path in door.app.routes:
        parts = path.strip('/').split('/')
        nodes |= {'/'.join(parts[: end + 1]) for end in range(len(parts))}
    return nodes


def test_routes_that_share_a_path_differ_by_action_or_version() -> None:
    for url in {(route.method, route.path) for route in TABLE}:
        shared = [route for route in TABLE if (route.method, route.path) == url]
        actions = {route.action for route in shared}
        assert None not in actions or actions == {None}
        for action in actions:
            spans = sorted((route.since, route.until) for route in shared if route.action == action)
            assert all(left[1] < right[0] for left, right in itertools.pairwise(spans))


def test_any_content_type_reaches_the_front_door(door: FrontDoor) -> None:
    """Chalice would answer 415 in its own words."""
    for methods in door.app.routes.values():
        assert all(entry.content_types == ['*/*'] for entry in methods.values())


def test_what_is_refused_by_chalice_becomes_cinders_404(member: Caller) -> None:
    found = match(tuple(sorted(member.door.app.routes)), '/v3/volumes')
    assert found is not None
    answer = member.door.app(event('PATCH', '/v3/volumes', found[0], {}, '', member.headers, None), None)
    assert answer['statusCode'] == 404
    assert json.loads(answer['body'])['title'] == 'Not Found'
