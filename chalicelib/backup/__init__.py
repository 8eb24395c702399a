"""Backups: volumes cut into blocks, stored once per lineage, sealed, and restored in one pass.

``engine`` is the interface for tasks; ``docs/backup-format.md`` says what lies in a repository, byte by byte.
"""
