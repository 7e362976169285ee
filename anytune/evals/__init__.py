"""Base against tuned on held-out questions, with paired statistics."""

from anytune.evals.compare import Question, compare, read, save

__all__ = ["Question", "compare", "read", "save"]
