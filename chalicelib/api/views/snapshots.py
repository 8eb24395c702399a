"""The views of a snapshot."""

from __future__ import annotations

from chalicelib.api.view import View, attribute

ATTRIBUTES = 'volume_extension:extended_snapshot_attributes'

#: The view of the short list.
BRIEF = View(
    attribute('id'),
    attribute('created_at'),
    attribute('updated_at'),
    attribute('name'),
    attribute('description'),
    attribute('volume_id'),
    attribute('status'),
    attribute('size', 'volume_size'),
    attribute('metadata'),
)

#: The view of create and update.
SNAPSHOT = BRIEF.and_(
    attribute('group_snapshot_id', since='3.14'),
    attribute('user_id', since='3.41'),
    attribute('consumes_quota', since='3.65'),
)

#: The view of show and the detailed list.
DETAIL = SNAPSHOT.and_(
    attribute('os-extended-snapshot-attributes:project_id', 'project_id', policy=ATTRIBUTES),
    attribute('os-extended-snapshot-attributes:progress', 'progress', policy=ATTRIBUTES),
)
