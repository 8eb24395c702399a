"""Moving in from Cinder: its database, its configuration and its backups.

    source.py, schema.py     a Cinder database, read only: revision, tables, rows in pages
    hosts.py                 the table of backends: ``old host@backend#pool -> new host@backend#pool``
    catalog.py, volumes.py,  rows of Cinder -> records (items.py), and findings about rows that cannot be mapped
    groups.py, others.py
    stages.py                the order in which kinds of records are read and written
    ledger.py, writer.py     records -> DynamoDB, each with a mark of the migration, in one transaction
    report.py                what a plan, a run, a verification and a rollback found

Rows are read with plain drivers (sqlite3, PyMySQL), records are written as the service writes them
(docs/decisions/0073-moving-in.md). No Lambda function imports this package.
"""
