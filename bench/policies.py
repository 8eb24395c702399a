"""Cost of policy overrides: of the first request of a process, and of one check."""

from __future__ import annotations

import dataclasses
import json
import statistics
import sys
import time
from collections.abc import Iterator

from bench import coldstart
from chalicelib.context import Context
from chalicelib.identity.local import local_document
from chalicelib.rules.policies import ANY_AUTHENTICATED, POLICIES, allowed
from chalicelib.rules.policy_overrides import CHECKS, Overrides, document, encoded
from infra.policy_file import MAX_BYTES
from infra.render import ROOT

#: Overrides of an operator, and of one who changes every rule of Cinder.
FEW = {
    'context_is_admin': 'role:admin or role:cinder:reader-admin',
    'strict_admin_api': 'not role:cinder:reader-admin and rule:admin_api',
    'volume:delete': 'rule:strict_admin_api or (user_id:%(user_id)s and project_id:%(project_id)s)',
    'volume:get_all': 'role:reader',
}
ALL = {
    rule: f'{CHECKS[predicate]} or role:operator' for rule, predicate in POLICIES.items() if rule != ANY_AUTHENTICATED
}

#: The SSM parameter with the overrides.
PARAMETER = '/bench/policy-overrides'

#: The first request of a process has no overrides, the second and the third have them.
_SCRIPT = """
import io, json, os, sys, time
path, event, documents, parameter = json.loads(sys.argv[1])
sys.path.insert(0, path)

class Raw(io.BytesIO):
    def stream(self, *_):
        yield self.read()

def send(self, request):
    value = next((text for name, text in documents.items() if name.encode() in (request.body or b'')), '')
    answer = {'Items': [], 'Count': 0, 'ScannedCount': 0, 'Parameter': {'Value': value}}
    return AWSResponse(request.url, 200, {}, Raw(json.dumps(answer).encode()))

def seconds():
    began = time.process_time()
    assert app.app(event, None)['statusCode'] == 200
    return time.process_time() - began

import app
from botocore.awsrequest import AWSResponse
from botocore.httpsession import URLLib3Session
from chalicelib import config
URLLib3Session.send = send
seconds()
assert 'chalicelib.rules.policy_overrides' not in sys.modules
os.environ['POLICY_OVERRIDES'] = parameter
config.settings.cache_clear()
first, second = seconds(), seconds()
print(json.dumps([first - second]))
"""

#: Checks of each rule that are measured; the median counts.
CHECKED = 200


def run() -> list[tuple[str, str]]:
    """Return (measurement, figure) rows."""
    return list(_rows())


def _rows() -> Iterator[tuple[str, str]]:
    for name, rules in (('4 overrides', FEW), (f'{len(ALL)} overrides', ALL)):
        text = encoded(rules, MAX_BYTES)
        cost = f'{_first_request(text):.1f} ms'
        yield f'{name} ({len(text)} bytes): CPU of the first request, imports and GetParameter included', cost
        yield f'parse {name}, and the first check of each rule', f'{_first_checks(text):.2f} ms'
        yield f'one check with {name}: median, slowest rule', '{:.4f} ms, {:.4f} ms'.format(*_checks(text))


def _first_request(text: str) -> float:
    """Return milliseconds of CPU that the first request with overrides takes more than the next: the median."""
    identity = json.dumps(local_document())
    documents = {coldstart.ENVIRONMENT['IDENTITY_SECRET']: identity, PARAMETER: text}
    event = coldstart.event('GET', '/v3/volumes', None, identity)
    answers = coldstart._fresh('api', sys.executable, _SCRIPT, [str(ROOT), event, documents, PARAMETER])
    return float(statistics.median(answer[0] for answer in answers)) * 1000


def _caller(text: str) -> Context:
    overrides = Overrides(document(text))
    caller = Context(user_id='u', project_id='p', roles=frozenset(('member', 'reader')), overrides=overrides)
    return dataclasses.replace(caller, admin=overrides.is_admin(caller))


def _first_checks(text: str) -> float:
    """Return milliseconds until each rule was checked once."""
    began = time.perf_counter()
    caller = _caller(text)
    for rule in POLICIES:
        allowed(caller, rule)
    return (time.perf_counter() - began) * 1000


def _checks(text: str) -> tuple[float, float]:
    """Return milliseconds of one check: the median of all rules, and that of the slowest."""
    caller = _caller(text)
    medians = []
    for rule in POLICIES:
        times = []
        for _ in range(CHECKED):
            began = time.perf_counter()
            allowed(caller, rule)
            times.append(time.perf_counter() - began)
        medians.append(statistics.median(times) * 1000)
    return statistics.median(medians), max(medians)
