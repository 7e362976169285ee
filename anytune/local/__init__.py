"""Train on this machine: one more provider, whose jobs are run folders and worker processes."""
