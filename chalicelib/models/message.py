"""User messages: why an operation failed, for the user who requested it."""

from __future__ import annotations

from pynamodb.attributes import NumberAttribute, UnicodeAttribute

from chalicelib import errors
from chalicelib.models import base


class Message(base.Record):
    """Kept 30 days (Cinder's message_ttl), then removed by the table's TTL."""

    Meta = base.meta('messages', ttl_attribute='expires')
    resource = 'message'
    not_found = errors.MessageNotFound

    by_created_at = base.ByCreatedAt()

    request_id = UnicodeAttribute()
    resource_type = UnicodeAttribute()
    resource_uuid = UnicodeAttribute(null=True)
    #: Cinder's three-digit codes (rules/messages.py) and the text shown.
    action_id = UnicodeAttribute()
    detail_id = UnicodeAttribute()
    user_message = UnicodeAttribute()
    #: The whole error, and the scheduler's reason for each pool: for administrators only.
    explanation = UnicodeAttribute(null=True)
    guaranteed_until = UnicodeAttribute()
    #: Seconds since the epoch.
    expires = NumberAttribute()
