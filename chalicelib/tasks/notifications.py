"""Events for other systems (metering, billing, audit), published to EventBridge as Cinder names them.

The workers send them after the client has its answer: no client waits for them, and none can fail its operation. They
may come twice (``message_id`` is the same then), late, or, when EventBridge is out of reach, not at all.
"""

from __future__ import annotations

import contextlib
import json
import logging
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

from chalicelib import aws
from chalicelib.config import settings
from chalicelib.models import Backup, Snapshot, Volume, base
from chalicelib.rules.notifications import FIELDS, FILLED_BY_USERS, NOTICES, Notice
from chalicelib.rules.states import REMOVED

logger = logging.getLogger(__name__)

KINDS: Mapping[str, type[base.StatefulRecord]] = {'volume': Volume, 'snapshot': Snapshot, 'backup': Backup}

#: Namespace of message ids: the same event of the same request has the same id, however often it is sent.
NAMESPACE = uuid.UUID('6a0c5a0e-51a5-5b7e-8a51-3f1d0a9f4b02')

#: Bytes of one event; EventBridge takes 256 KiB, its envelope included.
LONGEST = 200_000


@contextlib.contextmanager
def emit_start_and_end(task: str, payload: Mapping[str, Any]) -> Iterator[None]:
    """Publish what the task inside begins and, unless it fails, what it has ended."""
    notice = NOTICES.get(task) if settings().notification_bus else None
    before = _found(notice, payload) if notice and notice.needs_before else None
    if notice is None or (notice.needs_before and before is None):
        yield
        return
    if notice.start and before and before.owner == payload['request_id']:
        _publish(notice.start, before, payload)
    yield
    if notice.end and (not notice.action or notice.action == payload['action']):
        _emit_end(notice, before, payload)


def _found(notice: Notice, payload: Mapping[str, Any]) -> base.StatefulRecord | None:
    return KINDS[notice.resource].find_or_none(payload['project_id'], payload['id'])


def _emit_end(notice: Notice, before: base.StatefulRecord | None, payload: Mapping[str, Any]) -> None:
    after = _found(notice, payload)
    if notice.status == REMOVED:
        if after is None and before is not None:
            _publish(notice.end, before, payload)
    elif after is not None and notice.status in (None, after.status):
        _publish(notice.end, after, payload)


def _publish(event: str, record: base.StatefulRecord, payload: Mapping[str, Any]) -> None:
    try:
        aws.publish(settings().notification_bus, event, envelope(event, record, str(payload['request_id'])))
    except Exception:  # whatever it is, the work behind the event must continue
        logger.exception('%s of %s %s was not published', event, record.resource, record.id)


def envelope(event: str, record: base.StatefulRecord, request_id: str) -> str:
    """The event in the form of oslo.messaging's notifications, as JSON of at most LONGEST bytes."""
    facts = {name: getattr(record, attribute) for name, attribute in FIELDS[record.resource]}
    publisher = 'backup' if record.resource == 'backup' else 'volume'
    message = {
        'message_id': str(uuid.uuid5(NAMESPACE, f'{request_id}/{event}/{record.id}')),
        'publisher_id': f'{publisher}.{facts.get("host") or "-"}',
        'event_type': event,
        'priority': 'INFO',
        'timestamp': base.now(),
        '_context_request_id': request_id,
        'payload': facts,
    }
    text = json.dumps(message)
    if len(text.encode()) <= LONGEST:
        return text
    return json.dumps({**message, 'payload': {**facts, **{name: {} for name in FILLED_BY_USERS if name in facts}}})
