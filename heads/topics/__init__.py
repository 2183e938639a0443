"""Topics: what a message touches, any number of eight. ``head.HEAD`` is the declaration."""
