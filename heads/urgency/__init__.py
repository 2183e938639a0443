"""Urgency: how soon a message needs a person, from 0 (never) to 10 (now). ``head.HEAD`` is the declaration."""
