"""Translate every SDK error; the class states whether a retry may succeed and whether the work may be done.

| botocore | class | the work |
|---|---|---|
| throttled, not ready, credentials not available yet | ServiceUnavailable | not done, when the SDK sent it once |
| a KMS key is disabled or awaits its deletion | EncryptionKeyDisabled (a ServiceUnavailable) | not done |
| no answer, an answer that breaks off, a 5xx | OutcomeUnknown | may be done |
| refused (permissions, parameters, an unknown name) | AwsRefused | not done |

A client that retries reports only its last attempt: an earlier one may have taken effect and its answer been lost. So
an error of such a client after a retry is OutcomeUnknown, whatever its last attempt met.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping
from typing import Any

from chalicelib import errors

logger = logging.getLogger(__name__)

#: Codes of calls that were throttled.
THROTTLED = frozenset(
    {
        'BandwidthLimitExceeded',
        'EC2ThrottledException',
        'KMS.ThrottlingException',
        'KmsThrottled',
        'KmsThrottlingException',
        'LimitExceededException',
        'PriorRequestNotComplete',
        'ProvisionedThroughputExceededException',
        'RequestLimitExceeded',
        'RequestThrottled',
        'RequestThrottledException',
        'SlowDown',
        'SnapshotCreationPerVolumeRateExceeded',
        'ThrottledException',
        'Throttling',
        'ThrottlingException',
        'TooManyRequestsException',
        'TransactionConflictException',
    }
)

#: Codes of calls that were refused before they began, for a temporary reason. Lambda's are those of a function whose
#: network, file system, snapshot or key is not ready (docs.aws.amazon.com/lambda/latest/api/API_Invoke.html).
NOT_READY = frozenset(
    {
        'DependencyTimeoutException',
        'EC2AccessDeniedException',
        'EC2UnexpectedException',
        'EFSMountConnectivityException',
        'EFSMountTimeoutException',
        'ENILimitReachedException',
        'ENINotReadyException',
        'ExpiredToken',
        'ExecutionLimitExceeded',
        'ExpiredTokenException',
        'KeyUnavailableException',
        'ResourceConflictException',
        'ResourceNotReadyException',
        'SnapStartException',
        'SnapStartNotReadyException',
        'SnapStartTimeoutException',
        'SubnetIPAddressLimitReachedException',
    }
)

#: Codes of a call that needed a KMS key which is disabled or awaits its deletion, as KMS and the services that use keys
#: name it; Lambda answers 502. Systems Manager and Secrets Manager do not distinguish it from a deleted key.
KEY_DISABLED = frozenset(
    {
        'DecryptionFailure',
        'DisabledException',
        'InvalidKeyId',
        'KMS.DisabledException',
        'KMS.KMSInvalidStateException',
        'KMSDisabledException',
        'KMSInvalidStateException',
        'KmsDisabled',
        'KmsInvalidState',
        'KmsInvalidStateException',
    }
)

#: Codes below 500 of a request that may have arrived in part.
UNCERTAIN = frozenset({'RequestTimeout', 'RequestTimeoutException'})

#: Classes of botocore.exceptions for calls that never left this process, for a temporary reason.
_UNSENT = ('ConnectTimeoutError', 'EndpointConnectionError', 'ProxyConnectionError')

#: Classes for credentials that could not be fetched: nothing was signed or sent.
_UNSIGNED = ('CredentialRetrievalError', 'MetadataRetrievalError', 'TokenRetrievalError')

#: Classes for calls without an answer, or with an incomplete one.
_UNANSWERED = ('ChecksumError', 'ConnectionError', 'FlexibleChecksumError', 'HTTPClientError', 'IncompleteReadError')


@contextlib.contextmanager
def translated(operation: str, *, sent_once: bool = False) -> Iterator[None]:
    """Translate SDK errors raised within the block. ``operation``: as in ``sqs:SendMessage``, for the log.

    ``sent_once``: the client makes one attempt only, so no attempt preceded a refused one.
    """
    try:
        yield
    except Exception as error:
        translated_error = translation(error, operation, sent_once=sent_once)
        if translated_error is None:
            raise
        raise translated_error from error


def translation(error: Exception, operation: str, *, sent_once: bool = False) -> errors.CinderlessError | None:
    """Translate and log an SDK error; return None for other errors."""
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.parsers import ResponseParserError

    if isinstance(error, ClientError):
        kind, code = _kind_of_answer(error.response, sent_once), _code(error.response)
    elif isinstance(error, BotoCoreError):
        kind, code = _kind_without_answer(error, sent_once), type(error).__name__
    elif isinstance(error, ResponseParserError):
        kind, code = errors.OutcomeUnknown, type(error).__name__
    else:
        return None
    # AWS's text is omitted: it may quote the request.
    logger.warning('%s ended with %s: %s', operation, code, kind.__name__)
    return kind(reason='AWS is busy or out of reach; try again', operation=operation, code=code)


def _code(answer: Mapping[str, Any]) -> str:
    return str(answer.get('Error', {}).get('Code', ''))


def _kind_of_answer(answer: Mapping[str, Any], sent_once: bool) -> type[errors.CinderlessError]:
    code, about = _code(answer), answer.get('ResponseMetadata', {})
    status = int(about.get('HTTPStatusCode', 400))
    if code in KEY_DISABLED and (sent_once or not about.get('RetryAttempts')):
        return errors.EncryptionKeyDisabled
    if code in THROTTLED or code in NOT_READY or status == 429:
        was_repeated = not sent_once and bool(about.get('RetryAttempts'))
        return errors.OutcomeUnknown if was_repeated else errors.ServiceUnavailable
    return errors.OutcomeUnknown if status >= 500 or code in UNCERTAIN else errors.AwsRefused


def _kind_without_answer(error: Exception, sent_once: bool) -> type[errors.CinderlessError]:
    names = {kind.__name__ for kind in type(error).__mro__}
    if not names.isdisjoint(_UNSIGNED):
        return errors.ServiceUnavailable
    if not names.isdisjoint(_UNSENT):
        return errors.ServiceUnavailable if sent_once else errors.OutcomeUnknown
    return errors.AwsRefused if names.isdisjoint(_UNANSWERED) else errors.OutcomeUnknown
