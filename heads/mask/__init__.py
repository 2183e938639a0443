"""Mask: which pixels of a cluttered picture belong to a glyph. ``head.HEAD`` is the declaration."""
