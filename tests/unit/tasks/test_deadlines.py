"""Attach and detach within one deadline: what the API hands on, how a worker uses it, and what is left when it ends."""

from __future__ import annotations

import dataclasses
import io
import time
from typing import Any

import pytest
from botocore.exceptions import ClientError

from chalicelib import aws, errors, time_left
from chalicelib.models import Attachment, Volume
from chalicelib.operations import attachments, workers
from chalicelib.operations import legacy_attachments as legacy
from chalicelib.tasks import connections
from tests.chap import chap, paths
from tests.factories import context
from tests.simulation import Simulation
from tests.unit.operations.test_attachments import HOST, create, make_volume, statuses

__all__ = ['chap']


@dataclasses.dataclass
class Clock:
    """A clock on which only sleeping and trying takes time."""

    now: float = 1_000_000.0
    slept: list[float] = dataclasses.field(default_factory=list)

    def time(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(time_left, 'time', made)
    monkeypatch.setattr(connections, 'time', made)
    return made


@pytest.fixture
def volume(chap: Simulation) -> Volume:
    return make_volume(chap)


@pytest.mark.parametrize(
    ('received', 'counts_from'),
    [(-8.0, -8.0), (0.0, 0.0), (5.0, 0.0), (-29.5, 0.0), (None, 0.0)],
    ids=['cold start', 'now', 'a clock ahead', 'a clock behind', 'unknown'],
)
def test_the_deadline_counts_from_the_gateway(clock: Clock, received: float | None, counts_from: float) -> None:
    moment = None if received is None else clock.now + received
    assert time_left.of_request(moment) == clock.now + counts_from + 27.5


def test_a_worker_gets_what_is_left(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(aws, 'invoke', lambda function, task, payload, **facts: seen.append((payload, facts)))
    workers.call('task', {'id': 'x'})
    assert seen == [({'id': 'x'}, {})]
    with time_left.until(clock.now + 20):
        workers.call('task', {'id': 'x'})
        payload, facts = seen[1]
        assert payload == {'id': 'x', 'deadline': clock.now + 18}
        assert facts == {'seconds': 18.5}
        clock.now += 17
        with pytest.raises(errors.BackendUnavailable, match='no time left'):
            workers.call('task', {})


def test_the_wait_for_a_worker_includes_its_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[dict[str, Any]] = []

    class Client:
        def invoke(self, **_: Any) -> dict[str, Any]:
            return {'Payload': io.BytesIO(b'1')}

    def create_client(service: str, region: str, **options: Any) -> Client:
        made.append(options)
        return Client()

    monkeypatch.setattr(aws, 'create_client', create_client)
    aws.invoker.cache_clear()
    try:
        assert aws.invoke('worker', 'task', {}, seconds=18.5) == 1
    finally:
        aws.invoker.cache_clear()
    assert made[0]['connect_timeout'] + made[0]['read_timeout'] == 18
    assert made[0]['retries'] == {'total_max_attempts': 1}


@pytest.mark.parametrize('verb', ['initialize_connection', 'terminate_connection'])
def test_a_backend_that_restarts_costs_time_only(clock: Clock, chap: Simulation, volume: Volume, verb: str) -> None:
    with time_left.until(clock.now + 27):
        chap.big.fail(verb, *[chap.big.unavailable()] * 6)
        made = create(volume, HOST)
        assert attachments.delete(context(), made.id) == []
    assert len(clock.slept) == 6
    assert (statuses(volume), paths(chap)) == (('available', 'detached', 0), [])


def test_pauses_have_full_jitter_and_a_cap(clock: Clock, chap: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[float, float]] = []

    def most(low: float, high: float) -> float:
        asked.append((low, high))
        return high

    monkeypatch.setattr(connections.random, 'uniform', most)
    left = [errors.BackendUnavailable(backend='b', reason='r')] * 5

    def call() -> str:
        if left:
            raise left.pop()
        return 'done'

    with time_left.until(clock.now + 27):
        assert connections.patiently(call) == 'done'
    assert asked == [(0, 0.25), (0, 0.5), (0, 1.0), (0, 2.0), (0, 2.0)]


@pytest.mark.parametrize('error', [errors.BackendFull(backend='b', size=1, reason='r'), RuntimeError('a bug')])
def test_what_is_not_an_outage_is_not_repeated(clock: Clock, error: Exception) -> None:
    calls = []

    def call() -> None:
        calls.append(1)
        raise error

    with time_left.until(clock.now + 27), pytest.raises(type(error)):
        connections.patiently(call)
    assert calls == [1]


def test_an_outage_beyond_the_deadline_leaves_everything_as_it_was(
    clock: Clock, chap: Simulation, volume: Volume
) -> None:
    end = clock.now + 27
    with time_left.until(end):
        chap.big.fail('initialize_connection', *[chap.big.unavailable()] * 500)
        with pytest.raises(errors.BackendUnavailable):
            create(volume, HOST)
        assert clock.now < end
    chap.big.faults.clear()
    assert (statuses(volume), paths(chap), list(Attachment.scan())) == (('available', 'detached', 0), [], [])
    with time_left.until(clock.now + 27):  # a repetition cures it
        assert create(volume, HOST).attach_status == 'attaching'
    assert len(paths(chap)) == 1


def test_a_detach_beyond_the_deadline_leaves_record_and_export(clock: Clock, chap: Simulation, volume: Volume) -> None:
    made = create(volume, HOST)
    attachments.complete(context(), made.id)
    before = paths(chap)
    with time_left.until(clock.now + 27):
        chap.big.fail('terminate_connection', *[chap.big.unavailable()] * 500)
        with pytest.raises(errors.BackendUnavailable):
            attachments.delete(context(), made.id)
    chap.big.faults.clear()
    assert (statuses(volume), paths(chap)) == (('in-use', 'attached', 1), before)
    assert attachments.delete(context(), made.id) == []
    assert (statuses(volume), paths(chap)) == (('available', 'detached', 0), [])


def refused_by_kms() -> Exception:
    answer = {'Error': {'Code': 'DisabledException', 'Message': 'the key is disabled'}}
    return ClientError(answer, 'Encrypt')  # type: ignore[arg-type]


@pytest.mark.parametrize('error', [refused_by_kms(), errors.ServiceUnavailable(reason='r'), RuntimeError('a bug')])
def test_an_answer_that_cannot_be_recorded_leaves_no_export(
    chap: Simulation, volume: Volume, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def seal(text: str, purpose: str) -> str:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(aws, 'seal', seal)
        with pytest.raises(errors.CinderlessError):
            create(volume, HOST)
        assert (statuses(volume), paths(chap), list(Attachment.scan())) == (('available', 'detached', 0), [], [])
        reserved = create(volume)
        with pytest.raises(errors.CinderlessError):
            attachments.update(context(), reserved.id, HOST)
        assert (statuses(volume), paths(chap)) == (('reserved', 'reserved', 1), [])
    assert attachments.update(context(), reserved.id, HOST).attach_status == 'attaching'


def test_an_export_that_cannot_be_taken_away_stays_on_the_record(
    chap: Simulation, volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker made it, could not record it, and could not undo it; nor could the API."""
    chap.big.fail('terminate_connection', *[chap.big.unavailable()] * 2)
    with monkeypatch.context() as patch:
        patch.setattr(aws, 'seal', lambda *_: (_ for _ in ()).throw(refused_by_kms()))
        with pytest.raises(errors.CinderlessError):
            create(volume, HOST)
    assert (statuses(volume), list(Attachment.scan())) == (('available', 'detached', 0), [])
    [(_, left)] = paths(chap)
    [(id, entry)] = volume.reload().exports.items()
    assert (id, entry['ending'], entry['initiator']) == (left, True, HOST['initiator'])
    made = create(volume, HOST)
    assert [export for _, export in paths(chap)] == [made.id]
    assert volume.reload().exports == {}


def test_a_worker_is_called_once_for_each_thing(
    chap: Simulation, volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often others change the volume meanwhile: nothing remote is inside a loop over conditional writes."""
    tasks: list[str] = []
    invoke, commit, write = chap.invoke, attachments._commit, attachments.exports._write

    def counting(function: str, task: str, payload: dict[str, Any], **facts: Any) -> Any:
        tasks.append(task)
        return invoke(function, task, payload, **facts)

    def contended(original: Any) -> Any:
        def call(volume: Volume, *arguments: Any) -> Any:
            if len(disturbed) < 3:
                disturbed.append(1)
                Volume.find(volume.project_id, volume.id).update(actions=[Volume.revision.add(1)])
            return original(volume, *arguments)

        return call

    disturbed: list[int] = []
    monkeypatch.setattr(aws, 'invoke', counting)
    monkeypatch.setattr(attachments, '_commit', contended(commit))
    monkeypatch.setattr(attachments.exports, '_write', contended(write))
    made = create(volume, HOST)
    disturbed.clear()
    attachments.delete(context(), made.id)
    disturbed.clear()
    legacy.initialize_connection(context(), volume.id, HOST)
    disturbed.clear()
    legacy.terminate_connection(context(), volume.id, HOST)
    assert tasks == [
        'initialize_attachment', 'terminate_connection', 'initialize_connection', 'terminate_connection',
    ]  # fmt: skip


def test_real_clocks_agree() -> None:
    assert abs(time_left.of_request(None) - (time.time() + 27.5)) < 60
