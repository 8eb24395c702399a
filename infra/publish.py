"""``make publish BUCKET=...``: upload the packaged template, for Terraform, CDK and the console; print its URL."""

from __future__ import annotations

import argparse
import sys

from infra import deploy, package
from infra.deploy import Aws, program, upload
from infra.stage import Refused


def publish(bucket: str, prefix: str, region: str, aws: Aws) -> str:
    """Upload archives and template below ``prefix``; return the template's URL. Raises Refused."""
    upload(bucket, prefix, aws)
    aws.run('s3', 'cp', str(deploy.PACKAGED), f's3://{bucket}/{prefix}/cinderless.json')
    suffix = 'amazonaws.com.cn' if region.startswith('cn-') else 'amazonaws.com'
    return f'https://{bucket}.s3.{region}.{suffix}/{prefix}/cinderless.json'


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog='python -m infra.publish', description='Upload the packaged template.')
    parser.add_argument('bucket', help='a bucket in the region of the stack')
    parser.add_argument('--region', required=True)
    parser.add_argument('--prefix', default='cinderless')
    parser.add_argument('--profile')
    options = parser.parse_args(words)
    try:
        aws = Aws(program(), options.region, options.profile or None)
        aws.run('s3api', 'head-bucket', '--bucket', options.bucket)
        if package.main() != 0:
            return 1
        print(publish(options.bucket, options.prefix, options.region, aws))
    except Refused as refused:
        print(f'not published: {refused}', file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
