"""The SDK's real retries over HTTP, in front of AWS's own engine: each write is done once and reported as done."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest

from chalicelib import errors, models
from chalicelib.models import BackupSchedule, Lease, Revocation, Volume, base, bounded, connection
from chalicelib.models.revocation import Revocations
from infra.render import ROOT
from local import dynamodb
from local.endpoint import Endpoint
from local.settings import REGION
from tests import flaky
from tests.flaky import DONE, NOT_DONE, Flaky
from tests.unit import test_writes

IDS = (f'v{number}' for number in itertools.count())


@pytest.fixture(scope='module')
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dynamodb.Engine]:
    engine = dynamodb.engine(ROOT, '', tmp_path_factory.mktemp('engine') / 'log')
    assert engine is not None, 'make setup fetches DynamoDB Local and Java'
    engine.start()
    engine.wait()
    yield engine
    engine.stop()


@pytest.fixture
def network(
    request: pytest.FixtureRequest, engine: dynamodb.Engine, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Flaky]:
    """The tables in the engine, behind a network with faults."""
    monkeypatch.setattr(connection, 'READ_TIMEOUT', flaky.patience(request))
    with (
        flaky.serving(Endpoint(engine.url)) as network,
        flaky.reached_over_http(network, monkeypatch),
    ):
        for kind in (BackupSchedule, Lease, Revocation, Volume):
            if not kind.exists():
                kind.create_table(billing_mode='PAY_PER_REQUEST')
        network.seen.clear()
        yield network


def volume() -> Volume:
    made = Volume('p', next(IDS), created_at=base.now(), user_id='u', size=1, status='available')
    base.put(made, Volume.id.does_not_exist())
    return made


def lost() -> Exception:
    return errors.VolumeNotFound(id='v')


def created(_: Volume) -> None:
    made = volume()
    assert made.reload().status == 'available'


def changed(record: Volume) -> None:
    actions = [Volume.status.set('deleting'), Volume.snapshot_count.add(1), *base.touched(Volume)]
    base.update(record, actions, Volume.status == 'available')
    assert (record.status, record.snapshot_count, record.revision) == ('deleting', 1, 1)


def counted(record: Volume) -> None:
    base.update(record, [Volume.snapshot_count.add(1)])
    assert record.reload().snapshot_count == 1


def created_in_a_transaction(_: Volume) -> None:
    made = Volume('p', next(IDS), created_at=base.now(), user_id='u', size=1, status='available')
    transaction = base.Transaction()
    transaction.put(made, Volume.id.does_not_exist(), lost)
    transaction.commit()
    assert made.reload().status == 'available'


def counted_in_a_transaction(record: Volume) -> None:
    transaction = base.Transaction()
    transaction.update(record, [Volume.snapshot_count.add(1)], Volume.snapshot_count == 0, lost)
    transaction.commit()
    assert record.reload().snapshot_count == 1


def deleted_in_a_transaction(record: Volume) -> None:
    transaction = base.Transaction()
    transaction.delete(record, Volume.id.exists(), lost)
    transaction.commit()
    with pytest.raises(errors.VolumeNotFound):
        record.reload()


def removed(record: Volume) -> None:
    base.remove(record)
    with pytest.raises(errors.VolumeNotFound):
        record.reload()


def leased(record: Volume) -> None:
    first = Lease.acquire(record.id, 60)
    first.confirm()
    with pytest.raises(errors.LeaseLost):
        Lease.acquire(record.id, 60)
    first.release()
    assert Lease.acquire(record.id, 60).token == first.token + 1


def released(record: Volume) -> None:
    lease = Lease.acquire(record.id, 60)
    lease.release()
    assert lease.reload().expires_at <= base.now()


def revoked(record: Volume) -> None:
    Revocations().add(record.id, 4_000_000_000)
    assert Revocations().contains(record.id)


def listed(record: Volume) -> None:
    assert record.id in {found.id for found in base.every(Volume, 'p')}
    assert record.id in {found.id for found in base.page(Volume, 'p', limit=1000)}
    assert next(Volume.batch_get([('p', record.id)])).status == 'available'


OPERATIONS: list[Callable[[Volume], None]] = [
    created,
    changed,
    counted,
    created_in_a_transaction,
    counted_in_a_transaction,
    deleted_in_a_transaction,
    removed,
    leased,
    released,
    revoked,
    listed,
]


@pytest.mark.parametrize(
    ('fault', 'times'), [*((fault, 1) for fault in (*DONE, *NOT_DONE)), ('closed', 2), ('throttled', 2)]
)
@pytest.mark.parametrize('operation', OPERATIONS, ids=lambda operation: operation.__name__)
def test_an_operation_is_done_once(operation: Callable[[Volume], None], fault: str, times: int, network: Flaky) -> None:
    """At each of the operation's requests in turn, until the fault comes after the last of them."""
    for before in itertools.count():
        record = volume()
        network.faults, network.seen = ['none'] * before + [fault] * times, []
        operation(record)
        if network.faults:
            assert before > 0
            break
        network.faults = []


