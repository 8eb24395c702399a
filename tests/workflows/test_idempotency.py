"""A client repeats a POST with its key, after the first request died or lost an answer at any of its calls.

The work is done once: records, objects and quota are those of one undisturbed request, and the client gets its answer.
"""

from __future__ import annotations

import collections
import copy
import dataclasses
import functools
import json
import re
import time
from collections.abc import Callable
from typing import Any

import pytest

from chalicelib.models import (
    Attachment,
    BackupSchedule,
    GroupType,
    IdempotencyKey,
    QosSpecs,
    Transfer,
    Volume,
    VolumeType,
)
from chalicelib.operations import attachments, group_types, idempotency, transfers, volume_types
from tests import invariants
from tests.api.front_door import Answer, FrontDoor
from tests.backup_factories import create_backup
from tests.data_backends import Data
from tests.factories import context, create_group, create_snapshot, create_volume
from tests.fake_driver import Object
from tests.simulation import BIG, Simulation
from tests.workflows import crashes
from tests.workflows.crashes import Crasher, LostAnswer, Scenario, Stage, recover

PROJECT = 'project'
HOST = {'host': 'compute-1', 'initiator': 'iqn.1993-08.org.debian:01:aaa', 'ip': '10.0.0.11', 'multipath': False}

#: What a reset, an offer or a reservation leaves a volume in.
WAITING = frozenset({'maintenance', 'awaiting-transfer', 'reserved', 'attaching', 'detaching'})

CHECK = invariants.check

#: Records beside those that ``crashes.outcome`` counts.
OTHERS = (Attachment, BackupSchedule, GroupType, QosSpecs, Transfer, VolumeType)


@dataclasses.dataclass(frozen=True)
class Post:
    """One kind of POST. ``prepare`` returns the ids that path and body name as {0}, {1}."""

    name: str
    path: str
    body: Any
    prepare: Callable[[Simulation], tuple[str, ...]] = lambda _: ()
    role: str = 'admin'
    project: str = PROJECT

    def send(self, door: FrontDoor, ids: tuple[str, ...], key: str = 'key') -> Answer:
        text = re.sub(r'"\{(\d)\}"', lambda found: json.dumps(ids[int(found[1])]), json.dumps(self.body))
        caller = door.caller(self.role, self.project)
        path = re.sub(r'\{(\d)\}', lambda found: ids[int(found[1])], self.path)
        return caller.post(path, text, at='3.71', headers={'Idempotency-Key': key})


def volume(simulation: Simulation, **facts: Any) -> tuple[str, ...]:
    made = create_volume(context(), 5, **facts)
    simulation.settle()
    return (made.id,)


def snapshot(simulation: Simulation) -> tuple[str, ...]:
    (id,) = volume(simulation)
    made = create_snapshot(context(), Volume.find(PROJECT, id))
    simulation.settle()
    return (id, made.id)


def backup(simulation: Simulation) -> tuple[str, ...]:
    (id,) = volume(simulation)
    made = create_backup(context(), Volume.find(PROJECT, id))
    simulation.settle()
    return (made.id, id)


def group(simulation: Simulation) -> tuple[str, ...]:
    made = create_group(context())
    simulation.settle()
    create_volume(context(), 5, group_id=made.id)
    simulation.settle()
    return (made.id,)


def kind_of_group(simulation: Simulation) -> tuple[str, ...]:
    facts: dict[str, Any] = {'description': None, 'is_public': True, 'group_specs': {}}
    made = group_types.create(context('admin'), name='kind', **facts)
    return (made.id, volume_types.default(context()).id)


def volume_type(is_public: bool) -> Callable[[Simulation], tuple[str, ...]]:
    def prepare(simulation: Simulation) -> tuple[str, ...]:
        facts: dict[str, Any] = {'description': None, 'extra_specs': {}, 'is_public': is_public}
        return (volume_types.create(context('admin'), name='private', **facts).id,)

    return prepare


def offer(simulation: Simulation) -> tuple[str, ...]:
    (id,) = volume(simulation)
    made, key = transfers.create(context(), id, name='gift', no_snapshots=False, allow_encrypted=False)
    return (made.id, key)


def reserved(simulation: Simulation) -> tuple[str, ...]:
    (id,) = volume(simulation)
    attachments.create(context(), volume_id=id, instance_id='server', connector=None, mode='rw')
    return (id,)


