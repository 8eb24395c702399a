"""The API against recorded facts of Cinder's own: ``python -m tests.conformance`` (``make conformance``).

API_FACTS    folder with surface.json and states.json (default: the condensed tables in tests/vectors/api)
EDGE_VECTORS folder or file with edge_vectors.json (default: API_FACTS)
ONLY         a regular expression: run the checks whose name it finds, and print each failure in full

entries.py    every entry is routed, at its versions, under its policy, with its success code
vectors.py    single requests: status, fault, message
roles.py      every entry as admin, member, reader, member of another project, and with no role
responses.py  the keys and types of every response, at every version that changes them
statuses.py   every operation in every status: the code, and the status afterwards

A check is a name and a function that returns what is wrong, or nothing.
"""
