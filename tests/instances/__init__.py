"""Function instances as separate processes: they share the tables and nothing else."""
