"""Lists: the requested page, and the link to the next one."""

from __future__ import annotations

import json
import urllib.parse
from collections.abc import Callable, Sequence
from typing import Any

from chalice.app import Response

from chalicelib.api.filters import NO_BOOLEAN, Filters, boolean
from chalicelib.api.reply import reply_text
from chalicelib.api.request import Request
from chalicelib.api.view import View
from chalicelib.config import settings
from chalicelib.errors import Invalid, InvalidInput
from chalicelib.models import base
from chalicelib.operations.common import NEWEST_FIRST, ListQuery
from chalicelib.rules.microversions import Version

#: Query parameters of the page.
PAGING = ('limit', 'marker', 'offset', 'sort', 'sort_key', 'sort_dir')

#: Columns of Cinder's API with other names in records.
ATTRIBUTES = {'display_name': 'name', 'display_description': 'description', 'use_quota': 'consumes_quota'}

WITH_COUNT: Version = (3, 45)

MAX_OFFSET = 0x7FFFFFFF

#: Bytes of a list's items in one response: Lambda returns at most 6 MB.
MAX_ITEMS = 5 * 1024 * 1024


def query(request: Request, filters: Filters) -> ListQuery:
    """Return page, order and filters of the request. Raises Invalid, InvalidInput, InvalidParameterValue."""
    sent = {name: text for name, text in request.query.items() if name not in PAGING and name != 'all_tenants'}
    if request.version >= WITH_COUNT and filters.counted:
        sent.pop('with_count', None)
    everywhere = all_tenants(request, filters.no_boolean)
    values = filters.read(request, sent)
    if not everywhere:
        # As in Cinder: only with all_tenants may an administrator choose the project.
        values.pop('project_id', None)
    return ListQuery(
        limit=limit(request),
        marker=request.query.get('marker'),
        offset=offset(request),
        sort=_sort(request, filters),
        filters=values,
        all_tenants=everywhere,
    )


def limit(request: Request) -> int:
    """Return the page's size: the requested one, at most the operator's maximum."""
    most = settings().osapi_max_limit
    sent = request.query.get('limit', str(most))
    return min(most, _number(sent, 'limit param must be an integer', 'limit param must be positive'))


def offset(request: Request) -> int:
    """Return how many items to skip before the page."""
    number = _number(request.query.get('offset', '0'), 'offset must be an integer', 'offset must be >= 0')
    if number > MAX_OFFSET:
        raise Invalid(f'offset must be <= {MAX_OFFSET}')
    return number


def _number(text: str, no_number: str, negative: str) -> int:
    try:
        number = int(text)
    except ValueError:
        raise Invalid(no_number) from None
    if number < 0:
        raise Invalid(negative)
    return number


def all_tenants(request: Request, refusal: str = NO_BOOLEAN) -> bool:
    """Whether an administrator requests the records of every project; ignored for others."""
    text = request.query.get('all_tenants')
    return text is not None and request.context.is_admin and boolean('all_tenants', text, refusal)


def with_count(request: Request) -> bool:
    """Whether the total count is requested, which is possible from 3.45."""
    text = request.query.get('with_count')
    return text is not None and request.version >= WITH_COUNT and boolean('with_count', text)


def _sort(request: Request, filters: Filters) -> tuple[tuple[str, str], ...]:
    sent = request.query
    if 'sort' not in sent:
        pairs = [(sent.get('sort_key', 'created_at').strip(), sent.get('sort_dir', 'desc').strip())]
    elif 'sort_key' in sent or 'sort_dir' in sent:
        raise Invalid(
            "The 'sort_key' and 'sort_dir' parameters are deprecated and cannot be used with the 'sort' parameter."
        )
    else:
        words = [term.partition(':') for term in sent['sort'].strip().split(',')]
        pairs = [(key.strip(), direction.strip() or 'desc') for key, _, direction in words]
    if any(direction not in ('asc', 'desc') for _, direction in pairs):
        raise InvalidInput(reason="Unknown sort direction, must be 'desc' or 'asc'.")
    if pairs == [('created_at', 'desc')]:
        return NEWEST_FIRST
    chosen = tuple((ATTRIBUTES.get(key, key), direction) for key, direction in pairs)
    unnamed = request.version < filters.named and 'name' in dict(pairs)
    if unnamed or not all(base.has_order(filters.kind, attribute) for attribute, _ in chosen):
        raise InvalidInput(reason='Invalid sort key')
    return chosen


def page(
    request: Request,
    name: str,
    view: View,
    records: Sequence[Any],
    *,
    links: str | None,
    path: str,
    count: Callable[[], int] | None = None,
) -> Response:
    """Return a list: the items under ``name``, the link to the next page under ``links``, maybe the count.

    As in Cinder a full page has a next link, even if nothing follows. A page too big for one response is cut, and
    always has one; raises Invalid for lists without such links.
    """
    show = view.of(request)
    text, fitting = _written([show(record) for record in records])
    cut = fitting < len(records)
    if cut and links is None:
        raise Invalid(f'{len(records)} {name} are too many for one response: set limit to {fitting} or less.')
    rest: dict[str, Any] = {}
    if links and records and (cut or len(records) >= limit(request)):
        rest[links] = [{'rel': 'next', 'href': _next(request, path, records[fitting - 1].id)}]
    if count is not None and with_count(request):
        rest['count'] = count()
    return reply_text(200, f'{{{json.dumps(name)}: {text}{", " if rest else ""}{json.dumps(rest)[1:]}')


def _written(items: list[dict[str, Any]]) -> tuple[str, int]:
    """Return the JSON of as many items as fit into one response, almost always all, and their number."""
    text = json.dumps(items)
    if 2 * len(text) <= MAX_ITEMS:
        return text, len(items)
    fitting = _fitting(items)
    return (text if fitting == len(items) else json.dumps(items[:fitting])), fitting


def _fitting(items: list[dict[str, Any]]) -> int:
    """Return how many items fit into one response."""
    space = MAX_ITEMS
    for index, item in enumerate(items):
        text = json.dumps(item)
        # The response is a string in the JSON that Lambda returns, so quotes and backslashes are escaped again.
        space -= len(text) + text.count('"') + text.count('\\')
        if space < 0:
            return max(1, index)
    return len(items)


def _next(request: Request, path: str, marker: str) -> str:
    """Return the URL for the items after the last one. Cinder repeats the offset, and so skips items on every page."""
    kept = sorted((key, text) for key, text in request.query.items() if key not in ('marker', 'offset'))
    return f'{request.url(path)}?{urllib.parse.urlencode([*kept, ("marker", marker)])}'
