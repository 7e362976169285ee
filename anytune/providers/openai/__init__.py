"""OpenAI's fine-tuning API through the vendor's SDK, and every server that speaks it, each in its own dialect."""

from anytune.providers.openai.provider import OpenAIProvider

__all__ = ["OpenAIProvider"]
