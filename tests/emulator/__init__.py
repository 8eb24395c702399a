"""A second AWS for the tests: ministack, with a CloudFormation, API Gateway, Lambda, Step Functions and IAM of its own.

``make emulator`` deploys the packaged service with the project's own ``deploy`` command and uses it with unmodified
clients. docs/reference/emulator.md lists what the emulator lacks, and the substitutes.
"""
