"""Deleted backups whose data the next start removes."""

from __future__ import annotations

import datetime
from typing import Any

from local import sweeps
from local.functions import Outcome
from local.sweeps import Lineage


def found(key: str, minute: int) -> dict[str, Any]:
    return {'Key': key, 'LastModified': datetime.datetime(2026, 1, 1, 0, minute, tzinfo=datetime.UTC)}


def test_a_lineage_is_due_after_its_last_deletion() -> None:
    objects = [
        found('p/volumebackups/deleted/v/b1', 1),
        found('p/volumebackups/deleted/v/b2', 5),
        found('p/my/own/deleted/v/b3', 2),
        found('p/volumebackups/backups/v/b4', 0),
        found('p/volumebackups/packs/v/00000/deleted/x-1', 0),
    ]
    due = list(sweeps.deleted(objects))
    assert [(lineage, backup) for _, lineage, backup in due] == [
        (Lineage('p', 'my/own', 'v'), 'b3'),
        (Lineage('p', 'volumebackups', 'v'), 'b2'),
    ]
    assert due[1][0] - due[0][0] == 180


def test_a_lineage_is_swept_to_its_end_over_failures() -> None:
    answers = [
        Outcome({'errorType': 'LeaseLost'}, 'Unhandled'),
        Outcome({'lineage': 'v', 'done': False, 'cursor': {'after': 1}}),
        Outcome({'lineage': 'v', 'done': True, 'cursor': None}),
    ]
    given: list[Any] = []

    def work(event: dict[str, Any]) -> Outcome:
        given.append(event['input']['left'].get('cursor'))
        assert event['task'] == 'collect_backup'
        return answers[len(given) - 1]

    sweeps.collect(Lineage('p', 'c', 'v'), 'b', work, pause=0)
    assert given == [None, None, {'after': 1}]
