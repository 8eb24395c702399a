"""What moto answered is there in the next process: each test stores in one and looks in another.

Two processes, since moto keeps everything in modules: the first ends as a killed one does, without closing anything.
"""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

#: Runs ``body`` in a local cloud's AWS without a stack; its function prints the result for the test.
PROGRAM = """
import json, os, sys
from pathlib import Path
from local import backends
from local.kept.write_through import WriteThrough
kept = WriteThrough(Path(sys.argv[1]))
kept.install()
backends.start()
kept.before_deploy()
import boto3
s3, kms, secrets = (boto3.client(name, region_name='us-east-1') for name in ('s3', 'kms', 'secretsmanager'))
kept.after_deploy()
backends.keep(kept.save)
def show(value): print(json.dumps(value)); sys.stdout.flush()
def code(call, **facts):
    try: call(**facts)
    except Exception as error: return error.response['Error']['Code']
    return 'done'
"""


def life(folder: Path, body: str) -> Any:
    """Run a process that is killed at its end; return its output."""
    program = f'{PROGRAM}\n{textwrap.dedent(body)}\nos.kill(os.getpid(), 9)'
    done = subprocess.run(
        [sys.executable, '-c', program, str(folder)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == -9, done.stderr
    return json.loads(done.stdout or 'null')


def test_objects_come_back_with_versions_metadata_tags_and_locks(tmp_path: Path) -> None:
    before = life(
        tmp_path,
        """
        s3.create_bucket(Bucket='bucket', ObjectLockEnabledForBucket=True)
        s3.put_object(Bucket='bucket', Key='a/ö', Body=b'one', Metadata={'x': '1'}, Tagging='k=v')
        s3.put_object(Bucket='bucket', Key='a/ö', Body=b'two' * 1000)
        s3.put_object(Bucket='bucket', Key='gone', Body=b'x'); s3.delete_object(Bucket='bucket', Key='gone')
        s3.put_object(Bucket='bucket', Key='locked', Body=b'l')
        s3.put_object_retention(Bucket='bucket', Key='locked', Retention={
            'Mode': 'COMPLIANCE', 'RetainUntilDate': '2099-01-01T00:00:00Z'})
        s3.put_object_legal_hold(Bucket='bucket', Key='a/ö', LegalHold={'Status': 'ON'})
        upload = s3.create_multipart_upload(Bucket='bucket', Key='parts', Metadata={'q': '1'})['UploadId']
        parts = [s3.upload_part(Bucket='bucket', Key='parts', UploadId=upload, PartNumber=n,
                                Body=bytes([n]) * (5 << 20))['ETag'] for n in (1, 2)]
        s3.complete_multipart_upload(Bucket='bucket', Key='parts', UploadId=upload, MultipartUpload={
            'Parts': [{'PartNumber': n + 1, 'ETag': tag} for n, tag in enumerate(parts)]})
        s3.put_object(Bucket='bucket', Key='late', Body=b'')
        s3.put_object_tagging(Bucket='bucket', Key='late', Tagging={'TagSet': [{'Key': 'k', 'Value': 'w'}]})
        show([[v['Key'], v['VersionId'], v['ETag'], v['IsLatest']]
             for v in s3.list_object_versions(Bucket='bucket')['Versions']])
        """,
    )
    after = life(
        tmp_path,
        """
        versions = s3.list_object_versions(Bucket='bucket')
        listed = [[v['Key'], v['VersionId'], v['ETag'], v['IsLatest']] for v in versions['Versions']]
        locked = next(v['VersionId'] for v in versions['Versions'] if v['Key'] == 'locked')
        held = next(v['VersionId'] for v in versions['Versions'] if v['Key'] == 'a/ö' and v['IsLatest'])
        first = next(v['VersionId'] for v in versions['Versions'] if v['Key'] == 'a/ö' and not v['IsLatest'])
        one = s3.get_object(Bucket='bucket', Key='a/ö', VersionId=first)
        parts = s3.get_object(Bucket='bucket', Key='parts')
        show({
            'listed': listed,
            'one': [one['Body'].read().decode(), one['Metadata'], one['TagCount']],
            'range': s3.get_object(Bucket='bucket', Key='a/ö', Range='bytes=3-7')['Body'].read().decode(),
            'gone': code(s3.get_object, Bucket='bucket', Key='gone'),
            'again': code(s3.put_object, Bucket='bucket', Key='late', Body=b'', IfNoneMatch='*'),
            'locked': code(s3.delete_object, Bucket='bucket', Key='locked', VersionId=locked),
            'held': code(s3.delete_object, Bucket='bucket', Key='a/ö', VersionId=held),
            'parts': [parts['Metadata'], parts['Body'].read() == b'\\1' * (5 << 20) + b'\\2' * (5 << 20)],
            'late': s3.get_object_tagging(Bucket='bucket', Key='late')['TagSet'],
            'markers': [m['Key'] for m in versions['DeleteMarkers']],
        })
        """,
    )
    assert after == {
        'listed': before,
        'one': ['one', {'x': '1'}, 1],
        'range': 'twotw',
        'gone': 'NoSuchKey',
        'again': 'PreconditionFailed',
        'locked': 'AccessDenied',
        'held': 'AccessDenied',
        'parts': [{'q': '1'}, True],
        'late': [{'Key': 'k', 'Value': 'w'}],
        'markers': ['gone'],
    }


def test_deleted_bytes_are_removed_and_rubbish_is_swept(tmp_path: Path) -> None:
    life(
        tmp_path,
        """
        s3.create_bucket(Bucket='bucket')
        for name in 'abc': s3.put_object(Bucket='bucket', Key=name, Body=name.encode() * 100)
        s3.put_object(Bucket='bucket', Key='a', Body=b'new')
        s3.delete_objects(Bucket='bucket', Delete={'Objects': [{'Key': 'b'}]})
        """,
    )
    files = tmp_path / 'objects'
    assert sorted(path.read_bytes() for path in files.iterdir()) == [b'c' * 100, b'new']
    (files / 'half-written').write_bytes(b'x')
    left = life(tmp_path, "show([o['Key'] for o in s3.list_objects_v2(Bucket='bucket')['Contents']])")
    assert left == ['a', 'c']
    assert not (files / 'half-written').exists()


def test_what_a_key_sealed_opens_again(tmp_path: Path) -> None:
    sealed = life(
        tmp_path,
        """
        import base64
        key = kms.create_key(Description='mine')['KeyMetadata']['KeyId']
        kms.create_alias(AliasName='alias/mine', TargetKeyId=key)
        other = kms.create_key()['KeyMetadata']['KeyId']
        kms.disable_key(KeyId=other)
        blob = kms.encrypt(KeyId='alias/mine', Plaintext=b'hello', EncryptionContext={'a': 'b'})['CiphertextBlob']
        data = kms.generate_data_key(KeyId=key, KeySpec='AES_256')
        show([key, other, *(base64.b64encode(b).decode() for b in (blob, data['CiphertextBlob'], data['Plaintext']))])
        """,
    )
    key, other, blob, data, plain = sealed
    opened = life(
        tmp_path,
        f"""
        import base64
        blob, data = base64.b64decode({blob!r}), base64.b64decode({data!r})
        show([
            kms.decrypt(CiphertextBlob=blob, EncryptionContext={{'a': 'b'}})['Plaintext'].decode(),
            base64.b64encode(kms.decrypt(CiphertextBlob=data)['Plaintext']).decode(),
            kms.describe_key(KeyId='alias/mine')['KeyMetadata']['KeyId'],
            kms.describe_key(KeyId={other!r})['KeyMetadata']['KeyState'],
        ])
        """,
    )
    assert opened == ['hello', plain, key, 'Disabled']
    assert (tmp_path / 'documents.db').stat().st_mode & 0o777 == 0o600


def test_secrets_keep_their_values_versions_and_names(tmp_path: Path) -> None:
    arn = life(
        tmp_path,
        """
        secrets.create_secret(Name='text', SecretString='v1')
        secrets.put_secret_value(SecretId='text', SecretString='v2')
        secrets.create_secret(Name='bytes', SecretBinary=b'\\0\\xff')
        secrets.create_secret(Name='gone', SecretString='x')
        secrets.delete_secret(SecretId='gone', ForceDeleteWithoutRecovery=True)
        show(secrets.describe_secret(SecretId='text')['ARN'])
        """,
    )
    after = life(
        tmp_path,
        f"""
        show([
            secrets.get_secret_value(SecretId={arn!r})['SecretString'],
            secrets.get_secret_value(SecretId='text', VersionStage='AWSPREVIOUS')['SecretString'],
            list(secrets.get_secret_value(SecretId='bytes')['SecretBinary']),
            code(secrets.get_secret_value, SecretId='gone'),
        ])
        """,
    )
    assert after == ['v2', 'v1', [0, 255], 'ResourceNotFoundException']


def test_what_cannot_be_stored_is_not_acknowledged(tmp_path: Path) -> None:
    """A full disk: the client receives an error, and the next request that can store also stores it."""
    told = life(
        tmp_path,
        """
        import errno
        from local.kept import objects
        s3.create_bucket(Bucket='bucket')
        write, s3.meta.config.retries = objects.Objects._stored, None
        def full(self, data): raise OSError(errno.ENOSPC, 'No space left on device')
        objects.Objects._stored = full
        from botocore.config import Config
        once = boto3.client('s3', region_name='us-east-1', config=Config(retries={'total_max_attempts': 1}))
        refused = code(once.put_object, Bucket='bucket', Key='a', Body=b'a')
        objects.Objects._stored = write
        show([refused, code(once.put_object, Bucket='bucket', Key='b', Body=b'b')])
        """,
    )
    assert told == ['InternalError', 'done']
    assert life(tmp_path, "show([o['Key'] for o in s3.list_objects_v2(Bucket='bucket')['Contents']])") == ['a', 'b']


def test_volumes_and_snapshots_of_ebs_keep_their_blocks(tmp_path: Path) -> None:
    ids = life(
        tmp_path,
        """
        import base64, hashlib, time
        ec2, ebs = (boto3.client(name, region_name='us-east-1') for name in ('ec2', 'ebs'))
        def put(snapshot, index, byte):
            data = bytes([byte]) * 524288
            ebs.put_snapshot_block(SnapshotId=snapshot, BlockIndex=index, BlockData=data, DataLength=524288,
                Checksum=base64.b64encode(hashlib.sha256(data).digest()).decode(), ChecksumAlgorithm='SHA256')
        done = ebs.start_snapshot(VolumeSize=1, ClientToken='first')['SnapshotId']
        for index in (0, 7, 9): put(done, index, index + 1)
        put(done, 9, 99)
        ebs.complete_snapshot(SnapshotId=done, ChangedBlocksCount=3)
        time.sleep(0.5)
        volume = ec2.create_volume(AvailabilityZone='us-east-1a', SnapshotId=done, TagSpecifications=[
            {'ResourceType': 'volume', 'Tags': [{'Key': 'k', 'Value': 'v'}]}])['VolumeId']
        open_ = ebs.start_snapshot(VolumeSize=1)['SnapshotId']
        put(open_, 3, 4)
        gone = ec2.create_volume(AvailabilityZone='us-east-1a', Size=1)['VolumeId']
        time.sleep(0.5)
        ec2.delete_volume(VolumeId=gone)
        show([done, volume, open_, gone])
        """,
    )
    done, volume, open_, gone = ids
    after = life(
        tmp_path,
        f"""
        import time
        ec2, ebs = (boto3.client(name, region_name='us-east-1') for name in ('ec2', 'ebs'))
        time.sleep(0.3)
        def blocks(id):
            return {{b['BlockIndex']: set(ebs.get_snapshot_block(SnapshotId=id, **b)['BlockData'].read())
                    for b in ebs.list_snapshot_blocks(SnapshotId=id)['Blocks']}}
        ebs.complete_snapshot(SnapshotId={open_!r}, ChangedBlocksCount=1)
        copied = ec2.create_snapshot(VolumeId={volume!r})['SnapshotId']
        time.sleep(0.5)
        shown = ec2.describe_volumes(VolumeIds=[{volume!r}])['Volumes'][0]
        show([
            [[index, list(found)] for id in ({done!r}, {open_!r}, copied) for index, found in blocks(id).items()],
            [shown['State'], shown['Size'], shown['Tags']],
            ebs.start_snapshot(VolumeSize=1, ClientToken='first')['SnapshotId'],
            code(ec2.describe_volumes, VolumeIds=[{gone!r}]),
        ])
        """,
    )
    restored = [[0, [1]], [7, [8]], [9, [99]]]
    assert after == [
        [*restored, [3, [4]], *restored],
        ['available', 1, [{'Key': 'k', 'Value': 'v'}]],
        done,
        'InvalidVolume.NotFound',
    ]


def test_secure_strings_come_back_and_other_parameters_do_not(tmp_path: Path) -> None:
    life(
        tmp_path,
        """
        ssm = boto3.client('ssm', region_name='us-east-1')
        ssm.put_parameter(Name='/a/identity', Value='a:b', Type='SecureString')
        ssm.put_parameter(Name='/a/identity', Value='c:d', Type='SecureString', Overwrite=True)
        ssm.put_parameter(Name='/a/plain', Value='text', Type='String')
        """,
    )
    after = life(
        tmp_path,
        """
        ssm = boto3.client('ssm', region_name='us-east-1')
        found = ssm.get_parameters(Names=['/a/identity', '/a/plain'], WithDecryption=True)
        show([[each['Name'], each['Type'], each['Value']] for each in found['Parameters']])
        """,
    )
    assert after == [['/a/identity', 'SecureString', 'c:d']]
