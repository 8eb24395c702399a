"""Backups: volumes cut into blocks, stored once per lineage, sealed, and restored in one pass.

``engine`` is the interface for tasks; ``docs/explanation/backup-format.md`` specifies a repository byte by byte.
"""
