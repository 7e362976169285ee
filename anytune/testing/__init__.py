"""What a provider or a store has to hold, as tests that anyone can run on their own; needs pytest."""

from anytune.testing.clock import FakeClock
from anytune.testing.fake import FakeProvider
from anytune.testing.provider import ProviderContract
from anytune.testing.rig import Fault, Rig, no_key, sample_file, sample_spec
from anytune.testing.store import StoreContract, sample_job

__all__ = [
    "FakeClock",
    "FakeProvider",
    "Fault",
    "ProviderContract",
    "Rig",
    "StoreContract",
    "no_key",
    "sample_file",
    "sample_job",
    "sample_spec",
]
