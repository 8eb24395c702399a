"""Every entry of the surface is a row of our table."""

from __future__ import annotations

import functools
import re

from tests.api.front_door import FrontDoor
from tests.conformance.check_project import World, send
from tests.conformance.facts import Checks, Entry, accidental, entries, version

#: What refuses an accidental entry.
REFUSALS = (400, 404)

#: Where Cinder checks another rule first, and turns the refusal of its own into a bad request.
ASKED_FIRST = {'POST /groups/action create-from-src': 'group:get'}


def checks(door: FrontDoor) -> Checks:
    for id, entry in entries().items():
        wrong = functools.partial(_accident, door) if accidental(entry) else _wrong
        yield f'entry {id}', functools.partial(wrong, entry)


def _accident(door: FrontDoor, entry: Entry) -> str | None:
    """Check that what Cinder serves by accident is refused, or has the entry's documented success code."""
    answer = send(World(door), entry, 'admin', '3.71')
    fine = answer.status in (*REFUSALS, *entry['success_codes'])
    return None if fine else f'answers {answer.status}: {answer.text[:300]}'


def route(entry: Entry):
    """Our route of an entry at its newest version, or None."""
    from chalicelib.api.resources import routes

    found = [
        one
        for one in routes()
        if (one.method, shape(one.path), one.action) == (entry['method'], shape(entry['path']), entry['action'])
    ]
    return max(found, key=lambda one: one.until, default=None)


def shape(path: str) -> str:
    """A path with its variables unnamed."""
    return re.sub(r'{\w+}', '{}', path)


def _wrong(entry: Entry) -> str | None:
    from chalicelib.rules.policies import POLICIES

    if entry['id'] == 'GET /':
        return None
    ours = route(entry)
    if ours is None:
        return 'no route'
    since = min(one.since for one in _all(entry))
    if since != version(entry['min_version']):
        return f'since {since}, not {entry["min_version"]}'
    if ours.status not in entry['success_codes']:
        return f'answers {ours.status}, not {entry["success_codes"]}'
    rules = {policy['name'] for policy in entry['policies']} or {'any_authenticated'}
    rules |= {ASKED_FIRST[entry['id']]} if entry['id'] in ASKED_FIRST else set()
    if ours.policy not in rules and not (ours.policy == 'any_authenticated' and entry['group'] == 'limits'):
        return f'policy {ours.policy}, not {sorted(rules)}'
    return None if ours.policy in POLICIES else f'unknown policy {ours.policy}'


def _all(entry: Entry):
    from chalicelib.api.resources import routes

    wanted = (entry['method'], shape(entry['path']), entry['action'])
    return [one for one in routes() if (one.method, shape(one.path), one.action) == wanted]
