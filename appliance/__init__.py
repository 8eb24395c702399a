"""The one thing that stays on a storage host: a small HTTPS agent over tgt and a store of volumes.

Only the standard library, Python 3.9 or later, and these programs: tgtd and tgtadm (package tgt), openssl, and for
the store chosen mkfs.xfs and mount, or lvm2. See README.md for how to start it and what it answers.

    errors       what a request may be refused with, and the HTTP status of each
    keys         what is derived from the shared secret: the request key, and each export's CHAP account
    signing      signed requests: verified once, never twice
    names        the grammar of every name that reaches a file system or tgtd
    locks        one lock per object
    store        what the agent asks of a store; files, image and lvm are the stores
    pools        how much fits
    journal      what a store cannot hold: exports, and which volume a snapshot is of
    tgt          tgtd's control protocol
    challenges   whether tgtd's CHAP challenges can be predicted
    targets      iSCSI targets: LUN, account, access list, sessions; what tgtd has, and how it becomes what is wanted
    exports      who may reach an object: the journal's exports, each served by a target
    service      the verbs: volumes, snapshots, exports; idempotent and safe against a crash between any two steps
    keeper       the thread that finishes what was interrupted
    portal_guard   a bound for connections to tgtd that are not logged in; packet_filter: what a socket does not see
    routes       the table of paths and bodies
    admission    which connections may take the server's time
    server       HTTPS
    daemon       tgtd as a child that dies with the agent
    kernel       the system calls that Python lacks; commands: other programs; certificate: TLS without a package
    options      the command line; install: a unit that starts with it; __main__: serve until a signal
"""

__version__ = '1.0'