def attached(simulation: Simulation) -> tuple[str, ...]:
    (id,) = volume(simulation)
    made = attachments.create(context(), volume_id=id, instance_id='server', connector=HOST, mode='rw')
    attachments.complete(context(), made.id)
    return (id, made.id)


def foreign(simulation: Simulation) -> None:
    simulation.big.objects['theirs'] = Object('pool', 5)
    simulation.report()


def foreign_volume(simulation: Simulation) -> tuple[str, ...]:
    foreign(simulation)
    return ()


def action(
    name: str, body: Any = None, prepare: Callable[[Simulation], tuple[str, ...]] = volume, of: str = 'volumes'
) -> Post:
    return Post(name, f'/{of}/{{0}}/action', {name: body}, prepare)


def create_type(name: str) -> Any:
    return {'volume_type': {'name': name}}


MANAGED = {'host': BIG, 'ref': {'source-name': 'theirs'}}

POSTS = [
    Post('volume', '/volumes', {'volume': {'size': 5}}),
    Post('clone', '/volumes', {'volume': {'size': 6, 'source_volid': '{0}'}}, volume),
    Post('manage', '/manageable_volumes', {'volume': MANAGED}, foreign_volume),
    Post('snapshot', '/snapshots', {'snapshot': {'volume_id': '{0}'}}, volume),
    Post('backup', '/backups', {'backup': {'volume_id': '{0}'}}, volume),
    Post('restore to a new volume', '/backups/{0}/restore', {'restore': {}}, backup),
    Post('restore', '/backups/{0}/restore', {'restore': {'volume_id': '{1}'}}, backup),
    Post('schedule', '/backup-schedules', {'backup_schedule': {'volume_id': '{0}', 'cron': '0 3 * * *'}}, volume),
    Post('group', '/groups', {'group': {'group_type': '{0}', 'volume_types': ['{1}']}}, kind_of_group),
    Post('group snapshot', '/group_snapshots', {'group_snapshot': {'group_id': '{0}'}}, group),
    Post('copy of a group', '/groups/action', {'create-from-src': {'source_group_id': '{0}'}}, group),
    Post('attachment', '/attachments', {'attachment': {'volume_uuid': '{0}'}}, volume),
    Post('attachment and export', '/attachments', {'attachment': {'volume_uuid': '{0}', 'connector': HOST}}, volume),
    Post('transfer', '/volume-transfers', {'transfer': {'volume_id': '{0}'}}, volume),
    Post('accept', '/volume-transfers/{0}/accept', {'accept': {'auth_key': '{1}'}}, offer, 'member', 'other'),
    Post('type', '/types', create_type('new')),
    Post('access', '/types/{0}/action', {'addProjectAccess': {'project': 'p'}}, volume_type(is_public=False)),
    Post(
        'encryption',
        '/types/{0}/encryption',
        {'encryption': {'provider': 'luks', 'control_location': 'front-end'}},
        volume_type(is_public=True),
    ),
    Post('specs', '/types/{0}/extra_specs', {'extra_specs': {'a': 'b'}}, volume_type(is_public=True)),
    Post('group type', '/group_types', {'group_type': {'name': 'new'}}),
    Post('qos', '/qos-specs', {'qos_specs': {'name': 'new', 'consumer': 'back-end', 'total_iops_sec': '100'}}),
    Post('metadata', '/volumes/{0}/metadata', {'metadata': {'a': 'b'}}, volume),
    action('os-extend', {'new_size': 8}),
    action('os-reserve'),
    action('os-unreserve', prepare=reserved),
    action('os-begin_detaching', prepare=attached),
    action('os-attach', {'instance_uuid': '5f9d6f9e-0d1c-4a9f-8e25-1c6a4e7c0b11', 'mountpoint': '/dev/vdc'}),
    action('os-detach', {'attachment_id': '{1}'}, attached),
    action('os-initialize_connection', {'connector': HOST}),
    action('os-terminate_connection', {'connector': HOST}, attached),
    action('os-reset_status', {'status': 'maintenance'}),
    action('os-force_delete'),
    action('os-unmanage'),
    action('revert', {'snapshot_id': '{1}'}, snapshot),
    action('os-set_bootable', {'bootable': True}),
    action('os-force_delete', prepare=lambda simulation: snapshot(simulation)[1:], of='snapshots'),
    action('os-reset_status', {'status': 'error'}, lambda simulation: backup(simulation)[:1], of='backups'),
    action('cinderless:scrub', {}, backup, of='backups'),
    action('delete', {'delete-volumes': True}, group, of='groups'),
]


