"""The sub-commands that ``heads`` adds to ``zoo``: ``backbone`` and ``head``. Importing them imports no torch."""

from heads.base.commands.backbone import backbone
from heads.base.commands.head import head

__all__ = ["backbone", "head"]
