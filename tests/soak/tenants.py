"""A tenant: its clients, what it expects, and the requests and data that its works share (works.py and beside it)."""

from __future__ import annotations

import collections
import contextlib
import itertools
import random
import threading
import time
import traceback
import uuid
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import keystoneauth1.exceptions
from cinderclient import exceptions

from chalicelib.errors import DeviceError
from tests.soak.expected import Doubt, Expected, Refused
from tests.soak.systems import Systems
from tests.system.clients import User, unique
from tests.system.crash import BLOCK, is_transitional

#: Errors of clients whose request failed, and which does not show whether it was carried out.
CLIENT_ERRORS = (keystoneauth1.exceptions.ClientException, exceptions.ClientException)

#: Places of a volume that are written: BLOCK bytes each.
PLACES = 32

#: Volumes of a tenant, seconds that it waits for one status, and between two looks.
MOST_VOLUMES, PATIENCE, LOOK = 6, 150, 0.3

#: Statuses that last until the client ends its attachments.
OF_CLIENTS = ('attaching', 'detaching', 'reserved', 'in-use')

#: Codes of a refusal: nothing was done.
REFUSED = range(400, 500)

#: Share of the POST requests with an Idempotency-Key, and of those that are repeated although they were answered.
KEYED, REPEATED = 0.6, 0.3

#: Attempts with one key, and seconds between them.
ATTEMPTS, PAUSE = 40, 1.0

#: What a request is called whose key another request holds (409): it may have been done.
_KEY_IN_USE = 'Idempotency-Key is still being served'

Work = Callable[['Tenant'], None]


