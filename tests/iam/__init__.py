"""IAM's decisions about the roles of the template, from an independent evaluator (simulate.mjs).

``make setup`` installs the packages of the evaluator, and of a validator of state machines (validate.mjs), into
``.tools/iam``. The evaluator is under the AGPL. It runs as a program of its own, in tests only, and is neither deployed
nor distributed.
"""

from __future__ import annotations

import atexit
import functools
import json
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from infra.quotas import Deployment
from infra.render import ROOT

TOOLS = ROOT / '.tools' / 'iam'

ACCOUNT, REGION, STACK = '123456789012', 'us-east-1', 'prod'

#: ``GetAtt Arn`` and ``Ref`` of the stack's key and bucket.
KEY = f'arn:aws:kms:{REGION}:{ACCOUNT}:key/01234567-89ab-cdef-0123-456789abcdef'

#: The evaluator takes keys with a variable part only where that begins with a slash. KMS's encryption context is
#: therefore written as a tag, in policies and requests alike: both are compared as text.
ENCRYPTION_CONTEXT, AS_TAG = 'kms:EncryptionContext:', 'aws:ResourceTag/EncryptionContext:'

Context = Mapping[str, Any]


class Question(NamedTuple):
    """Whether a function's role allows an action on a resource."""

    role: str
    action: str
    resource: str
    context: Context = MappingProxyType({})
    account: str = ACCOUNT


def deployment(template: Mapping[str, Any], stack: str = STACK, **parameters: str) -> Deployment:
    """A stack with these parameters, as the questions are about it."""
    defaults = {name: str(body.get('Default', '')) for name, body in template['Parameters'].items()}
    return Deployment(template, {**defaults, **parameters}, stack, REGION, 'aws', ACCOUNT)


def policies(planned: Deployment, role: str) -> list[Any]:
    """Every policy document of a role, resolved."""
    scope = planned.scope()
    properties = planned.template['Resources'][role]['Properties']
    own = [policy['PolicyDocument'] for policy in properties.get('Policies', ())]
    managed = [_referred(planned, reference) for reference in properties.get('ManagedPolicyArns', ())]
    return [scope.resolve(document) for document in [*own, *(each for each in managed if each)]]


def _referred(planned: Deployment, reference: Any) -> Any:
    """The document of one of our managed policies, None for AWS's own and for one that is not attached."""
    if 'Fn::If' in reference:
        condition, chosen, _ = reference['Fn::If']
        return (
            _referred(planned, chosen) if planned.scope().resolve(planned.template['Conditions'][condition]) else None
        )
    if 'Ref' not in reference:
        return None
    return planned.template['Resources'][reference['Ref']]['Properties']['PolicyDocument']


@functools.cache
def _evaluator() -> subprocess.Popen[str]:
    """Start the evaluator: one process for all questions of this process. It ends with its input."""
    command = ['node', str(Path(__file__).with_name('simulate.mjs')), str(TOOLS)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    atexit.register(_end, process)
    return process


def _end(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.close()
    process.wait()


def decide(planned: Deployment, questions: Iterable[Question]) -> list[str]:
    """Allowed, ImplicitlyDenied or ExplicitlyDenied for each question.

    Raises AssertionError for a question with a context key that the action does not have: the evaluator ignores it.
    """
    listed = list(questions)
    known = {role: policies(planned, role) for role in {question.role for question in listed}}
    about = [question._replace(role=f'{question.role} {_service(question)}') for question in listed]
    roles = {one.role: _about(_service(one), known[one.role.partition(' ')[0]]) for one in about}
    key_policy = planned.scope().resolve(planned.template['Resources']['Key']['Properties']['KeyPolicy'])
    return decisions(roles, key_policy, about)


def _service(question: Question) -> str:
    return question.action.partition(':')[0]


def _about(service: str, documents: list[Any]) -> list[Any]:
    """Return the statements that can decide a service's actions: the evaluator's time grows with their number."""
    found = []
    for document in documents:
        kept = [each for each in document['Statement'] if _names(each['Action'], service)]
        found += [{**document, 'Statement': kept}] if kept else []
    return found


def _names(actions: str | list[str], service: str) -> bool:
    return any(name.startswith((f'{service}:', '*')) for name in ([actions] if isinstance(actions, str) else actions))


def decisions(roles: Mapping[str, list[Any]], key_policy: Any, questions: list[Question]) -> list[str]:
    """The same for any policies: those of each role, and that of the key. Raises AssertionError as ``decide`` does."""
    request = {
        'roles': roles,
        'keyPolicy': key_policy,
        'questions': [{**question._asdict(), 'context': dict(question.context)} for question in questions],
    }
    process = _evaluator()
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(request).replace(ENCRYPTION_CONTEXT, AS_TAG) + '\n')
    process.stdin.flush()
    answer = process.stdout.readline()
    assert answer, 'the evaluator of IAM policies has ended: make setup installs it'
    results = json.loads(answer)
    for question, result in zip(questions, results, strict=True):
        assert not result['error'], (question, result['error'])
        assert not result['ignored'], (question, result['ignored'])
    return [str(result['result']) for result in results]


def invalid_machines(definitions: Mapping[str, Any]) -> dict[str, list[str]]:
    """{state machine: problems that asl-validator finds}, without valid ones."""
    found: dict[str, list[str]] = _node('validate.mjs', json.dumps(definitions))
    return found


def _node(program: str, given: str) -> Any:
    command = ['node', str(Path(__file__).with_name(program)), str(TOOLS)]
    answer = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout)
