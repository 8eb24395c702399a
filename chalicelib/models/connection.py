"""One DynamoDB client for all tables of a process, and its answers read the short way.

PynamoDB makes a session and a client for each table, which a cold start pays for twelve times; here they are one, with
the session of every other client (its data files are megabytes of JSON). And botocore walks
every attribute of every item by its model, only to arrive at the JSON that DynamoDB sent: a third of the time of a
list. Records hold no binary attributes, the one kind for which that walk changes anything.
"""

from __future__ import annotations

import functools
import json
from typing import Any

from pynamodb.connection import Connection

from chalicelib import aws
from chalicelib.config import settings


class _Shared(Connection):
    """PynamoDB's connection over the process's session."""

    @property
    def session(self) -> Any:
        return aws.session()


@functools.cache
def connection() -> Connection:
    """The process's connection to DynamoDB."""
    shared = _Shared(region=settings().region)
    shared.client.meta.events.register('before-parse.dynamodb.*', _read_plainly)
    return shared


def _read_plainly(response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: Any) -> None:
    """Take a good answer's JSON as it is; leave errors to botocore, which knows their shapes."""
    if response_dict['status_code'] == 200:
        customized_response_dict.update(json.loads(response_dict['body']))
        response_dict['body'] = b'{}'
