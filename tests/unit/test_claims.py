"""Which write accepts the work of a request with an Idempotency-Key."""

from __future__ import annotations

from typing import Any

import pytest

from chalicelib.models import Attachment, Snapshot, Volume
from chalicelib.models.claims import Decision

VOLUME, ATTACHMENT = Volume('project', 'volume'), Attachment('project', 'attachment')
STATUS, NAME = Volume.status.set('deleting'), Volume.name.set('a')


@pytest.mark.parametrize(
    ('decision', 'verb', 'record', 'actions', 'decides'),
    [
        pytest.param(Decision(), 'update', VOLUME, [NAME, STATUS], True, id='a status is set'),
        pytest.param(Decision(), 'update', VOLUME, [NAME], False, id='another attribute is set'),
        pytest.param(Decision(), 'update', VOLUME, [Volume.status.remove()], False, id='a status is removed'),
        pytest.param(Decision(), 'update', VOLUME, [], False, id='nothing is set'),
        pytest.param(Decision(), 'delete', VOLUME, [], True, id='a resource is deleted'),
        pytest.param(Decision(), 'save', VOLUME, [], False, id='a record is made beside'),
        pytest.param(Decision(sets=frozenset({'name'})), 'update', VOLUME, [NAME], True, id='the named attribute'),
        pytest.param(Decision(sets=frozenset({'name'})), 'update', VOLUME, [STATUS], False, id='not the named one'),
        pytest.param(Decision(makes='Volume'), 'save', VOLUME, [], True, id='the record is made'),
        pytest.param(Decision(makes='Volume'), 'save', ATTACHMENT, [], False, id='another record is made'),
        pytest.param(Decision(makes='Volume'), 'update', VOLUME, [STATUS], False, id='a status is set instead'),
        pytest.param(Decision(makes='Volume'), 'delete', Snapshot('project', 'id'), [], False, id='one is deleted'),
    ],
)
def test_the_write_that_decides(decision: Decision, verb: str, record: Any, actions: list[Any], decides: bool) -> None:
    assert decision.is_made_by(verb, record, actions) is decides
