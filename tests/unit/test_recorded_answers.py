"""The condensed tables of Cinder's answers keep what the runs read."""

from __future__ import annotations

import json
from typing import Any

from tests.conformance import facts
from tests.vectors import condense

FIELD = {'name': 'volume.os-vol-host-attr:host', 'type': 'string|null', 'min_version': '3.0', 'admin_only': True}
ENTRY: dict[str, Any] = {
    'id': 'PUT /volumes/{id}',
    'group': 'volumes',
    'method': 'PUT',
    'path': '/volumes/{id}',
    'action': None,
    'summary': 'Prose',
    'min_version': '3.0',
    'success_codes': [200],
    'tier': 1,
    'observed_status_by_role': {'admin': 200},
    'policies': [{'name': 'volume:update', 'default': 'prose'}],
    'response_fields': [FIELD, {**FIELD, 'name': 'volume.<other key>', 'admin_only': False, 'when': 'prose'}],
    'request_fields': [
        {'name': 'volume.name', 'type': 'string', 'required': True, 'note': 'prose'},
        {'name': 'volume', 'type': 'object', 'changes': [{'from_version': '3.53', 'any_of_required': [['name']]}]},
    ],
}


def test_an_entry_keeps_what_the_run_reads() -> None:
    small = json.loads(json.dumps(condense.entry(ENTRY)))
    assert 'prose' not in json.dumps(small).lower()
    found = facts.expanded(small)
    assert {key: found[key] for key in condense.ENTRY} == {key: ENTRY[key] for key in condense.ENTRY}
    assert found['policies'] == [{'name': 'volume:update'}]
    assert found['response_fields'] == [
        {**FIELD, 'when': False},
        {**FIELD, 'name': 'volume.<other key>', 'admin_only': False, 'when': True},
    ]
    assert found['request_fields'] == [
        {'name': 'volume.name', 'type': 'string', 'required': True},
        {'name': 'volume', 'type': 'object', 'changes': [{'from_version': '3.53', 'any_of_required': [['name']]}]},
    ]


def test_a_complete_recording_is_read_as_it_is() -> None:
    assert facts.expanded(ENTRY) is ENTRY


def test_the_projects_own_tables_are_complete() -> None:
    surface = json.loads((facts.OWN / 'surface.json').read_text())
    assert len(surface['entries']) > 200
    assert all(facts.expanded(entry)['policies'] is not None for entry in surface['entries'])
    assert len(json.loads((facts.OWN / 'edge_vectors.json').read_text())['vectors']) > 250
    assert {'volume', 'snapshot', 'backup', 'group'} <= json.loads((facts.OWN / 'states.json').read_text()).keys()


def test_a_decision_that_shows_nothing_new_is_left_out() -> None:
    case = {'id': 'a', 'what': 'prose', 'config': {}, 'expect': {'chosen': 'h@a#p'}}
    other = {**case, 'expect': {'error': 'NoValidBackend'}}
    seldom = {**case, 'op': 'retype'}
    kept = list(condense.chosen([case, case, other, seldom, seldom], set()))
    assert kept == [
        {key: value for key, value in each.items() if key != 'what'} for each in (case, other, seldom, seldom)
    ]
