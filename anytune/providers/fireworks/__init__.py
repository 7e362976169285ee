"""Fireworks: managed LoRA jobs over plain HTTP, under ids of our own choosing."""

from anytune.providers.fireworks.provider import FireworksProvider

__all__ = ["FireworksProvider"]
