"""Dead letters: messages that the work queue gave up, and events at which a scheduled function failed.

SQS cannot list a queue: a list receives messages, and each stays hidden for some seconds. The reconciler restarts or
ends the work of a dead letter, so moving one back repeats nothing: an execution is named after its request.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator, Mapping
from typing import Any

from chalicelib import aws, time_left
from chalicelib.context import Context

#: Messages that a list shows at most, and seconds for which it hides them.
SHOWN, HIDDEN = 50, 2

#: Messages that one request moves at most, and seconds for which a message is hidden while it is moved.
MOVED, MOVING = 500, 60

#: Seconds of the request's time that must be left before the next ten are moved.
RESERVE = 8.0

#: Fields of a message of work that are shown, and their longest text.
FIELDS, LONGEST = ('action', 'resource', 'id', 'project_id', 'request_id'), 255


def list_(context: Context) -> dict[str, Any]:
    """Return {'dead_letters': [...], 'count'}: at most SHOWN messages, and about how many there are."""
    found: dict[str, dict[str, Any]] = {}
    for letter in _received(HIDDEN):
        found[letter['MessageId']] = _view(letter)
        if len(found) == SHOWN:
            break
    ordered = sorted(found.values(), key=lambda each: (each['sent_at'], each['message_id']))
    return {'dead_letters': ordered, 'count': max(len(ordered), aws.dead_letter_count())}


def redrive(context: Context) -> dict[str, int]:
    """Send dead letters to the work queue, then remove them. Return {'redriven'}: their number, at most MOVED.

    A message that is sent and not removed is sent again by the next redrive, which starts nothing twice.
    """
    moved = 0
    for letter in _received(MOVING):
        aws.move_dead_letter(letter['Body'], letter['ReceiptHandle'])
        moved += 1
        if moved == MOVED:
            break
    return {'redriven': moved}


def _received(hidden: int) -> Iterator[dict[str, Any]]:
    """Receive until the queue has no more visible messages, or the request's time is nearly over."""
    while time_left.at_most(time_left.GATEWAY) > RESERVE:
        batch = aws.receive_dead_letters(hidden)
        if not batch:
            return
        yield from batch


def _sent_at(letter: Mapping[str, Any]) -> str:
    moment = datetime.datetime.fromtimestamp(int(letter['Attributes']['SentTimestamp']) / 1000, datetime.UTC)
    return moment.strftime('%Y-%m-%dT%H:%M:%S.%f')


def _view(letter: Mapping[str, Any]) -> dict[str, Any]:
    """A message as it is shown. An event has neither a request nor a resource."""
    try:
        body = json.loads(letter['Body'])
    except (ValueError, RecursionError):
        body = {}
    work = body if isinstance(body, dict) and 'action' in body else {}
    return {
        'message_id': letter['MessageId'],
        'sent_at': _sent_at(letter),
        'kind': 'work' if work else 'event',
        **{name: str(work[name])[:LONGEST] if name in work else None for name in FIELDS},
    }
