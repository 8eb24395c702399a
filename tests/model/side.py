"""Model and service side by side: how both receive requests, and what must be alike when nothing is under way."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import functools
import inspect
import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar, NamedTuple, TypeVar

from hypothesis import stateful
from hypothesis import strategies as st

from tests.api.front_door import Answer
from tests.model.reference import Reference
from tests.model.reference.records import Attachment, Backup, Codes, Exported, Group, GroupSnapshot, Snapshot, Volume
from tests.model.service import AT, Service, running, snapshot_record, volume_record
from tests.model.service import TYPES as OTHER_TYPES
from tests.simulation import Killed
from tests.small_dynamodb import SmallDynamoDB
from tests.workflows.crashes import Crasher, LostAnswer

T = TypeVar('T')

#: How the network and the functions fail -> that happening at the call with a number.
FLAWS: dict[str, Callable[[int], Crasher]] = {
    'a function killed': Crasher,
    'an operation resent': LostAnswer,
    'an answer lost': functools.partial(LostAnswer, gives_up=True),
}

#: Project -> its quotas, small enough to be met by a run.
LIMITS = {
    'a': {
        'volumes': 9, 'gigabytes': 26, 'snapshots': 6, 'backups': 5, 'backup_gigabytes': 12, 'groups': 3,
        'volumes_other': 4, 'gigabytes_other': 8, 'snapshots_other': 2, 'gigabytes_shared': 7,
    },
    'b': {
        'volumes': 6, 'gigabytes': 14, 'snapshots': 4, 'backups': 4, 'backup_gigabytes': 8, 'groups': 2,
        'volumes_other': 2, 'gigabytes_other': 9, 'snapshots_other': 3, 'gigabytes_shared': 6,
    },
}  # fmt: skip

#: What rules draw.
PROJECTS = st.sampled_from(sorted(LIMITS))
PICK = st.integers(0, 11)
SIZES = st.integers(1, 3)
PLACES = st.integers(0, 7)
TYPES = st.sampled_from(['__DEFAULT__', *OTHER_TYPES])

#: Resource -> the list that shows it, and the list's member of the answer.
PATHS: dict[type, str] = {
    Volume: 'volumes', Snapshot: 'snapshots', Backup: 'backups', Group: 'groups', GroupSnapshot: 'group_snapshots',
}  # fmt: skip

#: Statuses in which the data of a volume or snapshot is what the reference has.
WHOLE = ('available', 'in-use', 'awaiting-transfer')


#: How much more often a run draws the rules of its theme.
FOCUS = 4


@dataclasses.dataclass(frozen=True, slots=True)
class Request:
    """A request of a project's member or (``admin``) of an administrator.

    ``predict`` makes the same request to the reference: it receives the answer's body (None: refused) and returns
    the statuses that are right. ``makes``: the list that shows what the request makes, and the member of the answer
    that has it.
    """

    name: str
    project: str
    method: str
    path: str
    predict: Callable[[Any], Codes]
    body: Any = None
    makes: tuple[str, str] | None = None
    admin: bool = False


def action(
    name: str, project: str, path: str, verb: str, facts: Any, predict: Callable[[Any], Codes], *, admin: bool = False
) -> Request:
    """An action on a resource."""
    return Request(name, project, 'POST', f'{path}/action', predict, {verb: facts}, admin=admin)


def agree(what: str, found: dict[Any, Any], wanted: dict[Any, Any]) -> None:
    """Compare by key; the difference alone is shown, the service's side first."""
    keys = found.keys() | wanted.keys()
    apart = {key: (found.get(key), wanted.get(key)) for key in keys if found.get(key) != wanted.get(key)}
    assert not apart, f'{what}: (service, reference) = {apart}'


class Rule(NamedTuple):
    """What one step may do: ``arguments`` are drawn, when it ``is_ready``; ``weight``: how often, among the others."""

    name: str
    arguments: dict[str, st.SearchStrategy[Any]]
    is_ready: Callable[[Any], Any]
    weight: int
    #: The class that has it.
    theme: str


def rule(*, weight: int = 2, **arguments: st.SearchStrategy[Any]) -> Any:
    """Make a method a rule.

    Not Hypothesis's own rules: of those each run leaves out about half, and what takes three of them (a snapshot, a
    volume made of it, its removal meanwhile) hardly ever comes about.
    """

    def mark(function: Any) -> Any:
        function.rule = Rule(
            function.__name__, arguments, lambda self: True, weight, function.__qualname__.partition('.')[0]
        )
        return function

    return mark


