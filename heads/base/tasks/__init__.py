"""Kinds of answers: all that differs between a head that classifies and one that finds spans, vectors or masks.

``modules`` are the networks, ``targets`` what they learn, ``losses`` what training minimises (``contrast`` for vectors,
``overlap`` for ``masks``), and ``metrics`` how good answers are (``retrieval`` for vectors).
"""
