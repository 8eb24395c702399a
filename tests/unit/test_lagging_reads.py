"""A project sees what it has just done: its lists and looks never come from a replica that is behind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from chalicelib import errors
from chalicelib.models import Volume, base, reading
from chalicelib.models.connection import connection
from chalicelib.operations import quotas, volume_types, volumes
from tests.factories import context, create_volume, query
from tests.model.deployment import LaggingReads
from tests.simulation import Simulation, forget
from tests.small_dynamodb import SmallDynamoDB


def together(id: str) -> list[str]:
    """Fetched in one call with another record."""
    with reading.together(Volume.key('project', id), Volume.key('project', 'missing')):
        return [Volume.find('project', id).id]


#: Looks at a project's volumes -> the ids that are found.
LOOKS: dict[str, Callable[[str], Any]] = {
    'page': lambda id: [one.id for one in base.page(Volume, 'project', limit=10)],
    'every': lambda id: [one.id for one in base.every(Volume, 'project')],
    'all projects': lambda id: [one.id for one in base.every(Volume, None)],
    'list': lambda id: [one.id for one in volumes.list_(context(), query())[0]],
    'count': lambda id: [id] * volumes.count(context(), query()),
    'find': lambda id: [Volume.find('project', id).id],
    'together': together,
    'show': lambda id: [volumes.show(context(), id).id],
}


@pytest.fixture
def lagging(simulation: Simulation, tables: SmallDynamoDB, monkeypatch: pytest.MonkeyPatch) -> LaggingReads:
    reads = LaggingReads(tables)
    reads.lag = 100
    monkeypatch.setattr(connection().client, '_make_api_call', reads.call)
    return reads


@pytest.mark.parametrize('look', LOOKS)
def test_a_new_volume_is_seen(lagging: LaggingReads, look: str) -> None:
    volume = create_volume(context())
    forget()
    assert LOOKS[look](volume.id) == [volume.id]


@pytest.mark.parametrize('look', ['page', 'every', 'all projects', 'list', 'count'])
def test_a_removed_volume_is_not_seen(lagging: LaggingReads, look: str) -> None:
    volume = create_volume(context())
    volumes.delete(context(), volume.id)
    assert LOOKS[look](volume.id) == []


def test_quotas_and_types_are_seen(lagging: LaggingReads) -> None:
    made = volume_types.create(context('admin'), name='new', description=None, is_public=True, extra_specs={})
    quotas.update('project', {'volumes': 0})
    forget()
    assert volume_types.find(context(), 'new').id == made.id
    with pytest.raises(errors.OverQuota):
        create_volume(context(), volume_type='new')
