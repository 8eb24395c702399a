"""User messages."""

from __future__ import annotations

import pytest

from chalicelib import errors
from chalicelib.models import Message
from chalicelib.operations import messages
from chalicelib.rules.messages import ACTION_TEXTS, DETAIL_BY_ERROR, DETAIL_TEXTS, Action, Detail
from tests.factories import context, query, stored_snapshot, stored_volume

CALLER = context()


def test_a_message_as_cinder_words_it(tables: None) -> None:
    volume = stored_volume()
    messages.create(volume, 'req-1', Action.SCHEDULE_ALLOCATE_VOLUME, Detail.NO_BACKEND_AVAILABLE, cause='No space.')
    [message], _ = messages.list_(CALLER, query())
    assert message.user_message == ('schedule allocate volume:Could not find any available weighted backend. No space.')
    assert messages.event_id(message) == 'VOLUME_VOLUME_001_003'
    assert (message.resource_uuid, message.request_id) == (volume.id, 'req-1')
    assert message.guaranteed_until > message.created_at


def test_codes_may_be_given_as_text(tables: None) -> None:
    messages.create(stored_volume(), 'req-1', '013', '020')
    [message] = Message.scan()
    assert message.user_message == 'create backup:Backup driver failed to create backup.'


def test_the_same_failure_is_told_once(tables: None) -> None:
    volume = stored_volume()
    for _ in range(3):
        messages.create(volume, 'req-1', Action.EXTEND_VOLUME, Detail.DRIVER_FAILED_EXTEND)
    messages.create(volume, 'req-2', Action.EXTEND_VOLUME, Detail.DRIVER_FAILED_EXTEND)
    assert len(list(Message.scan())) == 2


def test_an_error_may_stand_for_a_detail(tables: None) -> None:
    snapshot = stored_snapshot(stored_volume())
    messages.create(snapshot, 'r', Action.SNAPSHOT_DELETE, Detail.SNAPSHOT_DELETE_ERROR, error='SnapshotIsBusy')
    [message] = Message.scan()
    assert messages.event_id(message) == 'VOLUME_VOLUME_SNAPSHOT_010_015'


def test_a_long_cause_is_cut(tables: None) -> None:
    messages.create(stored_volume(), 'r', Action.EXTEND_VOLUME, Detail.UNKNOWN_ERROR, cause='x' * 10_000)
    [message] = Message.scan()
    assert len(message.user_message) < 1000


def test_get_and_delete_own_messages_only(tables: None) -> None:
    messages.create(stored_volume(), 'r', Action.EXTEND_VOLUME, Detail.UNKNOWN_ERROR)
    [message] = Message.scan()
    assert messages.get(CALLER, message.id).id == message.id
    for call in (messages.get, messages.delete):
        with pytest.raises(errors.MessageNotFound):
            call(context(project_id='other'), message.id)
    messages.delete(CALLER, message.id)
    for caller in (CALLER, context('admin', 'other')):
        with pytest.raises(errors.MessageNotFound):
            messages.get(caller, message.id)


def test_administrators_reach_messages_of_other_projects(tables: None) -> None:
    """Cinder's query restricts users to their project, not administrators."""
    messages.create(stored_volume(), 'r', Action.EXTEND_VOLUME, Detail.UNKNOWN_ERROR)
    [message] = Message.scan()
    assert messages.get(context('admin', 'other'), message.id).id == message.id
    messages.delete(context('admin', 'other'), message.id)
    assert list(Message.scan()) == []


def test_list_by_event(tables: None) -> None:
    messages.create(stored_volume(), 'r', Action.EXTEND_VOLUME, Detail.UNKNOWN_ERROR)
    messages.create(stored_volume(), 'r', Action.EXTEND_VOLUME, Detail.QUOTA_EXCEED)
    [found], _ = messages.list_(CALLER, query(filters={'event_id': 'VOLUME_VOLUME_007_006'}))
    assert found.detail_id == '006'
    with pytest.raises(errors.MessageNotFound):
        messages.list_(context('admin'), query(marker='nothing'))


def test_every_code_has_a_text() -> None:
    assert set(ACTION_TEXTS) == set(Action)
    assert set(DETAIL_TEXTS) == set(Detail)


def test_mapped_errors_exist() -> None:
    assert all(issubclass(getattr(errors, name), errors.CinderlessError) for name in DETAIL_BY_ERROR)
