"""What is shown of a transfer. An accepted one is gone, so nobody ever sees who has taken it."""

from __future__ import annotations

from typing import Any

from chalicelib.api.view import View, attribute, field, links, nothing

#: Both APIs link to the older one, as in Cinder.
_LINKS = links('os-volume-transfer')

#: What the short list and accept answer.
BRIEF = View(attribute('id'), attribute('volume_id'), attribute('name'), _LINKS)

DETAIL = View(
    attribute('id'),
    attribute('created_at'),
    attribute('name'),
    attribute('volume_id'),
    _LINKS,
    attribute('no_snapshots', since='3.55'),
    nothing('destination_project_id', since='3.57'),
    attribute('source_project_id', 'project_id', since='3.57'),
    field('accepted', lambda transfer, request: False, since='3.57'),
)


def with_key(shown: dict[str, Any], auth_key: str) -> dict[str, Any]:
    """What create answers: the one place where the key is told."""
    return {**shown, 'auth_key': auth_key}
