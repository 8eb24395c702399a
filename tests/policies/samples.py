"""Policy files of operators: Cinder's generated sample, the examples of its documents, and rules seen in the field."""

from __future__ import annotations

import re
import subprocess

from tests.system import environments

#: The read-only administrator of Cinder's "Policy configuration HowTo".
OBSERVER = """
"context_is_admin": "role:admin or role:cinder:reader-admin"
"strict_admin_api": "not role:cinder:reader-admin and rule:admin_api"
"strict_admin_or_owner": "not role:cinder:reader-admin and rule:admin_or_owner"
"volume_extension:services:index": "rule:admin_api"
"volume_extension:quotas:delete": "rule:strict_admin_api"
"volume_extension:quotas:update": "rule:strict_admin_api"
"volume_extension:type_create": "rule:strict_admin_api"
"volume_extension:volume_admin_actions:reset_status": "rule:strict_admin_api"
"volume:create": "rule:strict_admin_or_owner"
"volume:delete": "rule:strict_admin_or_owner"
"volume:update": "rule:strict_admin_or_owner"
"""

#: The rules before the default roles of Xena, as operators keep them.
WALLABY = """
"admin_or_owner": "is_admin:True or (role:admin and is_admin_project:True) or project_id:%(project_id)s"
"volume:create": ""
"volume:get": "rule:admin_or_owner"
"volume:get_all": "rule:admin_or_owner"
"volume:attachment_create": ""
"volume:accept_transfer": ""
"snapshot_extension:snapshot_actions:update_snapshot_status": ""
"volume_extension:type_get": ""
"volume_extension:default_get": "rule:system_or_domain_or_project_admin"
"volume_extension:default_get_all": "role:admin and system_scope:all"
"""

#: The form of policy.json: lists of lists.
LISTS = """
admin_api: [["is_admin:True"]]
owner: [["project_id:%(project_id)s"], ["role:boss"]]
"volume:delete": [["rule:owner", "role:member"], ["rule:admin_api"]]
"volume:extend": ["rule:admin_api"]
"volume:get": []
"volume:update": [[], ["!"]]
"""

CREATORS = """
creator: "user_id:%(user_id)s and project_id:%(project_id)s"
"volume:delete": "rule:admin_api or rule:creator"
"volume:update": "rule:creator and 'secret':%(display_name)s"
"volume:get": "True:%(bootable)s or role:boss"
"volume:extend": "5:%(size)s and not role:reader"
"backup:delete": "@ and (rule:creator or role:BOSS)"
"backup:get": "None:%(snapshot_id)s"
"volume:retype": "status:%(status)s or roles:types"
"volume:delete_snapshot": "role:%(user_id)s or not user_id:%(user_id)s"
"group:delete": "user_id:user and is_admin:False"
"""

#: Names before they were split.
FORMER = """
"volume_extension:types_manage": "role:types or rule:admin_api"
"group:group_types_manage": "rule:admin_api"
"group:group_types_specs": "rule:group:group_types_specs:get"
"volume_extension:quota_classes": "!"
"volume_extension:volume_image_metadata": "role:boss"
"volume_extension:volume_image_metadata:show": "role:types"
"""

#: Rules that others refer to.
HELPERS = """
"xena_system_admin_or_project_member": "role:creator and project_id:%(project_id)s"
"xena_system_admin_or_project_reader": "rule:xena_system_admin_or_project_member or role:boss"
"admin_api": "role:boss and not is_admin:True"
"""

#: oslo.policy fails closed, or raises an exception.
BROKEN = """
"volume:get": "role:admin or"
"volume:create": "admin"
"volume:delete": "not admin"
"volume:update": "(role:admin"
"volume:extend": "rule:volume:retype"
"volume:retype": "rule:volume:extend"
"volume:reimage": "not rule:nowhere"
"backup:get": "'quoted'"
"backup:create": "role:%(size)d"
"backup:delete": "user_id.name:x"
"backup:restore": "role:a role:b"
"volume_extension:types_manage": "admin"
"default": "role:types"
"group:get": "rule:something"
"group:delete": "rule:nowhere or user_id:user and is_admin:False"
"""

#: Everything for everyone, and nothing for anyone.
OPEN = '\n'.join(f'"{name}": "@"' for name in ('context_is_admin', 'admin_api', 'volume:get', 'backup:get'))
CLOSED = '\n'.join(f'"{name}": "!"' for name in ('context_is_admin', 'admin_api', 'volume:get', 'backup:get'))

FILES = {
    'nothing': '{}', 'observer': OBSERVER, 'Wallaby': WALLABY, 'lists': LISTS, 'creators': CREATORS, 'former': FORMER,
    'helpers': HELPERS, 'broken': BROKEN, 'open': OPEN, 'closed': CLOSED,
}  # fmt: skip


def generated() -> dict[str, str]:
    """Return the sample that Cinder's package generates: as it is, and with its rules in force."""
    program = environments.ensure('cinder').with_name('oslopolicy-sample-generator')
    done = subprocess.run([program, '--namespace', 'cinder'], capture_output=True, text=True, check=True, timeout=120)
    rules = re.sub(r'^#(?=")', '', done.stdout, flags=re.MULTILINE)
    return {
        'sample': done.stdout,
        'sample in force': rules,
        'sample with former names': re.sub(r'^# (?="[\w:]+": )', '', rules, flags=re.MULTILINE),
    }
