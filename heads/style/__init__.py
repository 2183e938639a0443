"""Style: whether a letter is set bold, italic or monospaced. ``head.HEAD`` is the declaration."""
