"""The next start of the local cloud resumes workflows that were running when it ended."""

from __future__ import annotations

import json

from local import resume
from local.functions import Outcome
from tests.factories import context, create_volume
from tests.simulation import Simulation


def test_work_that_is_not_overdue_is_brought_on_too(simulation: Simulation) -> None:
    simulation.report()
    volume = create_volume(context(), 1)
    (event,) = resume.interrupted()
    assert event['detail']['status'] == 'ABORTED'
    payload = json.loads(event['detail']['input'])
    assert payload == {'resource': 'volume', 'project_id': volume.project_id, 'id': volume.id}


def test_one_record_after_the_other_is_handed_to_the_reconciler(simulation: Simulation) -> None:
    from chalicelib.models import Volume
    from chalicelib.tasks import reconcile

    simulation.report()
    made = [create_volume(context(), 1) for _ in range(3)]
    simulation.queue.clear()
    resume._run(lambda event: Outcome(reconcile.run(event)), list(resume.interrupted()))
    simulation.run_machines()
    assert {Volume.find(one.project_id, one.id).status for one in made} == {'available'}
