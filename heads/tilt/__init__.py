"""Tilt: how far a letter is turned, in degrees. ``head.HEAD`` is the declaration."""
