"""The views of an attachment."""

from __future__ import annotations

from typing import Any

from chalicelib.api.request import Request
from chalicelib.api.view import View, attribute, field
from chalicelib.models import Attachment
from chalicelib.operations import attachments
from chalicelib.rules.policies import allowed

#: Only callers that may connect an attachment see its secrets; Cinder shows them to every role of the project.
CONNECTING = 'volume:attachment_update'


def _connection_info(attachment: Attachment, request: Request) -> dict[str, Any] | None:
    if attachment.connection_info is None:
        return None
    if not allowed(request.context, CONNECTING, find=lambda: attachment):
        return dict(attachment.connection_info)
    return attachments.connection_info(attachment)


#: The view of the short list.
BRIEF = View(
    attribute('id'),
    attribute('status', 'attach_status'),
    attribute('instance', 'instance_id'),
    attribute('volume_id'),
)

#: Unknown times are empty texts here, not null.
_TIMES = (
    field('attached_at', lambda attachment, request: attachment.attached_at or ''),
    field('detached_at', lambda attachment, request: attachment.detached_at or ''),
    attribute('attach_mode'),
)

#: The view of show and the detailed list.
DETAIL = BRIEF.and_(*_TIMES, field('connection_info', _connection_info))

#: The view of create and update: the connection is empty until there is a connector.
CONNECTED = BRIEF.and_(
    *_TIMES, field('connection_info', lambda attachment, request: attachments.connection_info(attachment))
)
