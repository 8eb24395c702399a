"""Values of a stage that the template's declarations cannot describe, and that AWS would refuse half-way: one table."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from chalicelib.errors import InvalidParameterValue
from chalicelib.identity import document
from chalicelib.identity.revocation import InMemoryRevocations
from chalicelib.rules import quotas
from chalicelib.scheduler.config import SchedulerConfig

_URL = r'https?://[A-Za-z0-9.\-\[\]:]+(/[^\s?#]*)?'
_ORIGIN = r'https?://[A-Za-z0-9.\-\[\]:]+'

#: Days for which CloudWatch can keep logs. https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference
#: (PutRetentionPolicy)
RETENTION = (
    1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653,
)  # fmt: skip

#: Control characters that no value may have; documents may have line breaks and tabs.
_CONTROL = re.compile(r'[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]')

#: Tags of one resource, and the lengths of a tag's name and value.
MAX_TAGS, MAX_TAG_NAME, MAX_TAG_VALUE = 50, 128, 256


class Form(NamedTuple):
    """The form of a parameter's value, or of each item of a list; '' is always allowed."""

    pattern: str
    allowed: str
    is_list: bool = False


_SUBNETS = Form(r'subnet-[0-9a-f]{8,17}', 'ids such as subnet-0123456789abcdef0, separated by commas', is_list=True)
_GROUPS = Form(r'sg-[0-9a-f]{8,17}', 'ids such as sg-0123456789abcdef0, separated by commas', is_list=True)
_ADDRESS = Form(_URL, 'a URL such as https://host:port/path')

FORMS: Mapping[str, Form] = {
    'AlarmEmail': Form(r'[^@\s,]+@[^@\s,]+\.[^@\s,]+', 'one email address'),
    'ApiSecurityGroupIds': _GROUPS,
    'ApiSubnetIds': _SUBNETS,
    'BackupTargetKeys': Form(
        r'arn:[\w-]+:kms:[\w-]+:\d{12}:key/[\w-]+', 'ARNs of KMS keys, separated by commas', is_list=True
    ),
    'BarbicanUrl': _ADDRESS,
    'BucketName': Form(
        r'(?!xn--|sthree-|amzn-s3-demo-)(?!.*\.\.)(?!\d+\.\d+\.\d+\.\d+$)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]',
        '3 to 63 lower-case letters, digits, dots and hyphens, as S3 takes them',
    ),
    'CorsAllowedOrigins': Form(rf'\*|{_ORIGIN}', 'origins such as https://host:port, or *', is_list=True),
    'GlanceUrl': _ADDRESS,
    'KeystoneUrl': _ADDRESS,
    'LogRetentionDays': Form('|'.join(map(str, RETENTION)), f'one of {", ".join(map(str, RETENTION))}'),
    'NovaUrl': Form(rf'{_URL}(?<=/v2\.1)/?', 'a URL that ends in /v2.1'),
    'PermissionsBoundaryArn': Form(r'arn:[\w-]+:iam::(\d{12}|aws):policy/\S+', 'the ARN of a managed policy'),
    'PublicEndpoint': _ADDRESS,
    'WorkerSecurityGroupIds': _GROUPS,
    'WorkerSubnetIds': _SUBNETS,
}

#: Parameter with its value -> the parameter that must be set, too, and why.
REQUIRES: Mapping[tuple[str, str], tuple[str, str]] = {
    ('DisableExecuteApiEndpoint', 'true'): (
        'PublicEndpoint',
        'without it clients have no URL: give that of the custom domain',
    ),
}


#: Setting of a function that is a whole number -> the least and the greatest value; a test compares the template.
RANGES: Mapping[str, tuple[int, int]] = {
    'MaxImageGigabytes': (0, 65536),
    'OsapiMaxLimit': (1, 1000),
    'ReportMaxAge': (120, 86400),
    'SchedulerMaxAttempts': (1, 20),
}


