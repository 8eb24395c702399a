"""What Hypothesis draws: requests of two projects, time that passes, and faults.

The rules draw a resource by its position, so that numbers alone describe a run: a seed repeats it.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import initialize

from chalicelib import errors
from tests.model.reference.records import Resource, Volume
from tests.model.rules.administration import AdminRules
from tests.model.rules.attachments import AttachmentRules
from tests.model.rules.backups import BackupRules
from tests.model.rules.groups import GroupRules
from tests.model.rules.management import ManagementRules
from tests.model.rules.types import TypeRules
from tests.model.side import FLAWS, LIMITS, PATHS, PICK, PLACES, PROJECTS, SIZES, Request, has, precondition, rule
from tests.simulation import Killed

#: What runs may begin with beside volumes.
STAGES: list[tuple[str, ...]] = [
    (),
    ('snapshot',),
    ('backup',),
    ('snapshot', 'backup', 'incremental backup'),
    ('attachment',),
    ('offer',),
    ('group', 'member', 'copy'),
    ('group', 'member', 'member', 'group snapshot'),
]

#: Writes that eventually consistent reads may miss; seconds by which the clocks of the instances are ahead.
LAGS = [0, 3, 30]
CLOCKS = [[0.0], [0.0, 0.0], [0.0, 2.5]]

#: Classes of rules that a run may draw more often than others.
THEMES = ['', 'AdminRules', 'AttachmentRules', 'BackupRules', 'GroupRules', 'ManagementRules', 'TypeRules']

#: What the next call of a driver's verb may do instead.
FAULTS: dict[str, Callable[[str], Exception]] = {
    'unavailable': lambda host: errors.BackendUnavailable(backend=host, reason='no route to host'),
    'full': lambda host: errors.BackendFull(backend=host, size=1, reason='the disks are full'),
    'refused': lambda host: errors.DriverError(backend=host, reason='no'),
}
VERBS = (
    'create_volume', 'create_volume_from_snapshot', 'create_cloned_volume', 'delete_volume', 'extend_volume',
    'create_snapshot', 'delete_snapshot', 'revert_to_snapshot', 'open_volume', 'open_snapshot', 'retype',
    'manage_existing', 'manage_existing_get_size', 'manage_existing_snapshot', 'unmanage', 'unmanage_snapshot',
)  # fmt: skip

#: The statuses of failed work.
FAILED = ('error', 'error_deleting', 'error_extending', 'error_restoring', 'error_unmanaging')


class Model(BackupRules, AttachmentRules, GroupRules, ManagementRules, TypeRules, AdminRules):
    """All rules; here those of the beginning, of strangers, of time and of faults."""

    @initialize(
        project=PROJECTS,
        sizes=st.lists(SIZES, min_size=1, max_size=3),
        numbers=st.lists(PLACES, max_size=4),
        patience=st.integers(1, 4),
        stage=st.sampled_from(STAGES),
        lag=st.sampled_from(LAGS),
        offsets=st.sampled_from(CLOCKS),
        theme=st.sampled_from(THEMES),
    )
    def begin(
        self,
        project: str,
        sizes: list[int],
        numbers: list[int],
        patience: int,
        stage: tuple[str, ...],
        lag: int,
        offsets: list[float],
        theme: str,
    ) -> None:
        """Begin with volumes, and with what some rules need that would seldom come about otherwise."""
        self.service.deploy(lag, offsets)
        self.patience = 9
        for size in sizes:
            self._create(project, size, '__DEFAULT__', None, {})
        self.settle_both()
        for at, place in enumerate(numbers):
            self.write(at, place)
        for name in stage:
            self._prepare(name, project)
            self.settle_both()
        self.patience, self.theme = patience, theme

    def _prepare(self, name: str, project: str) -> None:
        steps: dict[str, Callable[[], None]] = {
            'snapshot': lambda: self.create_snapshot(0),
            'backup': lambda: self.create_backup(0, False),
            'incremental backup': lambda: self.create_backup(0, True),
            'attachment': lambda: self.attach(0, 0),
            'offer': lambda: self.offer(0),
            'group': lambda: self.create_group(project, {'__DEFAULT__', 'other'}),
            'member': lambda: self.create_volume_in_group(0, 1, '__DEFAULT__'),
            'copy': lambda: self.copy_group(0),
            'group snapshot': lambda: self.create_group_snapshot(0),
        }
        steps[name]()

    @has('volumes')
    @rule(weight=1, at=PICK, which=st.integers(0, 13))
    def try_as_a_stranger(self, at: int, which: int) -> None:
        """For every request of another project's member, a resource does not exist."""
        volume, snapshot = self.pick(self.model.volumes, at), self.pick(self.model.snapshots, at)
        backup, attached = self.pick(self.model.backups, at), self.attachment(at)
        group, taken = self.pick(self.model.groups, at), self.pick(self.model.group_snapshots, at)
        asked: list[Any] = [
            volume and ('GET', f'/volumes/{volume.id}', None, volume),
            volume and ('DELETE', f'/volumes/{volume.id}', None, volume),
            volume and ('POST', f'/volumes/{volume.id}/action', {'os-extend': {'new_size': 9}}, volume),
            volume and ('POST', '/snapshots', {'snapshot': {'volume_id': volume.id}}, volume),
            volume and ('POST', '/backups', {'backup': {'volume_id': volume.id}}, volume),
            volume and ('POST', '/attachments', {'attachment': {'volume_uuid': volume.id}}, volume),
            snapshot and ('DELETE', f'/snapshots/{snapshot.id}', None, snapshot),
            backup and ('POST', f'/backups/{backup.id}/restore', {'restore': {}}, backup),
            backup and ('DELETE', f'/backups/{backup.id}', None, backup),
            attached and ('DELETE', f'/attachments/{attached[1].id}', None, attached[0]),
            volume and ('POST', f'/volumes/{volume.id}/metadata', {'metadata': {'x': 'y'}}, volume),
            group and ('POST', f'/groups/{group.id}/action', {'delete': {'delete-volumes': True}}, group),
            group and ('POST', '/group_snapshots', {'group_snapshot': {'group_id': group.id}}, group),
            taken and ('DELETE', f'/group_snapshots/{taken.id}', None, taken),
        ]
        if asked[which]:
            method, path, body, owned = asked[which]
            stranger = next(project for project in LIMITS if project != owned.project)
            self.play(Request('stranger', stranger, method, path, lambda _: frozenset({404}), body))

    # Time and faults

    @rule(weight=1)
    def settle(self) -> None:
        self.settle_both()

    @rule(weight=1)
    def deliver_twice(self) -> None:
        """The queue hands each message over again, and the machines run on."""
        self.service.simulation.deliver(times=2)
        self.settle_both()

    @rule(weight=3)
    def name_the_next_request(self) -> None:
        """The next POST has an Idempotency-Key of its own."""
        self.key = f'key-{next(self.numbers)}'

    @precondition(lambda self: self.keyed)
    @rule(weight=3, at=PICK, same=st.booleans())
    def use_a_key_again(self, at: int, same: bool) -> None:
        request, key, answer = self.keyed[at % len(self.keyed)]
        if same:
            self.repeat(request, key, answer)
        else:
            self.reuse(request, key)

    @rule(weight=3, calls=st.integers(0, 6), flaw=st.sampled_from(sorted(FLAWS)), keyed=st.booleans())
    def disturb_the_next_request(self, calls: int, flaw: str, keyed: bool) -> None:
        self.fault = FLAWS[flaw](calls)
        if keyed:
            self.name_the_next_request()

    @precondition(lambda self: self.model.jobs)
    @rule(weight=5, calls=st.integers(0, 11), flaw=st.sampled_from(sorted(FLAWS)))
    def disturb_a_worker(self, calls: int, flaw: str) -> None:
        """A function dies that works for what was accepted, or loses an answer; all is done nevertheless."""
        crasher = FLAWS[flaw](calls)
        with self.service.watched(crasher), contextlib.suppress(Killed, *crasher.raised):
            self.service.simulation.settle()
        self.counts[f'work with {flaw}' if len(crasher.calls) > calls else 'work was over before the fault'] += 1
        self.settle_both()

    @precondition(lambda self: self.model.jobs)
    @rule(
        weight=4,
        seed=st.integers(0, 2**16),
        kind=st.sampled_from(sorted(FAULTS)),
        after=st.integers(0, 2),
        count=st.integers(1, 8),
    )
    def fail_and_settle(self, seed: int, kind: str, after: int, count: int) -> None:
        """Verbs of the backends fail while the work is done, after some calls that succeed.

        Each job either is done, or failed as documented.
        """
        draw = random.Random(seed)
        for backend in self.service.simulation.backends.values():
            for verb in draw.sample(VERBS, 8):
                backend.fail(verb, *[None] * after, *[FAULTS[kind](backend.host) for _ in range(count)])
        before = self._refusals()
        self.service.settle()
        for backend in self.service.simulation.backends.values():
            backend.faults.clear()
        self.service.settle()
        unchanged = {id for id, _ in self._refusals() - before}
        self.model.settle(lambda resource: resource.id in unchanged or self._has_failed(resource))
        self.counts['settled with faults'] += 1
        self.compare()

    def _refusals(self) -> set[tuple[str, str]]:
        return {one for project in LIMITS for one in self.service.refusals(project)}

    def _has_failed(self, resource: Resource) -> bool:
        """Whether the work for a resource failed, by what the service shows of it now."""
        shown = self.service.shown(resource.project, PATHS[type(resource)]).get(resource.id)
        failed = shown is not None and (shown['status'] in FAILED or self._is_as_before(resource, shown))
        if isinstance(resource, Volume) and resource.status == 'uploading':
            failed = resource.upload not in self.service.images.images
        self.counts[f'work {"failed" if failed else "done"} in spite of faults'] += 1
        return failed

    @staticmethod
    def _is_as_before(resource: Resource, shown: dict[str, Any]) -> bool:
        """A retype or an extension that was given up leaves no trace but what did not change."""
        if not isinstance(resource, Volume):
            return False
        retyped = resource.status == 'retyping' and shown['volume_type'] == resource.type
        return retyped or (resource.status == 'extending' and shown['size'] == resource.size)
