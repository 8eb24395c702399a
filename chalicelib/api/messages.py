"""User messages (3.3): why something failed."""

from __future__ import annotations

from chalice.app import Response

from chalicelib import errors
from chalicelib.api.filters import RESOURCE_FILTERS, Filter, Filters, plain
from chalicelib.api.pagination import page, query
from chalicelib.api.request import Request
from chalicelib.api.resource import Resource
from chalicelib.api.standard_routes import add_delete, add_show
from chalicelib.api.view import View, attribute, field, links
from chalicelib.models import Message
from chalicelib.operations import messages as operations
from chalicelib.operations.common import ListQuery
from chalicelib.rules.microversions import Version

messages = Resource('messages', not_found=errors.MessageNotFound, find=operations.get)

#: From this version on lists can be paged, sorted and filtered.
PAGED: Version = (3, 5)

#: Cinder's only level.
LEVEL = 'ERROR'

_NAMES = RESOURCE_FILTERS['message']

FILTERS = Filters('message', Message, early=frozenset(_NAMES), known={name: Filter(plain) for name in _NAMES})

VIEW = View(
    attribute('id'),
    field('event_id', lambda message, request: operations.event_id(message)),
    field('user_message', lambda message, request: operations.text_for(request.context, message)),
    field('message_level', lambda message, request: LEVEL),
    attribute('created_at'),
    attribute('guaranteed_until'),
    attribute('request_id'),
    links('messages'),
    attribute('resource_type', when=lambda message: bool(message.resource_type)),
    attribute('resource_uuid', when=lambda message: bool(message.resource_uuid)),
)


@messages.get('', policy='message:get_all', since='3.3')
def index(request: Request) -> Response:
    paged = request.version >= PAGED
    records, _ = operations.list_(request.context, query(request, FILTERS) if paged else ListQuery())
    links_name = 'messages_links' if paged else None
    return page(request, 'messages', VIEW, records, links=links_name, path='messages')


add_show(messages, 'message', VIEW, operations.get, policy='message:get', since='3.3')
add_delete(messages, operations.delete, policy='message:delete', since='3.3', status=204)
