"""docs/reference/deployer-policies.md: what the principal may do that deploys, from infra/permissions/deployer.yaml."""

from __future__ import annotations

import json

from infra import deployer

PAGE = """# Policies of the deployer

Least-privilege IAM policies for the principal that runs `make deploy`. Attach the first four to it. `make remove` with
`DATA` also needs the last one. `make policies STAGE=mine` prints them for a stage whose file has its `account`; below,
REGION, ACCOUNT, STACK and BUCKET (the bucket of backups: `stack-backupbucket-*` unless `BucketName` names it) are
placeholders. Generated from [`infra/permissions/deployer.yaml`](../../infra/permissions/deployer.yaml): `make docs`.

[Tests](../../tests/unit/infra/test_deployer.py) run a deploy and compare its commands with the first policy. They
compare the next three with AWS's own list of what CloudFormation calls for each type of resource (the `handlers` of its
schemas). Permissions in that list that the template does not need are named with the reason.

* CloudFormation acts with the deployer's credentials. To separate them, attach the policies `records`, `compute` and
  `identities` to a role for `cloudformation.amazonaws.com`, and allow the deployer `iam:PassRole` on it.
* A principal that creates roles can give them any permission. Require a boundary: set `PermissionsBoundaryArn`, and add
  `"Condition": {{"StringEquals": {{"iam:PermissionsBoundary": "ARN"}}}}` to `CreateRole`, `PutRolePolicy`,
  `AttachRolePolicy` and `PutRolePermissionsBoundary` of `Roles`.
* CloudFormation shortens the names of roles and policies of long stack names. For a name above 24 characters, replace
  `STACK-*` in `identities` by the first 24 characters and `*`.
{policies}"""


def page() -> str:
    """Return the page."""
    found = deployer.policies(deployer.PLACEHOLDERS)
    return PAGE.format(policies=''.join(_section(group, document) for group, document in found.items()))


def _section(group: str, document: object) -> str:
    return f'\n## {group}\n\n{deployer.GROUPS[group]}\n\n```json\n{json.dumps(document, indent=1)}\n```\n'
