"""The service as the model drives it: the API's mounted routes, two backends with bytes, and the schedules."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
from pynamodb.connection import Connection

from chalicelib.models import Backup, Snapshot, Volume
from tests import invariants
from tests.api.front_door import Caller, FrontDoor
from tests.disks import TILE, Data
from tests.small_dynamodb import SmallDynamoDB
from tests.workflows.crashes import Crasher
from tests.world import World, forget

#: The microversion of every request.
AT = '3.71'

#: GiB of each pool: placement is not what the model is about.
ROOMY = 10_000

#: Volume type beside the default one.
OTHER_TYPE = 'other'


@contextlib.contextmanager
def running(store: SmallDynamoDB, limits: dict[str, dict[str, int]]) -> Iterator[Service]:
    """A service with empty tables, the type ``other``, and these quotas."""
    store.clear()
    with pytest.MonkeyPatch.context() as patch:
        service = Service(patch)
        service.set_up(limits)
        yield service


class Service:
    """What the model asks of the service: requests by project, bytes behind a record, and time that passes."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.door = FrontDoor.open(patch)
        forget()
        self.world = World()
        for backend in self.world.backends.values():
            backend.pools, backend.revert, backend.retype = {'pool': ROOMY}, True, 'done'
        self.world.install(patch)
        self.data = Data(self.world, patch)
        self.admin = self.door.caller('admin', 'administration')

    def set_up(self, limits: dict[str, dict[str, int]]) -> None:
        self.world.report()
        made = self.admin.post('/types', {'volume_type': {'name': OTHER_TYPE}}, at=AT)
        assert made.status == 200, made
        for project, allowed in limits.items():
            assert self.set_quota(project, allowed) == 200

    def set_quota(self, project: str, limits: dict[str, int]) -> int:
        """Set quotas as an administrator; the answer's status."""
        return self.admin.put(f'/os-quota-sets/{project}', {'quota_set': limits}, at=AT).status

    def member(self, project: str) -> Caller:
        return self.door.caller('member', project)

    # Time

    def settle(self) -> None:
        """Deliver, run and reconcile until nothing is under way."""
        for _ in range(8):
            self.world.settle()
            self.world.reconcile()
            if not self.world.queue and not self._in_flight():
                break
        self.world.report()

    def _in_flight(self) -> bool:
        return any(one.in_flight for kind in (Volume, Snapshot, Backup) for one in kind.scan())

    @contextlib.contextmanager
    def watched(self, crasher: Crasher) -> Iterator[None]:
        """Let the crasher stand before and after each call that leaves the process; afterwards, be a new one."""
        call = Connection._make_api_call

        def around(connection: Connection, operation: str, *arguments: Any, **facts: Any) -> Any:
            with crasher.around(f'dynamodb {operation}'):
                return call(connection, operation, *arguments, **facts)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Connection, '_make_api_call', around)
            patch.setattr(self.world, 'around', crasher.around)
            yield
        forget()

    def check_invariants(self) -> None:
        invariants.check(self.world, frozenset({'attaching', 'detaching'}))

    # Bytes

    def write(self, volume_id: str, place: int, number: int) -> None:
        """Write as a host does that has the volume."""
        self.data.of(_volume(volume_id)).write(place * TILE, _bytes(number))

    def content(self, record: Volume | Snapshot) -> dict[int, int]:
        """The last number written at each place; 0 is never written, and reads where nothing was."""
        disk = self.data.of(record)
        found = {place: int.from_bytes(tile[:8]) for place, tile in disk.tiles.items()}
        assert all(disk.tiles[place] == _bytes(number) for place, number in found.items()), 'a block is torn'
        return {place: number for place, number in found.items() if number}

    # What clients see

    def shown(self, project: str, path: str, key: str) -> dict[str, dict[str, Any]]:
        answer = self.member(project).get(f'/{path}/detail', at=AT)
        assert answer.status == 200, answer
        return {one['id']: one for one in answer.body[key]}

    def attachments_of(self, project: str, volume_id: str) -> set[str]:
        shown = self.shown(project, 'attachments', 'attachments')
        return {id for id, one in shown.items() if one['volume_id'] == volume_id}

    def usage(self, project: str) -> dict[str, tuple[int, int]]:
        """Quota name -> (in use, reserved)."""
        answer = self.admin.get(f'/os-quota-sets/{project}?usage=True', at=AT)
        quotas = answer.body['quota_set']
        return {name: (one['in_use'], one['reserved']) for name, one in quotas.items() if isinstance(one, dict)}


def _bytes(number: int) -> bytes:
    return number.to_bytes(8) * (TILE // 8)


def _volume(id: str) -> Volume:
    return Volume.find_anywhere(id)


def snapshot_record(project: str, id: str) -> Snapshot:
    return Snapshot.find(project, id)


def volume_record(project: str, id: str) -> Volume:
    return Volume.find(project, id)
