"""Each write is done once and reported as done, whatever happens to its answer; and it leaves capacity for the next."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from botocore import exceptions
from pynamodb.attributes import (
    Attribute,
    BooleanAttribute,
    JSONAttribute,
    MapAttribute,
    NumberAttribute,
    UnicodeSetAttribute,
)

from chalicelib import errors, models
from chalicelib.models import Volume, base
from chalicelib.models.connection import COLLISIONS
from chalicelib.rules import bounds
from tests.factories import context
from tests.small_dynamodb import SmallDynamoDB, refusal
from tests.unreliable import Unreliable, bare, errors_of_botocore, every_write

GONE = errors.VolumeNotFound(id='v')


def volume(**facts: Any) -> Volume:
    """A volume's record, stored."""
    known = {'created_at': base.now(), 'user_id': 'u', 'size': 1, 'status': 'available', **facts}
    made = Volume(context().project_id, 'v', **known)
    base.put(made, Volume.id.does_not_exist())
    return made


def begin(record: Volume) -> None:
    """A conditional write that its own effect forbids: the status it starts from is gone."""
    actions = [Volume.status.set('deleting'), Volume.snapshot_count.add(1), *base.touched(Volume)]
    base.update(record, actions, Volume.status == 'available')


def deleted() -> None:
    transaction = base.Transaction()
    transaction.delete(Volume(context().project_id, 'v'), Volume.id.exists(), lambda: GONE)
    transaction.commit()


def counted() -> None:
    transaction = base.Transaction()
    count = [Volume.snapshot_count.add(1)]
    transaction.update(Volume(context().project_id, 'v'), count, Volume.snapshot_count == 0, lambda: GONE)
    transaction.commit()


def test_a_change_whose_answer_is_lost_is_done_once(unreliable: Unreliable) -> None:
    unreliable.resent = every_write
    record = volume()
    begin(record)
    assert (record.status, record.snapshot_count, record.revision) == ('deleting', 1, 1)
    stored = record.reload()
    assert stored.attribute_values == record.attribute_values
    assert unreliable.calls == ['PutItem', 'GetItem', 'UpdateItem', 'GetItem', 'GetItem']


def test_a_counter_without_a_condition_counts_once(unreliable: Unreliable) -> None:
    record = volume()
    unreliable.resent = every_write
    base.update(record, [Volume.snapshot_count.add(1)])
    assert record.reload().snapshot_count == 1


@pytest.mark.parametrize('others', [0, 1, 2])
def test_other_writers_between_a_write_and_its_repetition_do_not_hide_it(unreliable: Unreliable, others: int) -> None:
    record = volume()

    def written() -> None:
        unreliable.resent = lambda *_: False
        for number in range(others):
            base.update(record, [Volume.reader_count.set(number), *base.touched(Volume)])

    unreliable.resent, unreliable.meanwhile = every_write, written
    begin(record)
    assert (record.snapshot_count, record.revision) == (1, 1 + others)


def test_a_lost_condition_is_still_a_lost_condition(unreliable: Unreliable) -> None:
    record = volume(status='in-use')
    unreliable.resent = every_write
    with pytest.raises(errors.StateChanged, match='in-use'):
        begin(record)
    deleted()
    with pytest.raises(errors.VolumeNotFound):
        begin(record)


def test_a_transaction_reports_the_record_whose_condition_failed(unreliable: Unreliable) -> None:
    record = volume()
    with pytest.raises(errors.StateChanged) as caught, base.Transaction() as transaction:
        transaction.update(record, [Volume.snapshot_count.add(1)], Volume.status == 'in-use')
    assert record.id in caught.value.message
    assert record.reload().snapshot_count == 0


def test_a_transaction_whose_answer_is_lost_is_done_once(unreliable: Unreliable) -> None:
    record = volume()
    unreliable.resent = every_write
    counted()
    assert record.reload().snapshot_count == 1
    deleted()


