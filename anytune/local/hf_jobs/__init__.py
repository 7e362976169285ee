"""Hugging Face Jobs: our own trainer on a rented machine, with a private repository between it and here."""

from anytune.local.hf_jobs.provider import HFJobsProvider

__all__ = ["HFJobsProvider"]
