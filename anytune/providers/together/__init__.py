"""Together: raw bodies sent by the real SDK's client, and its answers read as raw JSON."""

from anytune.providers.together.provider import TogetherProvider

__all__ = ["TogetherProvider"]
