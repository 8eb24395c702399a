"""How a backup was made: the values of ``method`` of its record.

| value | what was read |
|---|---|
| full | the volume, all that may hold data; the backup has no parent |
| changed_blocks | the blocks that the backend listed as changed since the parent's snapshot |
| compared | the volume, all that may hold data, block by block compared with the parent: the changes were not known |
"""

from __future__ import annotations

FULL = 'full'
CHANGED_BLOCKS = 'changed_blocks'
COMPARED = 'compared'