def setting_problems(given: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield (parameter, what is wrong and what to do) for settings that an operator knows from cinder.conf.

    The template bounds all but the documents, so a stage needs only those.
    """
    for key, (low, high) in RANGES.items():
        text = given.get(key, '')
        if text and not (re.fullmatch('[0-9]{1,9}', text, re.ASCII) and low <= int(text) <= high):
            yield key, f'is {text!r}: give a whole number from {low} to {high}'
    name = given.get('DefaultVolumeType', '')
    if name and (len(name) > MAX_TYPE_NAME or name != name.strip()):
        yield 'DefaultVolumeType', f'is {name[:40]!r}: give the name of a volume type, 1 to {MAX_TYPE_NAME} characters'
    for key in ('DefaultQuotas', 'SchedulerOptions'):
        if given.get(key) and _object(given[key]) is None:
            yield key, 'is not a JSON object'
    yield from _wrong_documents(given)


def _wrong_documents(given: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield what is wrong in documents that are JSON objects."""
    for key, check in (('DefaultQuotas', _wrong_quotas), ('SchedulerOptions', _wrong_scheduler)):
        if (found := _object(given.get(key, ''))) is not None:
            yield from ((key, problem) for problem in check(found))


#: Characters of a volume type's name.
MAX_TYPE_NAME = 255


def _object(text: str) -> dict[str, Any] | None:
    try:
        found = json.loads(text or 'null')
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _wrong_quotas(given: Mapping[str, Any]) -> Iterator[str]:
    for name, limit in given.items():
        if name not in quotas.DEFAULTS:
            yield f'has {name!r}: allowed are {", ".join(quotas.DEFAULTS)}'
        elif isinstance(limit, bool) or not isinstance(limit, int) or not -1 <= limit <= quotas.MAX_USAGE:
            yield f'has {name} {limit!r}: give a whole number from -1 (unlimited) to {quotas.MAX_USAGE}'


def _wrong_scheduler(given: Mapping[str, Any]) -> Iterator[str]:
    """Yield the problem of the scheduler's options, as the functions would find it when they start."""
    known = {field.name: field.default for field in dataclasses.fields(SchedulerConfig)}
    for name, value in given.items():
        if name not in known:
            yield f'has {name!r}: allowed are {", ".join(known)}'
        elif not _has_form(value, known[name]):
            yield f'has {name} {value!r}: give a value such as {json.dumps(known[name])}'
    if all(name in known and _has_form(given[name], known[name]) for name in given):
        try:
            SchedulerConfig.from_options(given)
        except InvalidParameterValue as error:
            yield error.message


def _has_form(value: Any, default: Any) -> bool:
    if isinstance(default, tuple):
        return isinstance(value, list) and all(isinstance(one, str) for one in value)
    if isinstance(default, bool) or isinstance(value, bool):
        return type(value) is type(default)
    if isinstance(default, float):
        return isinstance(value, int | float)
    return isinstance(value, type(default)) or (default == '20.0' and _is_ratio(value))


def _is_ratio(value: Any) -> bool:
    return isinstance(value, int | float) and value >= 1


def complaints(given: Mapping[str, str], tags: Mapping[str, str]) -> Iterator[str]:
    """Return a line for each wrong value: what, value, what is allowed."""
    for key, text in given.items():
        if _CONTROL.search(text):
            yield f'{key} has a control character: remove it'
    for key, form in FORMS.items():
        items = [item.strip() for item in given.get(key, '').split(',')] if form.is_list else [given.get(key, '')]
        wrong = [item for item in items if not re.fullmatch(form.pattern, item, re.ASCII)]
        if given.get(key) and wrong:
            yield f'{key} is {wrong[0]!r}: give {form.allowed}'
    for (key, value), (other, why) in REQUIRES.items():
        if given.get(key) == value and not given.get(other):
            yield f'{key} is {value!r}, and {other} is empty: {why}'
    yield from (f'{key} {problem}' for key, problem in _wrong_documents(given))
    yield from _wrong_identity(given)
    yield from _wrong_tags(tags)


def _wrong_identity(given: Mapping[str, str]) -> Iterator[str]:
    """Return the problem of an identity document, as the functions would find it at their first request."""
    text = given.get('IdentityDocument', '')
    if given.get('KeystoneUrl') or not text:
        return
    try:
        found = {**json.loads(text), 'signing_key': '0' * 64}  # the deploy adds one
        document.load(found, identity_url='', services=(), region='', revocations=InMemoryRevocations())
    except TypeError:
        return  # not a JSON object, which stage.py reports
    except ValueError as error:
        yield f'IdentityDocument: {error} (docs/how-to/deploy.md, "The identity document")'


_TAG_RULES: tuple[tuple[Callable[[str, str], bool], str], ...] = (
    (lambda name, value: not 1 <= len(name) <= MAX_TAG_NAME, f'a name of 1 to {MAX_TAG_NAME} characters'),
    (lambda name, value: len(value) > MAX_TAG_VALUE, f'a value of at most {MAX_TAG_VALUE} characters'),
    (lambda name, value: name.lower().startswith('aws:'), 'a name that does not begin with aws:'),
    (
        lambda name, value: re.fullmatch(r'[\w\s.:/=+\-@]*', name + value) is None,
        'letters, digits, spaces and . : / = + - @ _',
    ),
    (lambda name, value: '=' in name, 'a name without =, at which the AWS CLI splits it'),
)


def _wrong_tags(tags: Mapping[str, str]) -> Iterator[str]:
    if len(tags) > MAX_TAGS:
        yield f'tags: {len(tags)}, and AWS takes {MAX_TAGS} of one resource: remove some'
    for name, value in tags.items():
        for is_wrong, allowed in _TAG_RULES:
            if is_wrong(name, value):
                yield f'tag {name[:40]!r} is {value[:40]!r}: give {allowed}'
