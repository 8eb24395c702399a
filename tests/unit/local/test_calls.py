"""One AWS call, however it arrives."""

from __future__ import annotations

import io
from typing import Any

import pytest

from local.calls import Call, service_of

SIGNED = 'AWS4-HMAC-SHA256 Credential=local/20261122/us-east-1/sqs/aws4_request, SignedHeaders=host, Signature=ab'


def request(**facts: Any) -> Any:
    base = {'method': 'POST', 'url': 'https://sqs.us-east-1.amazonaws.com/', 'headers': {}, 'body': b''}
    return type('Request', (), {**base, **facts})


def test_service_and_operation_are_read_from_the_headers() -> None:
    headers = {'Authorization': SIGNED, 'X-Amz-Target': 'AmazonSQS.SendMessage'}
    call = Call.of(request(headers=headers, body='{"a": 1}'))
    assert (call.service, call.operation, call.json()) == ('sqs', 'SendMessage', {'a': 1})


def test_headers_may_come_as_bytes() -> None:
    call = Call.of(request(headers={'Authorization': SIGNED.encode()}))
    assert (call.service, call.operation) == ('sqs', '')


def test_an_unsigned_request_has_no_service() -> None:
    assert service_of({}) == service_of({'authorization': 'Basic abc'}) == ''


def test_the_path_is_decoded_and_the_query_left_out() -> None:
    assert Call.of(request(url='https://s3.amazonaws.com/b/a%20b?partNumber=1')).path == '/b/a b'


@pytest.mark.parametrize('body', [b'abc', bytearray(b'abc'), 'abc', io.BytesIO(b'abc')])
def test_a_body_comes_in_any_form_and_can_be_read_again(body: Any) -> None:
    sent = request(body=body)
    assert Call.of(sent).body == Call.of(sent).body == b'abc'


@pytest.mark.parametrize('body', [b'', b'{', b'[]', None])
def test_what_is_no_json_object_has_no_parameters(body: Any) -> None:
    assert Call.of(request(body=body)).json() == {}