def test_a_transaction_in_progress_is_repeated_as_the_same_one(unreliable: Unreliable) -> None:
    """The SDK gave up while its first attempt was at work, which then finishes."""
    record = volume()
    unreliable.lost = lambda operation, _: operation == 'TransactWriteItems'
    tokens, send = [], unreliable.call

    def call(operation: str, request: dict[str, Any]) -> dict[str, Any]:
        tokens.append(request.get('ClientRequestToken'))
        try:
            return send(operation, request)
        except exceptions.EndpointConnectionError:
            unreliable.lost = lambda *_: False
            raise refusal('TransactionInProgressException', 'The transaction is in progress.') from None

    base.connection().client._make_api_call = call  # type: ignore[method-assign]
    counted()
    assert record.reload().snapshot_count == 1
    assert tokens[0] == tokens[1] is not None


def test_a_cancelled_transaction_is_repeated_as_another_one(unreliable: Unreliable) -> None:
    record, tokens, send = volume(), [], unreliable.call
    collision = {'CancellationReasons': [{'Code': 'TransactionConflict'}]}

    def call(operation: str, request: dict[str, Any]) -> dict[str, Any]:
        if operation == 'TransactWriteItems':
            tokens.append(request['ClientRequestToken'])
            if len(tokens) < COLLISIONS:
                raise refusal('TransactionCanceledException', 'Transaction cancelled', **collision)
        return send(operation, request)

    base.connection().client._make_api_call = call  # type: ignore[method-assign]
    counted()
    assert record.reload().snapshot_count == 1
    assert len(set(tokens)) == COLLISIONS == 30


def test_a_single_write_that_meets_a_transaction_is_repeated(unreliable: Unreliable) -> None:
    record = volume()
    unreliable.refusals = [refusal('TransactionConflictException', 'Transaction is ongoing for the item')] * 29
    begin(record)
    assert record.status == 'deleting'


def test_a_write_that_the_sdk_gave_up_is_looked_up(unreliable: Unreliable) -> None:
    record = volume()
    unreliable.lost = every_write
    begin(record)
    assert record.snapshot_count == 1


def test_a_write_that_may_still_arrive_is_said_to_be_unknown(unreliable: Unreliable) -> None:
    record = volume()
    unreliable.refusals = [bare(exceptions.ConnectionClosedError)]
    with pytest.raises(errors.OutcomeUnknown):
        begin(record)


@pytest.mark.parametrize('kind', models.TABLES, ids=lambda kind: kind.__name__)
def test_a_creation_without_an_answer_is_not_reported_as_a_record_that_is_missing(
    kind: type[base.Record], unreliable: Unreliable
) -> None:
    """The put never arrived, or arrives later: 404 would be the answer to another question."""
    unreliable.refusals = [bare(exceptions.ConnectionClosedError)]
    with pytest.raises(errors.OutcomeUnknown):
        base.put(full(kind))
    assert unreliable.calls == ['PutItem', 'GetItem']


def operations() -> dict[str, Callable[[Volume], Any]]:
    return {
        'find': lambda record: record.reload(),
        'find anywhere': lambda record: Volume.find_anywhere(record.id),
        'list': lambda record: list(base.every(Volume, record.project_id)),
        'list all': lambda record: list(base.every(Volume, None)),
        'page': lambda record: base.page(Volume, record.project_id, limit=2),
        'batch': lambda record: list(Volume.batch_get([(record.project_id, record.id)])),
        'count': lambda record: Volume.count(record.project_id),
        'overdue': lambda record: list(base.overdue(Volume, base.now())),
        'update': begin,
        'put': lambda record: base.put(Volume(record.project_id, 'w', **record.attribute_values)),
        'remove': base.remove,
        'transaction': lambda _: counted(),
    }


