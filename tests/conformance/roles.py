"""Every entry with every role: the answer must be the one that Cinder gave to that role."""

from __future__ import annotations

import functools

from tests.api.front_door import FrontDoor
from tests.conformance.check_project import ROLES, World, send
from tests.conformance.entries import REFUSALS, route
from tests.conformance.facts import Checks, Entry, accidental, entries

#: Where what the facts found cannot be: they failed over a backend that replicates, and no driver here does. Cinder's
#: answer for one that does not is this.
WITHOUT_REPLICATION = {('PUT /os-services/failover_host', 'admin'): 400}


def checks(door: FrontDoor) -> Checks:
    for id, entry in entries().items():
        for role in ROLES if entry.get('observed_status_by_role') else ():
            yield f'role {role} {id}', functools.partial(_wrong, door, entry, role)


def _wrong(door: FrontDoor, entry: Entry, role: str) -> str | None:
    if entry['id'] != 'GET /' and route(entry) is None and not accidental(entry):
        return 'no route'
    expected = WITHOUT_REPLICATION.get((entry['id'], role), entry['observed_status_by_role'][role])
    answer = send(World(door), entry, role, '3.71')
    refused = answer.status in REFUSALS and (accidental(entry) or expected >= 500)
    return None if answer.status == expected or refused else f'{answer.status}, not {expected}: {answer.text[:300]}'