def test_what_the_sdk_gives_up_is_looked_up_once_more(network: Flaky) -> None:
    record = volume()
    network.faults = ['closed'] * connection.ATTEMPTS
    changed(record)
    assert network.seen[-1] == 'none'


@pytest.mark.parametrize('fault', NOT_DONE)
def test_what_never_arrived_is_an_error_that_says_so(fault: str, network: Flaky) -> None:
    record = volume()
    network.faults = [fault] * connection.ATTEMPTS
    with pytest.raises(errors.ServiceUnavailable) as caught:
        base.update(record, [Volume.status.set('error')])
    assert caught.value.is_transient
    network.faults = []
    assert record.reload().status == 'available'


@pytest.mark.parametrize('fault', [*DONE, *NOT_DONE])
def test_a_transaction_that_the_sdk_gives_up_may_be_done(fault: str, network: Flaky) -> None:
    record = volume()
    network.faults = [fault] * connection.ATTEMPTS
    with pytest.raises(errors.OutcomeUnknown):
        counted_in_a_transaction(record)
    network.faults = []
    assert record.reload().snapshot_count == int(fault in DONE)


def test_a_permanent_refusal_is_not_repeated(network: Flaky) -> None:
    record = volume()
    network.seen.clear()
    with pytest.raises(errors.AwsRefused) as caught:
        base.update(record, [Volume.progress['x'].set(1)])
    assert caught.value.facts['code'] == 'ValidationException'
    assert network.seen == ['none']


def test_the_engine_refuses_what_is_too_large(network: Flaky, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded, 'fit_actions', lambda *_: None)
    record = volume()
    with pytest.raises(errors.RecordTooLarge):
        base.update(record, [Volume.provider_location.set('x' * 410_000)])
    transaction = base.Transaction()
    transaction.update(record, [Volume.provider_location.set('x' * 410_000)], Volume.id.exists(), lost)
    with pytest.raises(errors.RecordTooLarge):
        transaction.commit()
    monkeypatch.setattr(bounded, 'fit_record', lambda *_: None)
    with pytest.raises(errors.RecordTooLarge):
        base.put(Volume('p', 'i' * 2000, created_at=base.now(), user_id='u', size=1, status='available'))


@pytest.mark.parametrize('kind', models.TABLES, ids=lambda kind: kind.__name__)
def test_the_engine_takes_every_change_of_a_full_record_and_its_end(kind: type[base.Record], network: Flaky) -> None:
    """By the engine's own count: what a local index repeats of an item counts, too."""
    if not kind.exists():
        kind.create_table(billing_mode='PAY_PER_REQUEST')
    test_writes.changed_and_ended(test_writes.full(kind))


def test_the_clients_are_the_sdk_s_own(network: Flaky) -> None:
    """No stub answers in its place."""
    client: Any = connection.connection().client
    assert client.meta.endpoint_url == network.url
    assert client._make_api_call.__self__ is client
    assert boto3.client('dynamodb', region_name=REGION, endpoint_url=network.url).list_tables()['TableNames']