def precondition(is_ready: Callable[[Any], Any]) -> Any:
    """Draw a rule only when this holds."""

    def mark(function: Any) -> Any:
        function.rule = function.rule._replace(is_ready=is_ready)
        return function

    return mark


def has(*kinds: str) -> Any:
    """A rule's precondition: the reference has resources of each of these kinds."""
    return precondition(lambda self: all(getattr(self.model, kind) for kind in kinds))


def made(predicted: tuple[Codes, Callable[[str], Any]], body: Any, member: str) -> Codes:
    """Apply what a creation changes, when it was accepted."""
    allowed, accept = predicted
    if body:
        accept(body[member]['id'])
    return allowed


#: Members of bodies that have a name.
NAMED = ('volume', 'snapshot', 'backup', 'group', 'group_snapshot', 'transfer')


def _renamed(body: Any) -> Any:
    ((member, facts),) = body.items()
    return {member: {**facts, 'name': 'another'}}


class Sides(stateful.RuleBasedStateMachine):
    """One run. ``counts`` adds up over all runs the requests and how they ended."""

    store: ClassVar[SmallDynamoDB]
    counts: ClassVar[collections.Counter[str]] = collections.Counter()

    def __init__(self) -> None:
        super().__init__()
        self.running = running(self.store, LIMITS)
        self.service: Service = self.running.__enter__()
        self.model = Reference({project: dict(limits) for project, limits in LIMITS.items()})
        self.model.status_of = lambda one: self.service.status_of(one.project, PATHS[type(one)], one.id)
        self.model.size_of = lambda one: self.service.size_of(one.project, PATHS[type(one)], one.id)
        self.model.host_of = lambda volume: self.service.host_of(volume.id)
        self.model.created_at = self.service.created_at
        self.model.is_held = lambda backup: self.service.holds_source(backup.id)
        self.stamps = 0
        self.failed = False
        #: Ids of resources whose status an administrator has set.
        self.explained: set[str] = set()
        #: The class whose rules this run draws more often; '' for none.
        self.theme = ''
        #: So many requests may be under way before one waits for all others.
        self.patience = 1
        #: The Idempotency-Key of the next POST, and [request, key, answer] of those that were accepted with one.
        self.key: str | None = None
        self.numbers = itertools.count()
        #: Records of backups that an administrator has exported, each with its service.
        self.exported: list[tuple[str, Exported]] = []
        self.keyed: list[tuple[Request, str, Answer]] = []
        #: What happens to the next request on its way: its function dies, an answer is lost or an operation resent.
        self.fault: Crasher | None = None

    @stateful.rule(data=st.data())
    def step(self, data: st.DataObject) -> None:
        """Draw one of the rules that are ready, and what it needs."""
        ready = [one for one in self.drawable() if one.is_ready(self)]
        chosen = data.draw(st.sampled_from([one for one in ready for _ in range(self._weight(one))]))
        getattr(self, chosen.name)(**{name: data.draw(drawn, name) for name, drawn in chosen.arguments.items()})

    def _weight(self, one: Rule) -> int:
        """A run draws the rules of its theme more often: what needs several of them would seldom come about else."""
        return one.weight * (FOCUS if one.theme == self.theme else 1)

    @classmethod
    @functools.cache
    def drawable(cls) -> list[Rule]:
        """Frequent ones first: Hypothesis draws the first more often than the others."""
        found = [method.rule for _, method in inspect.getmembers(cls) if hasattr(method, 'rule')]
        return sorted(found, key=lambda one: -one.weight)

    def teardown(self) -> None:
        """A run that failed is not compared again: what it failed by is to be reported."""
        try:
            if not self.failed:
                self.settle_both()
                self.counts['runs to the end'] += 1
                self.counts['stale reads'] += self.service.reads.stale
        finally:
            self.running.__exit__(None, None, None)

    # Requests

    def play(self, request: Request) -> None:
        """Make a request to both; the service's answer must be one that the reference allows."""
        self.wait()
        key = self.take_key(request)
        return self.serve(request, key) if self.fault is None else self._play_with_fault(request, key)

    def serve(self, request: Request, key: str | None = None) -> None:
        """Make a request to both, without a fault."""
        answer = self.ask(request, key)
        self._count(request, 'accepted' if answer.status < 300 else 'refused')
        self._check(request, answer)
        return self._note(request, key, answer)

    def take_key(self, request: Request) -> str | None:
        """The key of the next POST; the request after it has none again."""
        if self.key is None or request.method != 'POST':
            return None
        key, self.key = self.key, None
        return key

    def _note(self, request: Request, key: str | None, answer: Answer) -> None:
        """Keep what was accepted under a key: its repetition is answered alike, at any later time."""
        if key is not None and answer.status < 300:
            self.keyed.append((request, key, answer))

    def repeat(self, request: Request, key: str, first: Answer) -> None:
        """The same request under the same key changes nothing, whatever has become of what it made."""
        again = self.ask(request, key)
        assert (again.status, again.text) == (first.status, first.text), (request.name, again, first)
        assert again.headers.get('idempotent-replayed') == 'true'
        self.counts['repeated under its key'] += 1

    def reuse(self, request: Request, key: str) -> None:
        """Another request under the key is refused."""
        answers = [self.ask(request, key, at='3.70')]
        if next(iter(request.body)) in NAMED:
            answers.append(self.ask(dataclasses.replace(request, body=_renamed(request.body)), key))
        assert {answer.status for answer in answers} == {422}, (request.name, answers)
        self.counts['refused under a used key'] += 1

    def _check(self, request: Request, answer: Answer) -> None:
        self.failed = True
        allowed = request.predict(answer.body if answer.text and answer.status < 300 else None)
        assert answer.status in allowed, (request.name, answer.status, answer.text, sorted(allowed))
        self.failed = False

    def act(
        self, volume: Volume, name: str, verb: str, facts: Any, predict: Callable[[Any], Codes], *, admin: bool = False
    ) -> None:
        """An action on a volume."""
        self.play(action(name, volume.project, f'/volumes/{volume.id}', verb, facts, predict, admin=admin))

    def wait(self) -> None:
        """Before a resource is chosen: what is under way may end it."""
        if self.model.jobs and (len(self.model.jobs) >= self.patience or self.fault is not None):
            self.settle_both()

    def ask(self, request: Request, key: str | None = None, at: str = AT) -> Answer:
        """Send a request, with an Idempotency-Key if given."""
        self.service.next_instance()
        caller = self.service.caller(request.project, admin=request.admin)
        headers: dict[str, str | None] = {'Idempotency-Key': key}
        return caller.request(request.method, request.path, request.body, at=at, headers=headers)

    def _count(self, request: Request, outcome: str) -> None:
        self.counts[f'{request.name} {outcome}'] += 1

    def _play_with_fault(self, request: Request, key: str | None) -> None:
        """Without an answer all is afterwards as if the request was never sent, or as if it was accepted.

        A client that sent a key repeats the request until it is answered: then it was accepted once, or refused.
        """
        crasher, answer = self.fault or Crasher(), None
        self.fault, before = None, self._shown(request)
        with self.service.watched(crasher), contextlib.suppress(Killed):
            answer = self.ask(request, key)
        if key is not None and (answer is None or answer.status >= 500):
            self.service.give_up_keys()
            answer = self.ask(request, key)
            self._count(request, 'answered when repeated')
        if answer is not None and (answer.status < 500 or key is not None):
            self._count(request, 'answered in spite of a fault')
            self._check(request, answer)
            self._note(request, key, answer)
            return self.settle_both()
        self.service.settle()
        made = self._shown(request) - before
        if made or (request.makes is None and not self._is_unchanged()):
            self._count(request, 'accepted without an answer')
            allowed = request.predict({request.makes[1]: {'id': made.pop()}} if request.makes else {})
            assert min(allowed) < 300, (request.name, sorted(allowed))
        else:
            self._count(request, 'lost')
        return self.settle_both()

    def _shown(self, request: Request) -> set[str]:
        if request.makes is None:
            return set()
        return set(self.service.shown(request.project, request.makes[0]))

    def _is_unchanged(self) -> bool:
        try:
            self.compare()
        except AssertionError:
            return False
        return True

    def pick(self, known: Sequence[T] | dict[str, T], at: int) -> T | None:
        """The resource at a position, counted around; None when there is none."""
        self.wait()
        values = list(known.values()) if isinstance(known, dict) else list(known)
        return values[at % len(values)] if values else None

    def attachment(self, at: int) -> tuple[Volume, Attachment] | None:
        return self.pick(self.attachments(), at)

    def attachments(self) -> list[tuple[Volume, Attachment]]:
        self.wait()
        return self.model.attachments()

    # Comparing, when nothing is under way

    def settle_both(self) -> None:
        self.failed = True
        self.service.settle()
        self.model.settle()
        self.compare()

    def compare(self) -> None:
        """All that a client can see, every byte, every counter and the backends are what the reference has."""
        for project in LIMITS:
            self._compare_volumes(project)
            self._compare_snapshots(project)
            self._compare('backups', project, self.model.backups.values(), self._backup)
            self._compare('groups', project, self.model.groups.values(), lambda one: (one.status, one.name))
            self._compare(
                'group_snapshots', project, self.model.group_snapshots.values(), lambda one: (one.status, one.group)
            )
            self._compare_attachments(project)
            self._compare('volume-transfers', project, self.model.transfers.values(), lambda one: one.volume)
            self._compare_usage(project)
        self._compare_images()
        self._compare_types()
        self.service.check_invariants(frozenset(self.explained))
        self.counts['comparisons'] += 1
        self.failed = False

    def _compare(self, path: str, project: str, known: Iterable[T], facts: Callable[[T], Any]) -> list[T]:
        """Compare a list with what the reference knows of the project; return that."""
        mine: list[Any] = [one for one in known if one.project == project]  # type: ignore[attr-defined]
        shown = self.service.shown(project, path)
        agree(path, {id: SHOWN[path](one) for id, one in shown.items()}, {one.id: facts(one) for one in mine})
        return mine

    def _compare_volumes(self, project: str) -> None:
        for one in self._compare('volumes', project, self.model.volumes.values(), self._volume):
            if one.status in WHOLE:
                found = self.service.content(volume_record(project, one.id))
                one.content = found if one.content is None else one.content
                agree(f'bytes of volume {one.id}', found, one.content)

    @staticmethod
    def _volume(one: Volume) -> Any:
        servers = sorted(held.server for held in one.attachments.values() if held.status == 'attached')
        origin = one.origin or (None, None)
        made_of = tuple(origin[1] if origin[0] == name else None for name in ('source_volid', 'snapshot_id'))
        return one.status, one.size, one.type, one.multiattach, one.group, made_of, one.metadata, servers

    def _compare_snapshots(self, project: str) -> None:
        def facts(one: Snapshot) -> Any:
            return one.status, one.size, one.volume, one.group_snapshot, one.metadata

        for one in self._compare('snapshots', project, self.model.snapshots.values(), facts):
            if one.status == 'available':
                found = self.service.content(snapshot_record(project, one.id))
                one.content = found if one.content is None else one.content
                agree(f'bytes of snapshot {one.id}', found, one.content)

    def _backup(self, one: Backup) -> Any:
        dependents = any(other.parent == one.id and other.counts for other in self.model.backups.values())
        return one.status, one.size, one.volume, one.snapshot, one.parent is not None, dependents

    def _compare_attachments(self, project: str) -> None:
        shown = self.service.shown(project, 'attachments')
        found = {id: (one['status'], one['volume_id'], one['instance']) for id, one in shown.items()}
        known = [*self.model.attachments(), *((one, held) for held, one in self.model.orphans.values())]
        wanted = {held.id: (held.status, one.id, held.server) for one, held in known if one.project == project}
        agree('attachments', found, wanted)

    def _compare_images(self) -> None:
        found = {id: self.service.image(id) for id in self.service.images.images}
        for one in self.model.images.values():
            if one.content is None and one.id in found:
                one.content = found[one.id][2]
        wanted = {one.id: (one.status, one.size, one.content) for one in self.model.images.values()}
        agree('images', found, wanted)

    def _compare_types(self) -> None:
        kinds, known = self.service.kinds(), self.model.kinds
        named = {name: one['qos_specs_id'] for name, one in kinds.items()}
        agree('QoS specs of types', named, {name: known[name].qos for name in kinds})
        agree('QoS specs', self.service.qos(), self.model.qos)
        assert self.service.is_encrypted('sealed') == known['sealed'].encrypted

    def _compare_usage(self, project: str) -> None:
        """Every counter, those of the volume types included; nothing is reserved when nothing is under way."""
        found = {name: used for name, used in self.service.usage(project).items() if any(used)}
        wanted = {name: (one, 0) for name, one in self.model.usage(project).items() if one}
        agree(f'usage of {project}', found, wanted)


#: List -> what is compared of one of its members.
SHOWN: dict[str, Callable[[dict[str, Any]], Any]] = {
    'volumes': lambda one: (
        *(one[name] for name in ('status', 'size', 'volume_type', 'multiattach', 'group_id')),
        (one['source_volid'], one['snapshot_id']),
        one['metadata'],
        sorted(held['server_id'] for held in one['attachments']),
    ),
    'snapshots': lambda one: tuple(
        one[name] for name in ('status', 'size', 'volume_id', 'group_snapshot_id', 'metadata')
    ),
    'backups': lambda one: tuple(
        one[name] for name in ('status', 'size', 'volume_id', 'snapshot_id', 'is_incremental', 'has_dependent_backups')
    ),
    'groups': lambda one: (one['status'], one['name']),
    'group_snapshots': lambda one: (one['status'], one['group_id']),
    'volume-transfers': lambda one: one['volume_id'],
}
