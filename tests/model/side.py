"""Model and service side by side: how both are asked, and what must be alike when nothing is under way."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, TypeVar

from hypothesis.stateful import RuleBasedStateMachine, precondition

from tests.api.front_door import Answer
from tests.model.reference import Attachment, Codes, Reference, Volume
from tests.model.service import AT, Service, running, snapshot_record, volume_record
from tests.small_dynamodb import SmallDynamoDB
from tests.workflows.crashes import Crasher
from tests.world import Killed

T = TypeVar('T')

#: Project -> its quotas, small enough to be met by a run.
LIMITS = {
    'a': {'volumes': 5, 'gigabytes': 14, 'snapshots': 4, 'backups': 4, 'backup_gigabytes': 9},
    'b': {'volumes': 3, 'gigabytes': 7, 'snapshots': 3, 'backups': 3, 'backup_gigabytes': 6},
}


@dataclasses.dataclass(frozen=True, slots=True)
class Request:
    """What a member of a project asks.

    ``predict`` asks the reference the same: it gets the answer's body (None: refused) and returns the statuses that are
    right. ``makes``: the list that shows what the request makes, and the member of the answer that has it.
    """

    name: str
    project: str
    method: str
    path: str
    predict: Callable[[Any], Codes]
    body: Any = None
    makes: tuple[str, str] | None = None


def action(name: str, project: str, path: str, verb: str, facts: Any, predict: Callable[[Any], Codes]) -> Request:
    """An action on a resource."""
    return Request(name, project, 'POST', f'{path}/action', predict, {verb: facts})


def agree(what: str, found: dict[Any, Any], wanted: dict[Any, Any]) -> None:
    """Compare by key; the difference alone is shown, the service's side first."""
    keys = found.keys() | wanted.keys()
    apart = {key: (found.get(key), wanted.get(key)) for key in keys if found.get(key) != wanted.get(key)}
    assert not apart, f'{what}: (service, reference) = {apart}'


def has(*kinds: str) -> Any:
    """A rule's precondition: the reference has resources of each of these kinds."""
    return precondition(lambda self: all(getattr(self.model, kind) for kind in kinds))


