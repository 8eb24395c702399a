"""The states that send Nova an event about a volume of its servers. The change is complete: nothing is undone.

Payload of both: action, resource, project_id, id (of the volume), request_id, and ``compute``: {'event', 'servers'}.
"""

from __future__ import annotations

from chalicelib.models import Volume
from chalicelib.operations import cloud, messages
from chalicelib.rules.messages import Action, Detail
from chalicelib.tasks.work import Payload, failure

#: Event -> the user message when Nova could not receive it.
_MESSAGES = {
    'volume-extended': (Action.EXTEND_VOLUME, Detail.NOTIFY_COMPUTE_SERVICE_FAILED),
    'volume-reimaged': (Action.REIMAGE_VOLUME, Detail.REIMAGE_VOLUME_FAILED),
}


def notify_compute(payload: Payload) -> None:
    """Send the event to Nova, which may receive it twice."""
    nova, event = cloud.compute(), payload['compute']
    if nova is not None and event['servers']:
        nova.send_server_event(event['event'], event['servers'], payload['id'])


def fail_notify_compute(payload: Payload) -> None:
    """Write a user message that the servers have not received the event; the volume is as requested all the same."""
    action, detail = _MESSAGES[payload['compute']['event']]
    volume = Volume(payload['project_id'], payload['id'])
    error, reason = failure(payload)
    messages.create(volume, payload['request_id'], action, detail, cause=reason, error=error)
