"""The config files of other trainers: a job handed to one of them, and one of theirs taken in as a job file."""

from __future__ import annotations

from anytune.recipe.known import TOOLS
from anytune.recipe.read import TakenIn, take_in
from anytune.recipe.tool import Tool
from anytune.recipe.write import HandedOver, hand_over

__all__ = ["TOOLS", "HandedOver", "TakenIn", "Tool", "hand_over", "take_in"]
