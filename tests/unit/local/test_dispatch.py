"""moto's own work on every call is done once, and nothing else changes."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
from moto.core import responses, utils
from moto.core.base_backend import BaseBackend
from moto.moto_api._internal import mock_random
from moto.sqs.models import sqs_backends
from moto.sqs.responses import SQSResponse
backend = sqs_backends['123456789012']['us-east-1']
methods, urls = utils.method_names_from_class(SQSResponse), backend.urls
snake = utils.camelcase_to_underscores('GetQueueURLs')
from local import dispatch
dispatch.install()
dispatch.install()
assert utils.method_names_from_class is responses.method_names_from_class
assert responses.method_names_from_class(SQSResponse) == methods and 'send_message' in methods
assert responses.camelcase_to_underscores('GetQueueURLs') == snake
assert list(backend.urls.items()) == list(urls.items()) and urls
assert backend.urls == backend.urls and backend.urls is not backend.urls
other = sqs_backends['123456789012']['eu-west-1']
assert other.urls is not backend.urls
texts = {mock_random.get_random_string(52) for _ in range(50)}
assert len(texts) == 50 and all(len(text) == 52 and text.isalnum() for text in texts)
assert mock_random.get_random_string(9, include_digits=False, lower_case=True).islower()
assert len(mock_random.get_random_string()) == 20
assert responses.method_names_from_class(SQSResponse) and responses.method_names_from_class.cache_info().hits
import boto3
from moto import mock_aws
from moto.core import botocore_stubber
sent = []
process = botocore_stubber.BotocoreStubber.process_request
def seen(stubber, request):
    sent.append(request.headers['Authorization'].decode())
    return process(stubber, request)
botocore_stubber.BotocoreStubber.process_request = seen
with mock_aws():
    made = boto3.client('sqs', region_name='us-east-1').create_queue(QueueName='q')['QueueUrl']
[header] = sent
assert '/us-east-1/sqs/aws4_request, SignedHeaders=' in header and header.endswith('Signature=' + '0' * 64), header
print('the same')
"""


def test_a_call_is_dispatched_as_before() -> None:
    done = subprocess.run([sys.executable, '-c', PROGRAM], capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout == 'the same\n', done.stderr
