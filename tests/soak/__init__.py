"""A soak of a local cloud: tenants with real clients, faults at every hop, and a comparison of everything that is left.

server.py        the local cloud, with faults in the calls of its functions
disturbances.py  stopped and killed processes
systems.py       ONTAP, EBS, Glance and Nova around the cloud
expected.py      what a tenant may find
tenants.py       a tenant's requests, repeated under an Idempotency-Key, and its data
works.py         the load and its shares; groups.py, images.py and servers.py have parts of it
drift.py         the comparison of records, quota, pools, objects, exports and backups
"""
