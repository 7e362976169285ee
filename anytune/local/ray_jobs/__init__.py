"""Ray Jobs: our own trainer on a cluster of the user's, with a folder or bucket of theirs between it and here."""

from anytune.local.ray_jobs.provider import RayProvider

__all__ = ["RayProvider"]
