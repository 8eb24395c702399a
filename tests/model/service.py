"""The service as the model drives it: the API's mounted routes, two backends with bytes, and the schedules."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from pynamodb.connection import Connection

from chalicelib import config
from chalicelib.models import Backup, Group, GroupSnapshot, IdempotencyKey, Snapshot, Volume, claims, reading
from chalicelib.models.connection import connection
from chalicelib.operations import cloud, images
from chalicelib.tasks import images as image_tasks
from tests import invariants
from tests.api.front_door import Caller, FrontDoor
from tests.data_backends import TILE, Data
from tests.model.deployment import Instances, LaggingReads
from tests.model.images import MemoryImages
from tests.simulation import Simulation, forget
from tests.small_dynamodb import SmallDynamoDB
from tests.workflows.crashes import Crasher

#: The microversion of every request.
AT = '3.71'

#: GiB of each pool: placement is not what the model is about.
ROOMY = 10_000

#: Volume type -> its extra specs, beside the default one.
TYPES = {'other': {}, 'sealed': {}, 'shared': {'multiattach': '<is> True'}}

#: Bytes that an image has for each GiB of its volume: the places that are written.
IMAGE_GIB = 8 * TILE

#: The group type of all groups.
GROUP_TYPE = 'plain'


@contextlib.contextmanager
def running(store: SmallDynamoDB, limits: dict[str, dict[str, int]]) -> Iterator[Service]:
    """A service with empty tables, the types above, and these quotas."""
    store.clear()
    with pytest.MonkeyPatch.context() as patch:
        service = Service(patch, store)
        service.set_up(limits)
        yield service
    config.settings.cache_clear()


class Service:
    """What the model needs of the service: requests by project, bytes behind a record, and time that passes."""

    def __init__(self, patch: pytest.MonkeyPatch, store: SmallDynamoDB) -> None:
        self.reads, self.instances = LaggingReads(store), Instances(patch)
        patch.setattr(connection().client, '_make_api_call', self.reads.call)
        patch.setattr(time, 'sleep', self.reads.catch_up)
        patch.setenv('KMS_KEY_ID', boto3.client('kms').create_key()['KeyMetadata']['KeyId'])
        patch.setenv('BACKUP_BUCKET', 'backups')
        config.settings.cache_clear()
        #: Whether each request, and the work between them, is served by another instance than what was before it.
        self.takes_turns = False
        self.door = FrontDoor.open(patch)
        self.forget()
        self.simulation = Simulation()
        for backend in self.simulation.backends.values():
            backend.pools, backend.revert, backend.retype = {'pool': ROOMY}, True, 'done'
        self.simulation.install(patch)
        self.data = Data(self.simulation, patch)
        self.images = MemoryImages(self.simulation)
        patch.setattr(cloud, 'images', lambda: self.images)
        for module in (images, image_tasks):
            patch.setattr(module, 'GIB', IMAGE_GIB)
        #: Volume type -> its id.
        self.type_ids: dict[str, str] = {}
        self.admin = self.door.caller('admin', 'administration')

    def set_up(self, limits: dict[str, dict[str, int]]) -> None:
        self.simulation.report()
        for name, specs in TYPES.items():
            made = self.admin.post('/types', {'volume_type': {'name': name, 'extra_specs': specs}}, at=AT)
            assert made.status == 200, made
            self.type_ids[name] = made.body['volume_type']['id']
        self.type_ids['__DEFAULT__'] = self.kinds()['__DEFAULT__']['id']
        made = self.admin.post('/group_types', {'group_type': {'name': GROUP_TYPE}}, at=AT)
        assert made.status == 202, made
        for project, allowed in limits.items():
            assert self.set_quota(project, allowed) == 200

    def set_quota(self, project: str, limits: dict[str, int]) -> int:
        """Set quotas as an administrator; the answer's status."""
        return self.admin.put(f'/os-quota-sets/{project}', {'quota_set': limits}, at=AT).status

    def member(self, project: str) -> Caller:
        return self.caller(project)

    def caller(self, project: str, *, admin: bool = False) -> Caller:
        """A client of a project; an administrator's token is scoped to it, too."""
        return self.door.caller('admin' if admin else 'member', project)

    def deploy(self, lag: int, offsets: list[float]) -> None:
        """Have reads lag behind so many writes, and requests served by instances whose clocks are so much ahead."""
        self.reads.lag, self.instances.offsets, self.takes_turns = lag, offsets, len(offsets) > 1

    def next_instance(self) -> None:
        if self.takes_turns:
            self.instances.switch()

    def forget(self) -> None:
        """Be new processes."""
        forget()
        self.instances.forget()

    def give_up_keys(self) -> None:
        """Let the time pass after which a client that got no answer repeats its request."""
        with self.reads.current():
            for key in IdempotencyKey.scan():
                if key.code is None:
                    key.update(actions=[IdempotencyKey.busy_until.set(0)])

    def kinds(self) -> dict[str, dict[str, Any]]:
        """Volume type -> what administrators see of it."""
        found = self.admin.get('/types', at=AT).body['volume_types']
        return {one['name']: one for one in found}

    def is_encrypted(self, name: str) -> bool:
        return bool(self.admin.get(f'/types/{self.type_ids[name]}/encryption', at=AT).body)

    def qos(self) -> dict[str, str]:
        """Id of QoS specs -> their name."""
        return {one['id']: one['name'] for one in self.admin.get('/qos-specs', at=AT).body['qos_specs']}

    # Time

    def settle(self) -> None:
        """Deliver, run and reconcile until nothing is under way."""
        self.next_instance()
        for _ in range(8):
            self.simulation.settle()
            self.simulation.reconcile()
            if not self.simulation.queue and not self._in_flight():
                break
            self.reads.catch_up()
        self.simulation.report()

    def _in_flight(self) -> bool:
        kinds = (Volume, Snapshot, Backup, Group, GroupSnapshot)
        with self.reads.current():
            return any(one.in_flight for kind in kinds for one in kind.scan())

    @contextlib.contextmanager
    def watched(self, crasher: Crasher) -> Iterator[None]:
        """Run the crasher before and after each call that leaves the process; afterwards, be a new one."""
        call = Connection._make_api_call

        def around(connection: Connection, operation: str, *arguments: Any, **facts: Any) -> Any:
            return crasher.dynamodb(f'dynamodb {operation}', lambda: call(connection, operation, *arguments, **facts))

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Connection, '_make_api_call', around)
            patch.setattr(self.simulation, 'around', crasher.around)
            yield
        self.forget()

    @contextlib.contextmanager
    def during(self, verb: str, other: Callable[[], None]) -> Iterator[list[str]]:
        """Run something in another process after the next call of a backend's verb, which has been carried out."""
        served: list[str] = []

        @contextlib.contextmanager
        def around(name: str) -> Iterator[None]:
            yield
            if name.endswith(f' {verb}') and not served:
                served.append(name)
                with reading.together(), claims.in_force(None):
                    other()

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(self.simulation, 'around', around)
            yield served

    def check_invariants(self, explained: frozenset[str]) -> None:
        """``explained``: ids of resources whose status an administrator has set."""
        with self.reads.current():
            invariants.check(self.simulation, frozenset({'attaching', 'detaching', 'reserved'}), explained)

    # Bytes

    def write(self, volume_id: str, place: int, number: int) -> None:
        """Write as a host does that has the volume."""
        with self.reads.current():
            volume = _volume(volume_id)
        self.data.of(volume).write(place * TILE, _bytes(number))

    def content(self, record: Volume | Snapshot) -> dict[int, int]:
        """The last number written at each place; 0 is never written, and reads where nothing was."""
        disk = self.data.of(record)
        found = {place: int.from_bytes(tile[:8]) for place, tile in disk.tiles.items()}
        assert all(disk.tiles[place] == _bytes(number) for place, number in found.items()), 'a block is torn'
        return {place: number for place, number in found.items() if number}

    # What clients see

    def shown(self, project: str, path: str) -> dict[str, dict[str, Any]]:
        """A project's detailed list, by id."""
        answer = self.member(project).get(f'/{path}/detail', at=AT)
        assert answer.status == 200, answer
        return {one['id']: one for one in answer.body[path.rpartition('-')[2]]}

    def status_of(self, project: str, path: str, id: str) -> str | None:
        """The status that is shown of a resource; None: it is gone."""
        shown = self.shown(project, path).get(id)
        return shown['status'] if shown else None

    def refusals(self, project: str) -> set[tuple[str, str]]:
        """(resource's id, message's id) of the user messages by which a resource is as it was before."""
        answer = self.member(project).get('/messages', at=AT)
        found = answer.body['messages']
        return {(one['resource_uuid'], one['id']) for one in found if 'unchanged' in one['user_message']}

    def created_at(self, project: str, path: str, id: str) -> str:
        """When a resource was made, by the clock of the instance that accepted it; '' when it is gone."""
        shown = self.shown(project, path).get(id)
        return str(shown['created_at']) if shown else ''

    def attachments_of(self, project: str, volume_id: str) -> set[str]:
        shown = self.shown(project, 'attachments')
        return {id for id, one in shown.items() if one['volume_id'] == volume_id}

    def host_of(self, volume_id: str) -> str | None:
        """The pool of a volume, which administrators see; None before it has one."""
        with self.reads.current():
            answer = self.admin.get(f'/volumes/{volume_id}', at=AT)
        return answer.body['volume']['os-vol-host-attr:host'] if answer.status == 200 else None

    def size_of(self, project: str, path: str, id: str) -> int:
        shown = self.shown(project, path).get(id)
        return int(shown['size']) if shown else 0

    def object_of(self, path: str, id: str) -> str:
        """The name on the backend."""
        kind: type[Volume] | type[Snapshot] = Volume if path == 'volumes' else Snapshot
        with self.reads.current():
            record = kind.find_anywhere(id)
        return f'{record.resource}-{getattr(record, "name_id", None) or record.id}'

    def image(self, id: str) -> tuple[str, int, dict[int, int]]:
        """Status of an image, GiB, and the last number written at each place."""
        image, data = self.images.images[id], self.images.bytes.get(id, b'')
        numbers = {place: data[place * TILE : place * TILE + 8] for place in range(len(data) // TILE)}
        found = {place: int.from_bytes(number) for place, number in numbers.items()}
        size = (image.size or 0) // IMAGE_GIB
        return image.status, size, {place: number for place, number in found.items() if number}

    def backend_of(self, volume_id: str) -> str | None:
        """The backend of a volume, which administrators see; None before it has one."""
        host = self.host_of(volume_id)
        return host.partition('#')[0] if host else None

    def group_of(self, project: str, volume_id: str) -> str | None:
        found: str | None = self.shown(project, 'volumes')[volume_id]['group_id']
        return found

    def volumes_in(self, project: str, group_id: str) -> dict[str, str]:
        """Id of what each volume of a group is a copy of -> the volume's id."""
        mine = [one for one in self.shown(project, 'volumes').values() if one['group_id'] == group_id]
        return {one['source_volid'] or one['snapshot_id']: one['id'] for one in mine}

    def snapshots_in(self, project: str, group_snapshot_id: str) -> dict[str, str]:
        """Id of the volume of each snapshot in a group snapshot -> the snapshot's id."""
        shown = self.shown(project, 'snapshots').values()
        return {one['volume_id']: one['id'] for one in shown if one['group_snapshot_id'] == group_snapshot_id}

    def holds_source(self, backup_id: str) -> bool:
        """Whether a backup has left something temporary, as its user message reports: it is removed with the backup."""
        with self.reads.current():
            return bool(Backup.find_anywhere(backup_id).reading)

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
