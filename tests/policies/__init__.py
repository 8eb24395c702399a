"""Who may do what, compared with Cinder's own policies and over every route.

rules.json         the default policies of cinder 29.0.0; extract.py writes it from the package
samples.py         policy files of operators: Cinder's sample, examples of its documents, and others
oslo.py            decisions of oslo.policy and of Cinder about them, in the environment that has both
targets.json       what Cinder passes to each rule; extract.py writes it from the package
"""
