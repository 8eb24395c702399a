"""What each route's rule is about under policy overrides, compared with what Cinder passes to the rule."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from chalicelib.api import policy_targets
from chalicelib.api.request import Request
from chalicelib.api.resource import Route
from chalicelib.api.resources import routes
from chalicelib.context import Context
from chalicelib.rules.policies import ANY_AUTHENTICATED, EXTENSIONS, POLICIES
from tests.policies.objects import body_of
from tests.run_statistics import Counting

#: Rule -> Cinder's expressions for its target; '' for none. Written by extract.py.
TARGETS: dict[str, list[str]] = json.loads(Path(__file__).with_name('targets.json').read_text())

#: Rules whose object this service does not pass: a type has no project, and a source is checked by its own rules.
WITHOUT = {'volume_extension:type_get', 'group:get'}

#: Rules that are named elsewhere in another form, or that Cinder checks with an administrator's rights alone.
NAMED_OTHERWISE = {'volume_extension:volume_actions:upload_public', 'volume:update_volume_admin_metadata'}


class AnyId(dict[str, str]):
    def __missing__(self, name: str) -> str:
        return '9f3b6c55-7a1e-4d2b-8c7e-0123456789ab'


def request(route: Route) -> Request:
    overridden: Any = object()
    caller = Context(user_id='u', project_id='p', roles=frozenset(), overrides=overridden)
    body = json.loads(body_of(route, AnyId()) or 'null')
    if route.action is not None:
        body = body[route.action]
    return Request(context=caller, body=body, query={}, headers={}, endpoint='', project_in_url=None)


def test_a_rule_of_a_route_is_about_what_cinder_passes(counted: Counting) -> None:
    differing = []
    for route in routes():
        rule = route.policy
        if rule in EXTENSIONS or rule == ANY_AUTHENTICATED or (rule in WITHOUT and '{' not in route.path):
            continue
        ids = {'id': 'x'} if '{id}' in route.path else {}
        has_object = policy_targets.finder(route, request(route), ids, rule) is not None
        wanted = set(TARGETS[rule]) - {''}
        if route.owned_by:
            assert wanted == {'target'}, rule
            continue
        if has_object != bool(wanted) and rule not in WITHOUT:
            differing.append((route.method, route.path, route.action, rule, TARGETS[rule]))
        counted('routes whose targets are compared with Cinder', 1)
    assert differing == []


def test_every_rule_of_cinder_is_checked_somewhere() -> None:
    """An override of a rule without effect would be a promise that is not kept."""
    of_routes = {route.policy for route in routes()}
    code = ''.join(path.read_text() for path in Path('chalicelib').rglob('*.py') if path.name != 'policies.py')
    assert {rule for rule in POLICIES if rule not in of_routes and f"'{rule}'" not in code} == NAMED_OTHERWISE
