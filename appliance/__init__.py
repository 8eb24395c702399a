"""The one thing that stays on a storage host: a small HTTPS agent over tgt and a store of volumes.

Only the standard library, Python 3.9 or later, and these programs: tgtd and tgtadm (package tgt), openssl, and for
the store chosen mkfs.xfs and mount, or lvm2. See README.md for how to start it and what it answers.

    errors       what a request may be refused with, and the HTTP status of each
    keys         what is derived from the shared secret: the request key, and each export's CHAP account
    signing      signed requests: verified once, never twice
    names        the grammar of every name that reaches a file system or tgtd
    store        what the agent asks of a store; files, image and lvm are the stores
    journal      what a store cannot hold: exports, and which volume a snapshot is of
    tgt          tgtd's control protocol
    targets      one iSCSI target per volume: accounts, access lists, sessions
    daemon       tgtd as a child that dies with the agent
    service      the verbs: volumes, snapshots, exports; idempotent and safe against a crash between any two steps
    routes       the table of paths and bodies
    server       HTTPS
    __main__     the command line
"""

__version__ = '1.0'
