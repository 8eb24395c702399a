"""Common parts of all Describe calls: ids, filters, paging."""

from __future__ import annotations

import base64
import fnmatch
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from local.ebs.cloud import Refused

T = TypeVar('T')

#: Ids that one call may name, and rows of one page.
MAX_IDS, MAX_PAGE, MIN_PAGE = 500, 1000, 5


def named(there: Mapping[str, T], parameters: Mapping[str, Any], kind: str) -> list[T]:
    """The objects that a request names, or all. Raises Refused for one that is not there."""
    ids = parameters.get(f'{kind}Ids')
    if not ids:
        return list(there.values())
    if len(ids) > MAX_IDS:
        raise Refused('InvalidParameterValue', f'At most {MAX_IDS} ids can be named.')
    for id in ids:
        if id not in there:
            raise Refused(f'Invalid{kind}.NotFound', f"The {kind.lower()} '{id}' does not exist.")
    return [there[id] for id in ids]


def matches(row: Mapping[str, Sequence[str]], tags: Mapping[str, str], parameters: Mapping[str, Any]) -> bool:
    """Whether a row passes every filter; a filter passes with any of its values, * and ? are wildcards."""
    return all(_matches(row, tags, one['Name'], one.get('Values', [])) for one in parameters.get('Filters', []))


def _matches(row: Mapping[str, Sequence[str]], tags: Mapping[str, str], name: str, wanted: Sequence[str]) -> bool:
    if name.startswith('tag:'):
        key = name.removeprefix('tag:')
        values: Sequence[str] = [tags[key]] if key in tags else []
    elif name == 'tag-key':
        values = list(tags)
    elif name in row:
        values = row[name]
    else:
        raise Refused('InvalidParameterValue', f"The filter '{name}' is invalid")
    return any(fnmatch.fnmatchcase(value, pattern) for value in values for pattern in wanted)


def page(rows: list[dict[str, Any]], parameters: Mapping[str, Any], name: str, ids: str) -> dict[str, Any]:
    """Cut one page out of the rows."""
    size = parameters.get('MaxResults')
    if size is not None and parameters.get(ids):
        raise Refused('InvalidParameterCombination', f'MaxResults cannot be given together with {ids}.')
    if size is not None and size < MIN_PAGE:
        raise Refused('InvalidParameterValue', f'Value ( {size} ) for parameter maxResults is invalid.')
    start, size = _start(parameters.get('NextToken')), min(size or MAX_PAGE, MAX_PAGE)
    more = {'NextToken': base64.b64encode(b'at %d' % (start + size)).decode()} if start + size < len(rows) else {}
    return {name: rows[start : start + size], **more}


def _start(token: str | None) -> int:
    if token is None:
        return 0
    try:
        return int(base64.b64decode(token).removeprefix(b'at '))
    except ValueError:
        raise Refused('InvalidParameterValue', f'The token {token!r} is invalid.') from None
