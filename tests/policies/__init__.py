"""Who may do what, compared with Cinder's own policies and over every route.

rules.json         the default policies of cinder 29.0.0; extract.py writes it from the package
oslo.py            oslo.policy's decisions about them, in the environment that has it
"""
