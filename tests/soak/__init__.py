"""A soak of a local cloud: tenants with real clients, faults at every hop, and a comparison of everything that is left.

server.py      the local cloud, with faults in the calls of its functions
disturbances.py  stopped and killed processes
tenants.py     the load, and what each tenant may find afterwards
drift.py       the comparison of records, quota, pools, objects, exports and backups
"""
