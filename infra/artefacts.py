"""The bucket for deployment artefacts: one per account and region, private to the account."""

from __future__ import annotations

import json
from typing import Any

from infra.preflight import Runs
from infra.stage import Refused

CLOSED = 'BlockPublicAcls=true,IgnorePublicAcls=true,BlockPublicPolicy=true,RestrictPublicBuckets=true'

#: Overwritten archives and aborted uploads are deleted. Current ones stay: a rollback of CloudFormation reads older
#: ones.
LIFECYCLE = {
    'Rules': [
        {
            'ID': 'overwritten',
            'Status': 'Enabled',
            'Filter': {},
            'NoncurrentVersionExpiration': {'NoncurrentDays': 30},
            'AbortIncompleteMultipartUpload': {'DaysAfterInitiation': 2},
        }
    ]
}


def bucket(account: str, partition: str, region: str, aws: Runs) -> str:
    """Return the name of the bucket, created if missing, with its settings brought up to date.

    The name is predictable, so another account may have taken it: every call names the expected owner. Raises
    Refused for a bucket that is not this account's.
    """
    name = f'cinderless-artefacts-{account}-{region}'
    owner = ('--bucket', name, '--expected-bucket-owner', account)
    try:
        aws.run('s3api', 'head-bucket', *owner)
    except Refused as refused:
        if '(404)' not in str(refused):
            raise Refused(
                f'the bucket {name} is not one of account {account} that these credentials may use ({refused}): what '
                'is deployed must not be read from there. Contact AWS Support, or deploy in another region'
            ) from refused
        aws.run('s3', 'mb', f's3://{name}')
    aws.run('s3api', 'put-public-access-block', *owner, '--public-access-block-configuration', CLOSED)
    aws.run('s3api', 'put-bucket-versioning', *owner, '--versioning-configuration', 'Status=Enabled')
    aws.run('s3api', 'put-bucket-lifecycle-configuration', *owner, '--lifecycle-configuration', json.dumps(LIFECYCLE))
    aws.run('s3api', 'put-bucket-policy', *owner, '--policy', json.dumps(policy(name, partition)))
    return name


def policy(name: str, partition: str) -> dict[str, Any]:
    """TLS only."""
    arn = f'arn:{partition}:s3:::{name}'
    statement = {
        'Sid': 'OnlyOverTls',
        'Effect': 'Deny',
        'Principal': '*',
        'Action': 's3:*',
        'Resource': [arn, f'{arn}/*'],
        'Condition': {'Bool': {'aws:SecureTransport': 'false'}},
    }
    return {'Version': '2012-10-17', 'Statement': [statement]}
