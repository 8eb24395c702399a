"""Parse requests and serialize answers between HTTP and the operations, by botocore's own models."""

from __future__ import annotations

import datetime
import functools
import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote
from xml.sax.saxutils import escape

from local.calls import Call
from local.ebs.cloud import Refused

#: (status, headers, body)
Answer = tuple[int, Mapping[str, str], str | bytes]


@functools.cache
def _model(service: str) -> Any:
    import botocore.session

    return botocore.session.get_session().get_service_model(service)


def form(body: bytes) -> dict[str, str]:
    """A query-protocol request's parameters, as they were sent."""
    return dict(parse_qsl(body.decode(), keep_blank_values=True))


def query(action: str, sent: Mapping[str, str]) -> dict[str, Any]:
    """An EC2 request's parameters by their names in the API. Raises Refused for one that the API does not have."""
    left = {name: value for name, value in sent.items() if name not in ('Action', 'Version')}
    found = _structure(_model('ec2').operation_model(action).input_shape, '', left)
    if left:
        raise Refused('UnknownParameter', f'The parameter {next(iter(left))} is not recognized')
    return found


def _structure(shape: Any, prefix: str, left: dict[str, str]) -> dict[str, Any]:
    """Take a structure's members out of ``left``."""
    found = {}
    for name, member in shape.members.items():
        wire = _capital(member.serialization.get('queryName') or member.serialization.get('name') or name)
        value = _value(member, f'{prefix}{wire}', left)
        if value is not None:
            found[name] = value
    for name in shape.required_members:
        if name not in found:
            raise Refused('MissingParameter', f'The request must contain the parameter {name}')
    return found


def _value(shape: Any, name: str, left: dict[str, str]) -> Any:
    if shape.type_name == 'structure':
        return _structure(shape, f'{name}.', left) if _is_there(name, left) else None
    if shape.type_name == 'list':
        return _list(shape, name, left)
    text = left.pop(name, None)
    return None if text is None else _READ.get(shape.type_name, str)(text)


def _list(shape: Any, name: str, left: dict[str, str]) -> list[Any] | None:
    found: list[Any] = []
    while _is_there(f'{name}.{len(found) + 1}', left):
        found.append(_value(shape.member, f'{name}.{len(found) + 1}', left))
    return found or None


def _is_there(name: str, left: Mapping[str, str]) -> bool:
    return any(key == name or key.startswith(f'{name}.') for key in left)


def _capital(name: str) -> str:
    return name[0].upper() + name[1:]


_READ: Mapping[str, Any] = {'integer': int, 'long': int, 'boolean': lambda text: text == 'true'}


def xml(action: str, result: Mapping[str, Any]) -> Answer:
    """An EC2 answer."""
    shape = _model('ec2').operation_model(action).output_shape
    content = _members(shape, result) if shape else '<return>true</return>'
    space = _model('ec2').metadata['xmlNamespace']
    body = f'<{action}Response xmlns="{space}"><requestId>local</requestId>{content}</{action}Response>'
    return 200, {'Content-Type': 'text/xml;charset=UTF-8'}, body


def _members(shape: Any, value: Mapping[str, Any]) -> str:
    """Return the members as XML. Raises KeyError for one that the API does not have: an error of the emulator."""
    parts = [
        (shape.members[name].serialization.get('name', name), shape.members[name], one) for name, one in value.items()
    ]
    return ''.join(f'<{name}>{_content(member, one)}</{name}>' for name, member, one in parts)


def _content(shape: Any, value: Any) -> str:
    if shape.type_name == 'structure':
        return _members(shape, value)
    if shape.type_name == 'list':
        return ''.join(f'<item>{_content(shape.member, one)}</item>' for one in value)
    if shape.type_name == 'boolean':
        return str(bool(value)).lower()
    return _time(value) if shape.type_name == 'timestamp' else escape(str(value))


def _time(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime('%Y-%m-%dT%H:%M:%S.%f')[:-3] + 'Z'


def xml_refusal(refused: Refused) -> Answer:
    body = (
        f'<Response><Errors><Error><Code>{refused.code}</Code><Message>{escape(refused.message)}</Message></Error>'
        '</Errors><RequestID>local</RequestID></Response>'
    )
    return refused.status, {'Content-Type': 'text/xml;charset=UTF-8'}, body


def direct(call: Call) -> tuple[str, dict[str, Any]] | None:
    """An EBS direct request's operation and parameters. None for an unknown path."""
    for name, verb, pattern in _paths():
        found = pattern.fullmatch(call.path)
        if verb == call.method and found:
            shape = _model('ebs').operation_model(name).input_shape
            return name, {**_located(shape, found.groupdict(), call), **(call.json() if verb == 'POST' else {})}
    return None


@functools.cache
def _paths() -> list[tuple[str, str, re.Pattern[str]]]:
    model = _model('ebs')
    rows = [(name, model.operation_model(name).http) for name in model.operation_names]
    return [
        (name, http['method'], re.compile(re.sub(r'{(\w+)}', r'(?P<\1>[^/]+)', http['requestUri'])))
        for name, http in rows
    ]


def _located(shape: Any, path: Mapping[str, str], call: Call) -> dict[str, Any]:
    """Return the members from the path, the query and the headers, and the one that is the body."""
    places = {'uri': path, 'querystring': dict(parse_qsl(call.query)), 'header': call.headers}
    found: dict[str, Any] = {}
    for name, member in shape.members.items():
        where, wire = member.serialization.get('location'), member.serialization.get('name', name)
        text = places.get(where, {}).get(wire.lower() if where == 'header' else wire)
        if text is not None:
            found[name] = _READ.get(member.type_name, str)(unquote(text) if where == 'uri' else text)
        elif member.type_name == 'blob':
            found[name] = call.body
    return found


def rest(operation: str, result: Mapping[str, Any]) -> Answer:
    """An EBS direct answer: members in headers, the rest as JSON, or a block's bytes."""
    model = _model('ebs').operation_model(operation)
    members = model.output_shape.members
    headers = {
        members[name].serialization['name']: str(value)
        for name, value in result.items()
        if members[name].serialization.get('location') == 'header'
    }
    if 'BlockData' in result:
        return 200, {'Content-Type': 'application/octet-stream', **headers}, result['BlockData']
    kept = {name: value for name, value in result.items() if members[name].serialization.get('location') != 'header'}
    status = int(model.http.get('responseCode', 200))
    return status, {'Content-Type': 'application/json', **headers}, json.dumps(kept)


def rest_refusal(refused: Refused) -> Answer:
    body = json.dumps({'Message': refused.message, **refused.details})
    return refused.status, {'Content-Type': 'application/json', 'x-amzn-ErrorType': refused.code}, body
