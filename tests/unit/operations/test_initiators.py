"""An initiator's name does not prove which host it is: whose it is decides who may have exports for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from chalicelib import errors
from chalicelib.context import SERVICE_ROLE, Context
from chalicelib.models import Volume
from chalicelib.operations import attachments
from chalicelib.operations import legacy_attachments as legacy
from tests.chap import chap, paths
from tests.factories import context
from tests.simulation import Simulation
from tests.unit.operations.test_attachments import HOST, make_volume

__all__ = ['chap']

Connect = Callable[[Context, Volume], object]


def nova(project_id: str) -> Context:
    """A member's request that comes through Nova."""
    return context(project_id=project_id, service_roles=frozenset({SERVICE_ROLE}))


def create(caller: Context, volume: Volume, host: dict[str, Any] = HOST) -> Any:
    return attachments.create(caller, volume_id=volume.id, instance_id=None, connector=host, mode='rw')


def update(caller: Context, volume: Volume) -> object:
    made = attachments.create(caller, volume_id=volume.id, instance_id=None, connector=None, mode='rw')
    return attachments.update(caller, made.id, HOST)


#: Every way to an export.
WAYS: dict[str, Connect] = {
    'create': create,
    'update': update,
    'os-initialize_connection': lambda caller, volume: legacy.initialize_connection(caller, volume.id, HOST),
}


@pytest.mark.parametrize('way', WAYS)
@pytest.mark.parametrize('first', WAYS)
def test_the_initiator_of_another_project_is_refused(chap: Simulation, first: str, way: str) -> None:
    WAYS[first](context(), make_volume(chap))
    theirs = make_volume(chap, project_id='other')
    before = paths(chap)
    with pytest.raises(errors.InvalidConnector, match='is used by others; give the name of your own host'):
        WAYS[way](context(project_id='other'), theirs)
    assert paths(chap) == before
    WAYS[way](context(), make_volume(chap))


@pytest.mark.parametrize('name', [HOST['initiator'].upper(), HOST['initiator']])
def test_case_makes_no_other_name(chap: Simulation, name: str) -> None:
    create(context(), make_volume(chap))
    with pytest.raises(errors.InvalidConnector):
        create(context(project_id='other'), make_volume(chap, project_id='other'), {**HOST, 'initiator': name})


def test_a_name_that_is_not_used_any_more_is_free(chap: Simulation) -> None:
    made = create(context(), make_volume(chap))
    attachments.delete(context(), made.id)
    create(context(project_id='other'), make_volume(chap, project_id='other'))
    with pytest.raises(errors.InvalidConnector):
        create(context(), make_volume(chap))


def test_compute_hosts_serve_every_project_through_nova_alone(chap: Simulation) -> None:
    create(nova('project'), make_volume(chap))
    create(nova('other'), make_volume(chap, project_id='other'))
    with pytest.raises(errors.InvalidConnector):
        create(context(), make_volume(chap))
    create(context('admin'), make_volume(chap))


def test_a_member_cannot_keep_nova_from_its_host(chap: Simulation) -> None:
    create(context(), make_volume(chap))
    create(nova('other'), make_volume(chap, project_id='other'))
    with pytest.raises(errors.InvalidConnector):
        create(context(), make_volume(chap))


def test_a_connector_without_an_initiator_claims_nothing(simulation: Simulation) -> None:
    for project in ('project', 'other'):
        create(context(project_id=project), make_volume(simulation, project_id=project), {'host': 'compute-1'})