class Sides(RuleBasedStateMachine):
    """One run. ``counts`` adds up over all runs what was asked and how it ended."""

    store: ClassVar[SmallDynamoDB]
    counts: ClassVar[collections.Counter[str]] = collections.Counter()

    def __init__(self) -> None:
        super().__init__()
        self.running = running(self.store, LIMITS)
        self.service: Service = self.running.__enter__()
        self.model = Reference({project: dict(limits) for project, limits in LIMITS.items()})
        self.stamps = self.servers = 0
        #: So many requests may be under way before one waits for all others.
        self.patience = 1
        #: The API function dies before this call of the next request among those that change something.
        self.doom: int | None = None

    def teardown(self) -> None:
        try:
            self.settle_both()
            self.counts['runs to the end'] += 1
        finally:
            self.running.__exit__(None, None, None)

    # Asking

    def play(self, request: Request) -> None:
        """Ask both; the service's answer must be one that the reference allows."""
        self._wait()
        if self.doom is not None:
            return self._play_and_die(request)
        answer = self.ask(request)
        self._count(request, 'accepted' if answer.status < 300 else 'refused')
        allowed = request.predict(answer.body if answer.text and answer.status < 300 else None)
        assert answer.status in allowed, (request.name, answer.status, answer.text, sorted(allowed))
        return None

    def _wait(self) -> None:
        """Before a resource is chosen: what is under way may end it."""
        if self.model.jobs and (len(self.model.jobs) >= self.patience or self.doom is not None):
            self.settle_both()

    def ask(self, request: Request) -> Answer:
        return self.service.member(request.project).request(request.method, request.path, request.body, at=AT)

    def _count(self, request: Request, outcome: str) -> None:
        self.counts[f'{request.name} {outcome}'] += 1

    def _play_and_die(self, request: Request) -> None:
        """The function dies on the way: afterwards all is as if it was never asked, or as if it was accepted."""
        crasher, self.doom = Crasher(self.doom), None
        before, answer = self._shown(request), None
        with self.service.watched(crasher), contextlib.suppress(Killed):
            answer = self.ask(request)
        if answer is not None:
            self._count(request, 'was over before the function could die')
            request.predict(answer.body if answer.text and answer.status < 300 else None)
            return self.settle_both()
        self.service.settle()
        made = self._shown(request) - before
        if made or (request.makes is None and not self._is_unchanged()):
            self._count(request, 'accepted, and the function died')
            allowed = request.predict({request.makes[1]: {'id': made.pop()}} if request.makes else {})
            assert min(allowed) < 300, (request.name, sorted(allowed))
        else:
            self._count(request, 'lost with the function')
        return self.settle_both()

    def _shown(self, request: Request) -> set[str]:
        if request.makes is None:
            return set()
        path, _ = request.makes
        return set(self.service.shown(request.project, path, path.rpartition('-')[2]))

    def _is_unchanged(self) -> bool:
        try:
            self.compare()
        except AssertionError:
            return False
        return True

    def pick(self, known: Sequence[T] | dict[str, T], at: int) -> T | None:
        """The resource at a position, counted around; None when there is none."""
        self._wait()
        values = list(known.values()) if isinstance(known, dict) else list(known)
        return values[at % len(values)] if values else None

    def attachment(self, at: int) -> tuple[Volume, Attachment] | None:
        self._wait()
        every = [(one, held) for one in self.model.volumes.values() for held in one.attachments.values()]
        return self.pick(every, at)

    # Comparing, when nothing is under way

    def settle_both(self) -> None:
        self.service.settle()
        self.model.settle()
        self.compare()

    def compare(self) -> None:
        """All that a client can see, every byte, every counter and the backends are what the reference says."""
        for project in LIMITS:
            self._compare_volumes(project)
            self._compare_snapshots(project)
            self._compare_backups(project)
            self._compare_attachments(project)
            self._compare_transfers(project)
            self._compare_usage(project)
        self.service.check_invariants()
        self.counts['comparisons'] += 1

    def _compare_volumes(self, project: str) -> None:
        shown = self.service.shown(project, 'volumes', 'volumes')
        found = {id: (one['status'], one['size'], one['volume_type']) for id, one in shown.items()}
        mine = {id: one for id, one in self.model.volumes.items() if one.project == project}
        agree('volumes', found, {id: (one.status, one.size, one.type) for id, one in mine.items()})
        for id, one in mine.items():
            if one.status in ('available', 'in-use', 'awaiting-transfer'):
                agree(f'bytes of volume {id}', self.service.content(volume_record(project, id)), one.content)

    def _compare_snapshots(self, project: str) -> None:
        shown = self.service.shown(project, 'snapshots', 'snapshots')
        found = {id: (one['status'], one['size'], one['volume_id']) for id, one in shown.items()}
        mine = {id: one for id, one in self.model.snapshots.items() if one.project == project}
        agree('snapshots', found, {id: (one.status, one.size, one.volume) for id, one in mine.items()})
        for id, one in mine.items():
            if one.status == 'available':
                agree(f'bytes of snapshot {id}', self.service.content(snapshot_record(project, id)), one.content)

    def _compare_backups(self, project: str) -> None:
        shown = self.service.shown(project, 'backups', 'backups')
        found = {id: (one['status'], one['size'], one['volume_id']) for id, one in shown.items()}
        mine = [one for one in self.model.backups.values() if one.project == project]
        agree('backups', found, {one.id: (one.status, one.size, one.volume) for one in mine})

    def _compare_attachments(self, project: str) -> None:
        shown = self.service.shown(project, 'attachments', 'attachments')
        volumes = [one for one in self.model.volumes.values() if one.project == project]
        wanted = {held.id: held.status for one in volumes for held in one.attachments.values()}
        agree('attachments', {id: one['status'] for id, one in shown.items()}, wanted)

    def _compare_transfers(self, project: str) -> None:
        shown = self.service.shown(project, 'volume-transfers', 'transfers')
        mine = [one for one in self.model.transfers.values() if one.project == project]
        agree('transfers', {id: one['volume_id'] for id, one in shown.items()}, {one.id: one.volume for one in mine})

    def _compare_usage(self, project: str) -> None:
        found = self.service.usage(project)
        wanted = self.model.usage(project)
        used = {name: found.get(name, (0, 0)) for name in wanted}
        agree(f'usage of {project}', used, {name: (one, 0) for name, one in wanted.items()})
