"""Digits: which digit somebody wrote by hand. ``head.HEAD`` is the declaration."""