@pytest.mark.parametrize('name', operations())
def test_every_error_of_the_sdk_is_one_of_ours(name: str, unreliable: Unreliable) -> None:
    """Whatever the operation and the error: nothing that only the SDK knows comes out."""
    record = volume()
    for error in errors_of_botocore():
        unreliable.refusals = [error] * 2
        with pytest.raises(errors.CinderlessError) as caught:
            operations()[name](record)
        assert caught.value.code in (500, 503), error
        unreliable.refusals = []
        assert record.reload().status == 'available'


# What is too large for DynamoDB.


def full(kind: type[base.Record]) -> base.Record:
    """A record whose attributes are all at their bounds."""
    record = kind(context().project_id, 'i')
    for name, attribute in kind.get_attributes().items():
        if name not in ('project_id', 'id'):
            bound = bounds.of(kind.resource, name) or bounds.TEXT
            record.attribute_values[name] = _largest(attribute, bound)
    return record


def _largest(attribute: Attribute[Any], bound: bounds.Bound) -> Any:
    if isinstance(attribute, JSONAttribute):
        each = bound.each or bound.size
        texts: dict[str, str] = {}
        while (left := bound.size - bounds.size_of(texts) - len('"000": "", ')) > 0:
            texts[f'{len(texts):03}'] = 'x' * min(each, left)
        return texts
    if isinstance(attribute, MapAttribute):
        return {f'{number:04}': number for number in range(bound.size // 28)}
    if isinstance(attribute, UnicodeSetAttribute):
        return {f'{number:036}' for number in range(bound.size // 36)}
    if isinstance(attribute, BooleanAttribute | NumberAttribute):
        return 1
    return 'x' * bound.size


@pytest.mark.parametrize('kind', models.TABLES, ids=lambda kind: kind.__name__)
def test_a_full_record_takes_every_change_and_its_own_end(kind: type[base.Record], tables: SmallDynamoDB) -> None:
    changed_and_ended(full(kind))


def changed_and_ended(record: base.Record) -> None:
    kind: Any = type(record)
    base.put(record, kind.id.does_not_exist())
    base.update(record, [*base.touched(kind)])
    if isinstance(record, base.StatefulRecord):
        base.update(record, base.end_actions(record, 'error'))
    transaction = base.Transaction()
    transaction.update(record, [*base.touched(kind)], kind.id.exists(), lambda: GONE)
    transaction.commit()
    transaction = base.Transaction()
    transaction.delete(record, kind.id.exists(), lambda: GONE)
    transaction.commit()


def test_dynamodb_s_own_limit_is_no_outage(unreliable: Unreliable) -> None:
    record = volume()
    refusals = [
        ('ValidationException', 'Item size to update has exceeded the maximum allowed size'),
        ('ValidationException', 'Item size has exceeded the maximum allowed size'),
        ('ValidationException', 'Size of rangekey has exceeded the maximum size limit of 1024 bytes'),
    ]
    for code, message in refusals:
        unreliable.refusals = [refusal(code, message)]
        with pytest.raises(errors.RecordTooLarge) as caught:
            begin(record)
        assert caught.value.code == 413
    reasons = {'CancellationReasons': [{'Code': 'ValidationError', 'Message': refusals[0][1]}]}
    unreliable.refusals = [refusal('TransactionCanceledException', 'Transaction cancelled', **reasons)]
    with pytest.raises(errors.RecordTooLarge):
        counted()


def test_a_refusal_for_another_reason_is_permanent_and_no_outage(unreliable: Unreliable) -> None:
    record = volume()
    unreliable.refusals = [refusal('ValidationException', 'The document path is invalid')]
    with pytest.raises(errors.AwsRefused):
        begin(record)
    reasons = {'CancellationReasons': [{'Code': 'ItemCollectionSizeLimitExceeded', 'Message': 'Too many'}]}
    unreliable.refusals = [refusal('TransactionCanceledException', 'Transaction cancelled', **reasons)]
    with pytest.raises(errors.AwsRefused):
        counted()
