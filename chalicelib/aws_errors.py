"""Every error of the SDK as one of ours, which says whether a repetition may succeed and whether the work may be done.

| botocore | here | the work |
|---|---|---|
| throttled, not ready, credentials on their way | ServiceUnavailable | not done, when the SDK sent it once |
| a KMS key is disabled or awaits its deletion | EncryptionKeyDisabled (a ServiceUnavailable) | not done |
| no answer, an answer that breaks off, a 5xx | OutcomeUnknown | may be done |
| refused (rights, parameters, a name that is unknown) | AwsRefused | not done |

A client that repeats by itself reports its last attempt alone: an earlier one may have been carried out and its answer
lost. So what such a client reports after a repetition is OutcomeUnknown, whatever the last attempt met.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping
from typing import Any

from chalicelib import errors

logger = logging.getLogger(__name__)

#: Codes of a call that was refused because there are too many.
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

#: Codes of a call that was refused before it began, for a reason that passes. Lambda's are those of a function whose
#: network, file system, snapshot or key is not there yet (docs.aws.amazon.com/lambda/latest/api/API_Invoke.html).
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

#: Classes of botocore.exceptions for a call that never left this process, for a reason that passes.
_UNSENT = ('ConnectTimeoutError', 'EndpointConnectionError', 'ProxyConnectionError')

#: Those for credentials that could not be fetched: nothing was signed, so nothing was sent.
_UNSIGNED = ('CredentialRetrievalError', 'MetadataRetrievalError', 'TokenRetrievalError')

#: Those for a call whose answer did not come, or not whole.
_UNANSWERED = ('ChecksumError', 'ConnectionError', 'FlexibleChecksumError', 'HTTPClientError', 'IncompleteReadError')


@contextlib.contextmanager
def translated(operation: str, *, sent_once: bool = False) -> Iterator[None]:
    """Raise what the SDK raises within as one of our errors. ``operation``: as in ``sqs:SendMessage``, for the log.

    ``sent_once``: the client makes one attempt only, so an attempt that was refused was not preceded by another.
    """
    try:
        yield
    except Exception as error:
        ours = translation(error, operation, sent_once=sent_once)
        if ours is None:
            raise
        raise ours from error


def translation(error: Exception, operation: str, *, sent_once: bool = False) -> errors.CinderlessError | None:
    """Return an error of the SDK as one of ours, and log it; None for an error of another origin."""
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
    # AWS's text is left out: it may quote the request.
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
