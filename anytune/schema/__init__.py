"""Frozen nouns without I/O: what the arrows of a job carry."""
