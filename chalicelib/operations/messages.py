"""User messages: why an operation failed, for all users who may see the resource."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Mapping

from chalicelib import errors
from chalicelib.context import Context
from chalicelib.models import Message, base
from chalicelib.operations import common
from chalicelib.rules.messages import ACTION_TEXTS, DETAIL_BY_ERROR, DETAIL_TEXTS, RESOURCE_TYPES, TTL, Action, Detail
from chalicelib.rules.sentences import for_users

logger = logging.getLogger(__name__)

#: Namespace of message ids: the same failure of the same request is one message, however often it is reported.
NAMESPACE = uuid.UUID('0f4d3a0e-6b51-5c0c-9a38-2d1f1c6f0a11')

#: Longest cause that is shown.
LONGEST_CAUSE = 900


def create(record: base.Record, request_id: str, action: str, detail: str, *, cause: str = '', error: str = '') -> None:
    """Write a user message of what failed. Repeating it changes nothing but the cause.

    ``action`` and ``detail``: codes of rules/messages.py. ``error``: name of the class that was raised, and ``cause``
    its whole text: users read the sentence of the class (rules/sentences.py), administrators and the log both. Some
    classes have a detail of their own (Cinder's mapping). Without an ``error`` users read the cause as it is.
    """
    detail = DETAIL_BY_ERROR.get(error, detail)
    shown = for_users(error, cause) if error else cause
    text = f'{ACTION_TEXTS[Action(action)]}:{DETAIL_TEXTS[Detail(detail)]}'
    whole = _whole(error, cause) if shown != cause else ''
    logger.warning('%s %s: %s %s', record.resource, record.id, text, whole or cause)
    story = (getattr(record, 'operation', None) or {}).get('explanation')
    message = Message(
        record.project_id,
        str(uuid.uuid5(NAMESPACE, f'{request_id}/{action}/{detail}/{record.id}')),
        created_at=base.now(),
        request_id=request_id,
        resource_type=RESOURCE_TYPES.get(record.resource, record.resource.upper()),
        resource_uuid=record.id,
        action_id=str(action),
        detail_id=str(detail),
        user_message=f'{text} {shown[:LONGEST_CAUSE]}' if shown else text,
        explanation='\n'.join(filter(None, (whole, story))) or None,
        guaranteed_until=base.after(TTL),
        expires=int(time.time()) + TTL,
    )
    base.put(message)


def _whole(error: str, cause: str) -> str:
    """An error for administrators and the log. An unforeseen one is only named: its text may quote a request."""
    return f'{error}: {cause}' if hasattr(errors, error) else error


def text_for(context: Context, message: Message) -> str:
    """Return the text that the caller may see; administrators also see the whole error and the scheduler's reasons."""
    explanation = message.explanation if context.is_admin else None
    return f'{message.user_message}\n{explanation}' if explanation else message.user_message


def event_id(message: Message) -> str:
    """Return Cinder's name of the event: VOLUME_<resource type>_<action>_<detail>."""
    return f'VOLUME_{message.resource_type}_{message.action_id}_{message.detail_id}'


#: Filters that are not attributes: every message is an error, as in Cinder.
MATCHERS: Mapping[str, common.Matcher] = {
    'event_id': lambda message, value: event_id(message) == value,
    'message_level': lambda message, value: str(value).upper() == 'ERROR',
}


def get(context: Context, id: str) -> Message:
    """Return one of the project's messages; administrators also read those of other projects.

    Raises MessageNotFound. Messages have no index by id, which each write would pay for: an administrator's request for
    another project's message reads the table.
    """
    try:
        return common.find(context, Message, id)
    except errors.MessageNotFound:
        if not context.is_admin:
            raise
    for message in Message.scan(Message.id == id, consistent_read=True):
        return message
    raise errors.MessageNotFound(id=id)


def list_(context: Context, query: common.ListQuery) -> tuple[list[Message], bool]:
    """Return one page of the project's messages, and whether more follow."""
    return common.list_records(context, Message, query, MATCHERS)


def delete(context: Context, id: str) -> None:
    """Forget a message; raises MessageNotFound."""
    message = get(context, id)
    with base.Transaction() as transaction:
        transaction.delete(message, Message.id.exists(), lambda: errors.MessageNotFound(id=id))
