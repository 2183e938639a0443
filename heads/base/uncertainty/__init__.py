"""Knowing how sure an answer is, at nearly no cost: fitted after training, exported in closed form.

``fitting`` does what a head declares, with ``calibration`` (a temperature), ``laplace`` or ``gaussian_process`` in a
``head`` of its own; ``rows`` is a split as these see it, and ``metrics`` says how good the certainty is.
"""
