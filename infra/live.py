"""Whether a deployed stage answers, without credentials of OpenStack: part of ``cinderless doctor --stage``.

Read only: the health check, the versions of the API, the identity's discovery, and that a request without a token is
refused. The authentication reads the identity's secret, so a missing SecureString is found, too.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import urllib3

from infra.stage import Stage

#: Attempts at each request and seconds between them: a first request may meet a cold start or a new stage.
ATTEMPTS, PAUSE, TIMEOUT = 5, 3.0, 30


class Check(NamedTuple):
    """A request below the API's URL, the status that is expected, and a key of its JSON body ('' for any)."""

    path: str
    status: int
    key: str = ''
    method: str = 'GET'
    body: str = ''


#: A log-in with a user that does not exist: 401 shows that the identity's document could be read.
LOGIN = json.dumps(
    {
        'auth': {
            'identity': {
                'methods': ['password'],
                'password': {'user': {'name': 'smoke-test', 'domain': {'id': 'default'}, 'password': 'x'}},
            }
        }
    }
)

CHECKS = (
    Check('healthcheck', 200),
    Check('', 300, 'versions'),
    Check('v3', 200, 'versions'),
    Check('v3/volumes', 401),
)

#: Further checks of a stage with the built-in identity.
IDENTITY_CHECKS = (
    Check('identity/v3', 200, 'version'),
    Check('identity/v3/auth/tokens', 401, method='POST', body=LOGIN),
)


def address(stage: Stage, outputs: Mapping[str, str]) -> str:
    """Return the API's URL for clients; '' for a stack that has none."""
    return (stage.parameters.get('PublicEndpoint') or outputs.get('EndpointURL', '')).rstrip('/')


def checks_of(stage: Stage) -> tuple[Check, ...]:
    """Return the requests for a stage with its own identity, or with an external Keystone."""
    return CHECKS if stage.parameters.get('KeystoneUrl') else (*CHECKS, *IDENTITY_CHECKS)


def problems(url: str, checks: tuple[Check, ...], pause: float = PAUSE) -> Iterator[str]:
    """Return a line for each check that fails at every attempt."""
    for check in checks:
        problem = ''
        for attempt in range(ATTEMPTS):
            if attempt:
                time.sleep(pause)
            if not (problem := _problem(url, check)):
                break
        if problem:
            yield f'{check.method} {url}/{check.path}: {problem}'


def _problem(url: str, check: Check) -> str:
    headers = {'Content-Type': 'application/json', 'Accept': 'application/json'}
    try:
        answer = urllib3.request(
            check.method, f'{url}/{check.path}', body=check.body or None, headers=headers, timeout=TIMEOUT,
            retries=False, redirect=False,
        )  # fmt: skip
    except urllib3.exceptions.HTTPError as error:
        return f'no answer ({error})'
    if answer.status != check.status:
        return f'{answer.status}, expected {check.status}'
    if check.key and check.key not in _json(answer.data):
        return f'the body has no {check.key!r}'
    return ''


def _json(text: bytes) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return {}
