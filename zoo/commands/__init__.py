"""The ``zoo`` command. ``main`` gathers its sub-commands from the entry points of the group ``hydrazoo.commands``.

Each of the zoo's own sub-commands is a module of its name.
"""

from zoo.commands.main import main

__all__ = ["main"]
