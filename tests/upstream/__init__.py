"""OpenStack's own tests against a local cloud, with a real Keystone and a real Glance beside it. Not a part of ``make
test``: it takes 15 minutes.
"""
