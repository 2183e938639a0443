"""Glyphs: which of thirty small letters a picture shows. ``head.HEAD`` is the declaration."""
