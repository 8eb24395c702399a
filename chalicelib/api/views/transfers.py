"""The views of a transfer. An accepted one is deleted, so the accepting project is never shown."""

from __future__ import annotations

from typing import Any

from chalicelib.api.view import View, attribute, field, links, nothing

#: Both APIs link to the older one, as in Cinder.
_LINKS = links('os-volume-transfer')

#: The view of the short list and accept.
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
    """Return the answer to create, the only one with the key."""
    return {**shown, 'auth_key': auth_key}