class Tenant:
    """One client thread with resources of its own; it also hands volumes to a second project.

    ``kept``: manager of cinderclient -> id -> what is expected.
    """

    def __init__(self, users: tuple[User, User], admin: User, systems: Systems, number: int, seed: int) -> None:
        self.users, self.admin, self.systems = users, admin, systems
        self.draw = random.Random(f'{seed}/tenant {number}')
        self.counts: collections.Counter[str] = collections.Counter()
        self.volumes: dict[str, Expected] = {}
        self.snapshots: dict[str, Expected] = {}
        self.backups: dict[str, Expected] = {}
        self.groups: dict[str, Expected] = {}
        self.group_snapshots: dict[str, Expected] = {}
        #: Names of resources whose creation failed, and which may exist.
        self.maybe: set[str] = set()
        self.broken: list[str] = []
        self.values = itertools.count(number * 10_000_000 + 1)
        #: A host belongs to one project: each project's initiator has another name.
        self._initiators = {user: f'iqn.2004-10.com.example:soak-{number}-{user.project}' for user in users}
        self.stopped = threading.Event()

    @property
    def kept(self) -> dict[str, dict[str, Expected]]:
        return {
            'volumes': self.volumes,
            'volume_snapshots': self.snapshots,
            'backups': self.backups,
            'groups': self.groups,
            'group_snapshots': self.group_snapshots,
        }

    def run(self, works: Sequence[tuple[Work, int]], stopped: threading.Event, failed: threading.Event) -> None:
        """Do one work after another, chosen by its share."""
        self.stopped = stopped
        while not stopped.is_set() and not failed.is_set():
            ((chosen, _),) = self.draw.choices(works, [share for _, share in works])
            try:
                chosen(self)
            except (Doubt, Refused, DeviceError):
                time.sleep(LOOK)
            except Exception:
                self.broken.append(traceback.format_exc())
                failed.set()

    def resume(self) -> None:
        """Wait for statuses again, after a run that was stopped."""
        self.stopped = threading.Event()

    # Requests

    def call(self, name: str, request: Callable[[], Any]) -> Any:
        """Send one request. Raises Doubt or Refused."""
        try:
            answer = request()
        except CLIENT_ERRORS as error:
            code = getattr(error, 'code', None) or getattr(error, 'http_status', None)
            if code in REFUSED and _KEY_IN_USE not in str(error):
                self.counts[f'{name}: refused'] += 1
                raise Refused(f'{name}: {error}') from error
            self.counts[f'{name}: no answer'] += 1
            raise Doubt(f'{name}: {error}') from error
        self.counts[name] += 1
        return answer

    def post(self, name: str, user: User, request: Callable[[], Any]) -> Any:
        """Send one POST, in some cases under a key: then repeat it until it is answered. Raises Doubt or Refused."""
        if self.draw.random() >= KEYED:
            return self.call(name, request)
        headers = user.cinder.client.additional_headers
        headers['Idempotency-Key'] = str(uuid.UUID(int=self.draw.getrandbits(128)))
        try:
            answer = self._until_answered(name, request)
            if self.draw.random() < REPEATED:
                self._compare_answers(name, answer, self._until_answered('repeated', request))
        finally:
            del headers['Idempotency-Key']
        return answer

    def _until_answered(self, name: str, request: Callable[[], Any]) -> Any:
        for attempt in range(ATTEMPTS):
            try:
                return self.call(name, request)
            except Doubt:
                if self.stopped.wait(PAUSE):
                    raise
            except Refused as refused:
                if not attempt:
                    raise
                raise Doubt(f'{refused}, after a request without an answer') from refused
        raise Doubt(f'{name} has no answer after {ATTEMPTS} requests with one key')

    def _compare_answers(self, name: str, first: Any, second: Any) -> None:
        if _id_of(first) != _id_of(second):
            self.broken.append(f'{name}: one key was answered with {_id_of(first)} and {_id_of(second)}')

    def settled(self, manager: Any, id: str) -> Any:
        """Return the resource when nothing is in progress for it. Raises Refused when it does not exist, or Doubt."""
        deadline, seen = time.monotonic() + PATIENCE, 'not looked at'
        while time.monotonic() < deadline and not self.stopped.is_set():
            try:
                found = self.call('show', lambda: manager.get(id))
                if not is_transitional(found.status):
                    return found
                seen = found.status
            except Doubt as doubt:
                seen = str(doubt)
            time.sleep(LOOK)
        raise Doubt(f'{id} does not settle: {seen}')

    # Choices

    def live(self) -> list[str]:
        return [id for id, one in self.volumes.items() if not one.gone and not one.doubtful]

    def volume(self, status: str = 'available') -> tuple[str, Expected]:
        """Choose a volume that has the status. Raises Refused when the chosen one has not."""
        if not (live := self.live()):
            raise Refused('there is no volume')
        id = self.draw.choice(live)
        one = self.volumes[id]
        found = self.settled(one.user.cinder.volumes, id)
        if found.status.startswith('error'):
            one.blocks = None
            self.remove('volumes', id)
        if found.status in OF_CLIENTS:
            self.detach(id, one)
        if found.status != status:
            raise Refused(f'{id} is {found.status}')
        return id, one

    def one_of(self, manager: str) -> tuple[str, Expected]:
        """Choose another resource that is available; remove one that failed, and raise Refused."""
        kept = self.kept[manager]
        live = [id for id, one in kept.items() if not one.gone and not one.doubtful]
        if not live:
            raise Refused('there is none')
        id = self.draw.choice(live)
        one = kept[id]
        found = self.settled(getattr(one.user.cinder, manager), id)
        if found.status != 'available':
            self.remove(manager, id)
            raise Refused(f'{id} is {found.status}')
        return id, one

    # Changes

    def make(
        self, manager: str, one: Expected, request: Callable[[str], Any], called: str | None = None
    ) -> tuple[str, Any]:
        """Create a resource and wait for it. After a failed request its name may exist."""
        name = unique('soak')
        self.maybe.add(name)
        try:
            made = self.post(f'create {called or manager}', one.user, lambda: request(name))
        except Refused:
            self.maybe.discard(name)
            raise
        self.maybe.discard(name)
        id = _id_of(made)
        self.kept[manager][id] = one
        found = self.settled(getattr(one.user.cinder, manager), id)
        if found.status != 'available':
            one.blocks = None
        return id, found

    def remove(self, manager: str, id: str, **options: Any) -> None:
        """Delete a resource, and with it those that are of it."""
        one = self.kept[manager][id]
        doomed = [one, *(each for kept in self.kept.values() for each in kept.values() if each.group == id)]
        known = [each for each in doomed if not each.doubtful]
        for each in doomed:
            each.doubtful = True
        try:
            self.call(f'delete {manager}', lambda: getattr(one.user.cinder, manager).delete(id, **options))
        except Refused:
            for each in known:  # an earlier deletion without an answer may be under way, and be why this one is refused
                each.doubtful = False
            raise
        for each in doomed:
            each.gone = True

    # Data

    def connector(self, user: User) -> dict[str, str]:
        initiator = self._initiators[user]
        return {'host': 'soak', 'initiator': initiator, 'ip': '127.0.0.1', 'instance': self.systems.instance}

    @contextlib.contextmanager
    def attached(self, id: str, one: Expected, server: str | None = None) -> Iterator[Any]:
        """Yield the volume as a block device; end every attachment afterwards, as far as requests succeed."""
        connector, attachments = self.connector(one.user), one.user.cinder.attachments
        server = server or str(uuid.uuid4())
        try:
            made = self.post('attach', one.user, lambda: attachments.create(id, connector, server, 'rw'))
            self.systems.nova.servers.setdefault(server, {})[id] = made['id']
            self.post('attachment complete', one.user, lambda: attachments.complete(made['id']))
            with self.systems.device(made['connection_info'], connector) as device:
                yield device
        finally:
            self.systems.nova.servers.pop(server, None)
            self.detach(id, one)

    def detach(self, id: str, one: Expected) -> None:
        """End all attachments of a volume, and reservations of the older API. Raises Doubt after several failures."""
        for _ in range(20):
            try:
                found = self.call(
                    'list attachments',
                    lambda: one.user.cinder.attachments.list(search_opts={'volume_id': id, 'all_tenants': 0}),
                )
                if not found:
                    return self._release(id, one)
                for each in found:
                    with contextlib.suppress(Refused):
                        self.call('detach', partial(one.user.cinder.attachments.delete, each.id))
            except Doubt:
                if self.stopped.is_set():
                    raise
                time.sleep(1)
        raise Doubt(f'{id} is not detached')

    def _release(self, id: str, one: Expected) -> None:
        """End what os-reserve and os-initialize_connection have left of a volume without attachments."""
        volumes = one.user.cinder.volumes
        if self.call('show', lambda: volumes.get(id)).status == 'attaching':
            self.call('terminate', lambda: volumes.terminate_connection(id, self.connector(one.user)))
            self.call('unreserve', lambda: volumes.unreserve(id))

    def settle_data(self, id: str, one: Expected) -> None:
        """Read every place; narrow what is expected to what was found."""
        if one.blocks is not None:
            with self.attached(id, one) as device:
                self.compare(id, one, device.read)

    def compare(self, id: str, one: Expected, read: Callable[[int, int], bytes]) -> None:
        """The same with data that ``read`` returns for (offset, length)."""
        if one.blocks is None:
            return
        for place in range(PLACES):
            data = read(place * BLOCK, BLOCK)
            found = {int.from_bytes(data[at : at + 8], 'big') for at in range(0, BLOCK, 8)}
            allowed = one.blocks.get(place, {0})
            self.counts['compared'] += 1
            # A write that was cut short may have left its beginning.
            if not found <= allowed or (len(allowed) == 1 and len(found) != 1):
                self.broken.append(f'{id}, place {place}: {sorted(found)}, not {sorted(allowed)}')
            one.blocks[place] = found


def _id_of(answer: Any) -> str:
    """The id of what a POST made (of a restore: its volume), '' for an action."""
    facts = answer if isinstance(answer, dict) else getattr(answer, '_info', {})
    return str(facts.get('volume_id' if 'volume_name' in facts else 'id', ''))
