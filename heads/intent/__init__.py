"""Intent: what a customer wants, as one of eight classes. ``head.HEAD`` is the declaration."""
