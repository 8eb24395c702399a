"""Lists: the requested page, and the link to the next one."""

from __future__ import annotations

import json
import urllib.parse
from collections.abc import Callable, Sequence
from typing import Any

from chalicelib.api.filters import NO_BOOLEAN, Filters, boolean
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
) -> dict[str, Any]:
    """Return a list's body: the items under ``name``, the link to the next page under ``links``, maybe the count.

    As in Cinder a full page has a next link, even if nothing follows. A page too big for one response is cut, and
    always has one; raises Invalid for lists without such links.
    """
    show = view.of(request)
    items = [show(record) for record in records]
    fitting = _fitting(items)
    cut = len(fitting) < len(items)
    if cut and links is None:
        raise Invalid(f'{len(items)} {name} are too many for one response: set limit to {len(fitting)} or less.')
    body: dict[str, Any] = {name: fitting}
    if links and fitting and (cut or len(items) >= limit(request)):
        body[links] = [{'rel': 'next', 'href': _next(request, path, records[len(fitting) - 1].id)}]
    if count is not None and with_count(request):
        body['count'] = count()
    return body


def _fitting(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return as many items as fit into one response; almost always all."""
    space = MAX_ITEMS
    for index, item in enumerate(items):
        text = json.dumps(item)
        # The response is a string in the JSON that Lambda returns, so quotes and backslashes are escaped again.
        space -= len(text) + text.count('"') + text.count('\\')
        if space < 0:
            return items[: max(1, index)]
    return items


def _next(request: Request, path: str, marker: str) -> str:
    """Return the URL for the items after the last one. Cinder repeats the offset, and so skips items on every page."""
    kept = sorted((key, text) for key, text in request.query.items() if key not in ('marker', 'offset'))
    return f'{request.url(path)}?{urllib.parse.urlencode([*kept, ("marker", marker)])}'
