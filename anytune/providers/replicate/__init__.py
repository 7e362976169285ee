"""Replicate: trainings of whatever trainer the user names, over plain HTTP."""

from anytune.providers.replicate.provider import ReplicateProvider

__all__ = ["ReplicateProvider"]