def outcome(simulation: Simulation) -> dict[Any, int]:
    """What is left, with the quota in use; exports are counted by the invariants."""
    found: collections.Counter[Any] = collections.Counter(crashes.outcome(simulation))
    found.update(kind.__name__ for kind in OTHERS for _ in kind.scan())
    found.update({('keys', record.code): 1 for record in IdempotencyKey.scan()})
    return dict(found)


def shape(answer: Answer) -> Any:
    """Status, and the names in the body: an answer completed later shows the record as it is then."""
    body = json.loads(answer.text) if answer.text else {}
    return answer.status, {
        name: sorted(inner) if isinstance(inner, dict) else len(inner) for name, inner in body.items()
    }


class Story:
    """One kind of POST on its stage. A step in time lets a key whose holder died be taken over."""

    def __init__(self, post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
        self.post, self.patch = post, monkeypatch
        self.answers: list[Answer] = []
        monkeypatch.setattr(idempotency, 'PAUSES', (0.0,))
        monkeypatch.setattr(invariants, 'check', functools.partial(CHECK, waiting=WAITING))
        self.door = FrontDoor.open(monkeypatch)
        self.stage = Stage(Scenario(post.name, self._prepare, self._first), monkeypatch)

    def _prepare(self, simulation: Simulation) -> tuple[str, ...]:
        self.data = Data(simulation, self.patch)
        return self.post.prepare(simulation)

    def _first(self, simulation: Simulation, ids: tuple[str, ...]) -> None:
        again = Data(simulation, self.patch)
        again.disks = copy.deepcopy(self.data.disks)
        again.repositories = dict(self.data.repositories)
        self.post.send(self.door, ids)

    def repeat(self, simulation: Simulation) -> None:
        with self.patch.context() as patch:
            later = time.time() + 60
            patch.setattr(idempotency.time, 'time', lambda: later)
            self.answers.append(self.post.send(self.door, self.stage.prepared))

    def after_recovery(self, simulation: Simulation) -> None:
        recover(simulation)
        self.repeat(simulation)

    def play(self, crasher: Crasher, then: Callable[[Simulation], None]) -> tuple[dict[Any, int], Any]:
        self.answers.clear()
        simulation = self.stage.play(crasher, then=then)
        return outcome(simulation), [shape(answer) for answer in self.answers]


@pytest.fixture
def kms(tables: None, monkeypatch: pytest.MonkeyPatch) -> None:
    import boto3

    from chalicelib import aws

    key = boto3.client('kms', region_name='us-east-1').create_key()['KeyMetadata']['KeyId']
    known = aws.settings()._replace(kms_key_id=key)
    monkeypatch.setattr(aws, 'settings', lambda: known)
    aws.client.cache_clear()


@pytest.mark.parametrize('post', POSTS, ids=lambda post: f'{post.name} {post.path.split("/")[1]}')
def test_a_request_that_died_is_completed_by_its_repetition(
    post: Post, kms: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    story, trace = Story(post, monkeypatch), Crasher()
    undisturbed = story.play(trace, story.repeat)
    assert undisturbed[1][0][0] < 300, story.answers
    assert len(trace.calls) >= 3
    for index in range(len(trace.calls) + 1):
        for then in (story.repeat, story.after_recovery):
            assert story.play(Crasher(index), then) == undisturbed, (trace.calls[:index], then.__name__)


@pytest.mark.parametrize('gives_up', [False, True], ids=['SDK repeats', 'caller gets an error'])
@pytest.mark.parametrize('post', POSTS, ids=lambda post: f'{post.name} {post.path.split("/")[1]}')
def test_a_request_whose_answer_was_lost_is_completed_by_its_repetition(
    post: Post, gives_up: bool, kms: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    story, trace = Story(post, monkeypatch), Crasher()
    undisturbed = story.play(trace, story.repeat)
    for index in range(len(trace.calls)):
        assert story.play(LostAnswer(index, gives_up=gives_up), story.repeat) == undisturbed, trace.calls[: index + 1]
