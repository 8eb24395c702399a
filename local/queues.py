"""Event source mappings: they deliver messages from an SQS queue to a function, as Lambda does.

The function receives a batch. Handled messages are deleted. Messages in ``batchItemFailures`` stay in the queue for its
visibility timeout and, after too many receives, move to the dead-letter queue.
"""

from __future__ import annotations

import dataclasses
import logging
import threading
from collections.abc import Callable
from typing import Any

from local.calls import Call
from local.functions import Outcome
from local.settings import REGION

#: Seconds between two receives without a send: messages become visible again when their timeout ends.
POLL = 1.0

log = logging.getLogger('local.queues')


@dataclasses.dataclass(frozen=True, slots=True)
class Mapping:
    """One AWS::Lambda::EventSourceMapping on a queue."""

    queue_arn: str
    queue_url: str
    batch_size: int
    #: Invokes under way at once.
    concurrency: int
    #: Whether the function may fail single messages of a batch.
    reports_failures: bool


class Poller:
    """Receives from one queue and invokes one function, from threads of its own, until ``stop``."""

    def __init__(self, mapping: Mapping, sqs: Any, invoke: Callable[[dict[str, Any]], Outcome]) -> None:
        self._mapping = mapping
        self._sqs = sqs
        self._invoke = invoke
        self._free = threading.Semaphore(mapping.concurrency)
        self._arrived = threading.Event()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name='poller', daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped = True
        self._arrived.set()
        self._thread.join(POLL + 1)

    def observe(self, call: Call) -> None:
        """Wake up when something was sent."""
        if call.service == 'sqs' and call.operation.startswith('SendMessage'):
            self._arrived.set()

    def _run(self) -> None:
        while not self._stopped:
            self._arrived.clear()
            while not self._stopped and self._take_batch():
                pass
            self._arrived.wait(POLL)

    def _take_batch(self) -> bool:
        """Receive one batch and hand it on; False when there was none."""
        self._free.acquire()
        messages = self._receive()
        if not messages:
            self._free.release()
            return False
        threading.Thread(target=self._handle, args=(messages,), name='batch', daemon=True).start()
        return True

    def _receive(self) -> list[dict[str, Any]]:
        try:
            received = self._sqs.receive_message(
                QueueUrl=self._mapping.queue_url,
                MaxNumberOfMessages=min(10, self._mapping.batch_size),
                MessageSystemAttributeNames=['All'],
                MessageAttributeNames=['All'],
            )
        except Exception:
            log.exception('receiving from %s failed', self._mapping.queue_url)
            return []
        return list(received.get('Messages', []))

    def _handle(self, messages: list[dict[str, Any]]) -> None:
        try:
            outcome = self._invoke({'Records': [record(message, self._mapping.queue_arn) for message in messages]})
            for message in handled(messages, outcome, self._mapping.reports_failures):
                self._sqs.delete_message(QueueUrl=self._mapping.queue_url, ReceiptHandle=message['ReceiptHandle'])
        finally:
            self._free.release()


def record(message: dict[str, Any], queue_arn: str) -> dict[str, Any]:
    """A message as a function sees it."""
    return {
        'messageId': message['MessageId'],
        'receiptHandle': message['ReceiptHandle'],
        'body': message['Body'],
        'attributes': message.get('Attributes', {}),
        'messageAttributes': message.get('MessageAttributes', {}),
        'md5OfBody': message.get('MD5OfBody'),
        'eventSource': 'aws:sqs',
        'eventSourceARN': queue_arn,
        'awsRegion': REGION,
    }


def handled(messages: list[dict[str, Any]], outcome: Outcome, reports_failures: bool) -> list[dict[str, Any]]:
    """The messages to delete. An error keeps the whole batch, and so does a report that Lambda cannot read."""
    if outcome.error:
        return []
    result = outcome.result
    failures = result.get('batchItemFailures') if reports_failures and isinstance(result, dict) else None
    failed = {failure.get('itemIdentifier') for failure in failures or ()}
    known = {message['MessageId'] for message in messages}
    return [message for message in messages if message['MessageId'] not in failed] if failed <= known else []
