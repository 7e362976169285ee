"""Convert files of examples from the formats of others into chats and pairs, and back out again."""

from anytune.data.convert.result import Conversion, Loss, Recognised
from anytune.data.convert.run import SOURCES, TARGETS, convert

__all__ = ["SOURCES", "TARGETS", "Conversion", "Loss", "Recognised", "convert"]
