"""The operator's program: ``cinderless COMMAND``, on one machine and for deployments. No function imports it."""
