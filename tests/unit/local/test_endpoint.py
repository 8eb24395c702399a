"""The endpoint for other processes, over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto.core.models import botocore_stubber

from local.endpoint import Endpoint, prepared
from local.http import Request, Response, Server
from local.settings import REGION
from tests.unit.local.conftest import Clients


@pytest.fixture
def elsewhere(aws: Clients) -> Iterator[Clients]:
    """Clients as another process has them: through HTTP, not through moto's hook in this one."""
    server = Server(0, Endpoint(None))
    server.start()

    def client(service: str) -> Any:
        made = boto3.client(service, region_name=REGION, endpoint_url=f'http://127.0.0.1:{server.port}')
        made.meta.events.unregister('before-send', botocore_stubber)  # moto's hook in this process
        return made

    yield client
    server.stop()


def test_both_sides_see_one_cloud(aws: Clients, elsewhere: Clients) -> None:
    url = aws('sqs').create_queue(QueueName='shared')['QueueUrl']
    assert elsewhere('sqs').list_queues()['QueueUrls'] == [url]
    elsewhere('sqs').send_message(QueueUrl=url, MessageBody='hello')
    assert aws('sqs').receive_message(QueueUrl=url)['Messages'][0]['Body'] == 'hello'


@pytest.mark.parametrize('key', ['plain', 'a b/ü', 'x+y=z'])
def test_objects_keep_their_names(aws: Clients, elsewhere: Clients, key: str) -> None:
    elsewhere('s3').create_bucket(Bucket='backups')
    elsewhere('s3').put_object(Bucket='backups', Key=key, Body=b'data')
    assert aws('s3').get_object(Bucket='backups', Key=key)['Body'].read() == b'data'


def test_errors_keep_their_codes(elsewhere: Clients) -> None:
    client = elsewhere('secretsmanager')
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.get_secret_value(SecretId='unknown')


def test_global_services_answer_too(elsewhere: Clients) -> None:
    assert elsewhere('iam').list_roles()['Roles'] == []
    assert elsewhere('sts').get_caller_identity()['Account'] == '123456789012'


def request(service: str, **facts: Any) -> Request:
    scope = f'AWS4-HMAC-SHA256 Credential=k/20261122/us-east-1/{service}/aws4_request, Signature=x'
    base: dict[str, Any] = {'method': 'POST', 'path': '/', 'query': '', 'body': b'', 'client': '127.0.0.1'}
    return Request(**{**base, 'headers': [('Host', 'h'), ('Authorization', scope)], **facts})


def test_a_request_goes_where_the_sdk_would_send_it() -> None:
    sent = prepared(request('kms', path='/a%20b', query='x=1'), 'kms')
    assert sent.url == 'https://kms.us-east-1.amazonaws.com/a%20b?x=1'
    assert sent.headers['Host'] == 'kms.us-east-1.amazonaws.com'


def test_an_unknown_service_is_told() -> None:
    assert Endpoint(None)(request('nosuchservice')).status in (404, 501)


def test_dynamodb_is_forwarded_as_it_is() -> None:
    seen: list[Request] = []

    def engine(request: Request) -> Response:
        seen.append(request)
        return Response(400, [('x-amz-crc32', '1')], b'{"__type": "x"}')

    server = Server(0, engine)
    server.start()
    answer = Endpoint(f'http://127.0.0.1:{server.port}')(request('dynamodb', body=b'{"TableName": "t"}'))
    server.stop()
    assert (answer.status, answer.body) == (400, b'{"__type": "x"}')
    assert ('x-amz-crc32', '1') in [(name.lower(), value) for name, value in answer.headers]
    assert (seen[0].method, seen[0].body) == ('POST', b'{"TableName": "t"}')
