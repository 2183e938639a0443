"""Personal data: where a message names a person, an address or a number. ``head.HEAD`` is the declaration."""
