"""Find what should not leave: personal data and secrets, counted, shown masked, and taken out."""

from anytune.data.privacy.block import blocked
from anytune.data.privacy.kind import KINDS, chosen
from anytune.data.privacy.redact import redact
from anytune.data.privacy.report import Finding
from anytune.data.privacy.scan import scan
from anytune.data.privacy.text import find
from anytune.schema.data import PrivacyReport, PrivacySample

__all__ = ["KINDS", "Finding", "PrivacyReport", "PrivacySample", "blocked", "chosen", "find", "redact", "scan"]
