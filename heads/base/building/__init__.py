"""Building: from a head package to a published version, step by step.

``build.build_head`` publishes, or finds what was built from the same things; ``ingredients`` gathers what goes in and
imports no torch; ``pipeline`` does the work on a ``bench``: ``prefix`` and ``features`` (the frozen part, run once),
``gate`` (the test split), ``parity`` (do the exports answer like torch) and ``variants`` (other precisions).
"""
