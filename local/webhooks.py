"""Webhooks of the local cloud: deploy/webhook.yaml for each, with moto's bus, rule and queue, and the same function.

``WEBHOOKS`` is a JSON list of objects: ``name``, ``url`` (http is allowed), ``secret`` (whsec_<base64>), and optionally
``events`` and ``projects`` (lists). Undelivered notifications end with the process, as all messages of queues do.
"""

from __future__ import annotations

import binascii
import functools
import json
import re
import urllib.parse
from base64 import b64decode
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from chalice.package import YAMLTemplateSerializer

from chalicelib.rules.notifications import NOTICES
from infra import webhook
from infra.webhook_template import TEMPLATE
from local.functions import Outcome
from local.intrinsics import Scope
from local.queues import Mapping as QueueMapping
from local.queues import Poller
from local.settings import STACK, Refused
from local.stack import PSEUDO_PARAMETERS

#: Names of events that a filter may have.
EVENTS = frozenset(event for notice in NOTICES.values() for event in (notice.start, notice.end) if event)

_NAME = re.compile(r'[a-z0-9-]{1,40}')


class Webhook(NamedTuple):
    """One receiver. Empty ``events`` or ``projects`` mean all."""

    name: str
    url: str
    secret: str
    events: tuple[str, ...] = ()
    projects: tuple[str, ...] = ()


def read(text: str) -> list[Webhook]:
    """Return the webhooks of WEBHOOKS. Raises Refused; a secret is never part of the message."""
    document = json.loads(text or '[]')
    if not isinstance(document, list):
        raise Refused('WEBHOOKS is not a JSON list of objects with name, url and secret')
    found = [_webhook(place, each) for place, each in enumerate(document)]
    if len({each.name for each in found}) < len(found):
        raise Refused('WEBHOOKS: two webhooks have one name: give each another')
    return found


def _webhook(place: int, given: Any) -> Webhook:
    for problem in _problems(given):
        raise Refused(f'WEBHOOKS[{place}]: {problem}')
    lists = {name: tuple(given.get(name, ())) for name in ('events', 'projects')}
    return Webhook(given['name'], given['url'], given['secret'], **lists)


def _problems(given: Any) -> Iterator[str]:
    if not isinstance(given, dict) or not set(given) <= set(Webhook._fields):
        yield f'give an object with {", ".join(Webhook._fields)}'
        return
    if not _NAME.fullmatch(str(given.get('name', ''))):
        yield 'name must have 1 to 40 of a-z, 0-9 and -'
    url = urllib.parse.urlsplit(str(given.get('url', '')))
    if url.scheme not in ('http', 'https') or not url.hostname:
        yield f'url={given.get("url")!r} is not an http or https URL'
    if not _is_secret(str(given.get('secret', ''))):
        yield f'secret must be {webhook.PREFIX}<base64>, or two of them with a space between'
    for name in ('events', 'projects'):
        if not isinstance(given.get(name, []), list) or not all(isinstance(one, str) for one in given.get(name, [])):
            yield f'{name} must be a list of texts'
            return
    if unknown := set(given.get('events', ())) - EVENTS:
        yield f'events has {sorted(unknown)[0]!r}; known are {", ".join(sorted(EVENTS))}'


def _is_secret(text: str) -> bool:
    parts = text.split()
    try:
        keys = [b64decode(part.removeprefix(webhook.PREFIX), validate=True) for part in parts]
    except (binascii.Error, ValueError):
        return False
    return bool(keys) and all(keys) and all(part.startswith(webhook.PREFIX) for part in parts)


def start(found: list[Webhook], bus: str, clients: Callable[[str], Any]) -> Iterator[Poller]:
    """Create rule and queues of each webhook, and yield its poller. ``clients(service)`` returns a boto3 client."""
    for each in found:
        parameter = f'/{STACK}/webhooks/{each.name}'
        clients('ssm').put_parameter(Name=parameter, Value=each.secret, Type='SecureString', Overwrite=True)
        yield _started(each, {'Bus': bus, 'SecretParameter': parameter}, clients)


def _started(each: Webhook, given: Mapping[str, str], clients: Callable[[str], Any]) -> Poller:
    template = YAMLTemplateSerializer().load_template(TEMPLATE.read_text(encoding='utf-8'), str(TEMPLATE))
    stack = f'{STACK}-webhook-{each.name}'
    parameters = {**given, 'Url': each.url, 'Events': list(each.events), 'Projects': list(each.projects)}
    refs: dict[str, Any] = {**PSEUDO_PARAMETERS, 'AWS::StackName': stack, 'AlarmTopicArn': '', **parameters}
    arns: dict[str, str] = {}
    scope = Scope(refs, arns, template['Conditions'])
    for name in ('DeadLetterQueue', 'Queue'):
        refs[name], arns[name] = _queue(f'{stack}-{name}', scope.resolve(_of(template, name)), clients('sqs'))
    _rule(stack, scope.resolve(_of(template, 'Rule')), clients('events'))
    arns['Function'] = refs['Function'] = stack
    mapping = scope.resolve(_of(template, 'Mapping'))
    queue = QueueMapping(arns['Queue'], refs['Queue'], mapping['BatchSize'], 1, reports_failures=True)
    settings = scope.resolve(_of(template, 'Function')['Environment']['Variables'])
    return Poller(queue, clients('sqs'), functools.partial(_run, settings))


def _of(template: Mapping[str, Any], name: str) -> dict[str, Any]:
    properties: dict[str, Any] = template['Resources'][name]['Properties']
    return properties


def _queue(name: str, properties: Mapping[str, Any], sqs: Any) -> tuple[str, str]:
    """Create a queue; return its URL and its ARN."""
    texts = {
        key: json.dumps(value) if isinstance(value, dict) else str(value).lower() for key, value in properties.items()
    }
    url = sqs.create_queue(QueueName=name, Attributes=texts)['QueueUrl']
    return url, sqs.get_queue_attributes(QueueUrl=url, AttributeNames=['QueueArn'])['Attributes']['QueueArn']


def _rule(name: str, properties: Mapping[str, Any], events: Any) -> None:
    bus = properties['EventBusName']
    events.put_rule(Name=name, EventBusName=bus, EventPattern=json.dumps(properties['EventPattern']))
    events.put_targets(Rule=name, EventBusName=bus, Targets=properties['Targets'])


def _run(settings: Mapping[str, str], event: Mapping[str, Any]) -> Outcome:
    """Run the function; a failure of its own keeps the batch in the queue, as with Lambda."""
    return Outcome(webhook.deliver(event, settings))
