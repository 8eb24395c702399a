"""What Nova must know of its volumes, and what only Nova may do with them (CVE-2023-2088).

Deleting the attachment of a running server leaves a path on the server's host; once the backend gives the same LUN to
another volume, the server reads another tenant's data. So Nova is queried before an attachment is deleted, and only a
service (a token with the role ``service`` beside the user's) may delete one that a server uses. Without ``NOVA_URL`` no
server can be Nova's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from chalicelib import errors
from chalicelib.context import Context
from chalicelib.models import Attachment, Volume
from chalicelib.operations import cloud


def servers_of(volume: Volume) -> list[str]:
    """Return the servers that have the volume attached, which an event to Nova must name; none without a Nova."""
    if cloud.compute() is None:
        return []
    return sorted({link['instance_id'] for link in volume.attachments.values() if link.get('instance_id')})


def event(name: str, servers: Sequence[str] = ()) -> dict[str, Any]:
    """Return the event for Nova that a workflow sends at its end; without servers it sends none, and has no name.

    ``told`` is the choice of executions that began before this release.
    """
    return {'event': name if servers else '', 'servers': list(servers), 'told': not servers}


def check_deletion(context: Context, attachment: Attachment) -> None:
    """Raise ConflictNovaUsingAttachment for an attachment that a server uses, unless a service makes the request.

    Fails closed: raises ServiceUnavailable when Nova gives no answer.
    """
    nova = cloud.compute()
    if nova is None or context.is_service_request:
        return
    if not attachment.instance_id or attachment.connection_info is None:
        return
    if nova.attachment_of(attachment.instance_id, attachment.volume_id) == attachment.id:
        raise errors.ConflictNovaUsingAttachment(instance_id=attachment.instance_id)


def check_paths(context: Context, volume: Volume, ids: Iterable[str] | None = None) -> None:
    """Call ``check_deletion`` for a volume's attachments (``ids``: only these) before their exports are ended."""
    if cloud.compute() is None or context.is_service_request:
        return
    wanted = [(volume.project_id, id) for id in volume.attachments if ids is None or id in ids]
    for attachment in Attachment.batch_get(wanted, consistent_read=True):
        check_deletion(context, attachment)
