"""The agent of a storage host: a small HTTPS service over tgt and a store of volumes.

It needs only the standard library, Python 3.9 or later, and these programs: tgtd and tgtadm (package tgt), openssl, and
for the chosen store mkfs.xfs and mount, or lvm2. README.md describes how to start it, and its requests.

        errors       the errors of requests, and the HTTP status of each
        keys         keys derived from the shared secret: the request key, and each export's CHAP account
    signing      signed requests: verified once, never twice
    names        the grammar of every name that reaches a file system or tgtd
    locks        one lock per object
        store        the interface of stores; files, image and lvm are the stores
    extents      what differs between two files that share blocks; thin: between two thin volumes
        pools        capacity
        journal      data that a store cannot hold: exports, and the volume of each snapshot
    tgt          tgtd's control protocol
    challenges   whether tgtd's CHAP challenges can be predicted
        targets      iSCSI targets: LUN, account, access list, sessions; compare tgtd's state with the required one
    kept         snapshots of finished backups, kept for comparisons
        exports      access to objects: the journal's exports, each served by a target
    service      the verbs: volumes, snapshots, exports; idempotent and safe against a crash between any two steps
        keeper       the thread that finishes interrupted changes
        portal_guard   a limit of connections to tgtd without a login; packet_filter: addresses that a socket ignores
    routes       the table of paths and bodies
        admission    limits of the agent's own connections
    server       HTTPS
    daemon       tgtd as a child that dies with the agent
        kernel       system calls missing in Python; commands: other programs; certificate: TLS without a package
    options      the command line; install: a unit that starts with it; __main__: serve until a signal
"""

__version__ = '1.1'
