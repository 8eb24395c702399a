"""Cinder's recorded answers, as tables of the project's own, and the run of the scheduler's.

decisions/   decisions of Cinder's scheduler: reports, request, what each filter left, weights, the winner
api/         surface.json, states.json and edge_vectors.json: routes, fields, policies, statuses, refusals
scheduler.py ``make vectors``: decides each case of ``decisions`` again and compares
condense.py  writes the tables from complete recordings
"""
