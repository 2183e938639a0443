"""Looking inside a trained head: one HTML report, and the observer that records activations while a head trains.

``report.write_report`` gathers everything about a version (``collect``), draws it (``figures``) and writes a page
(``page``) that opens offline and loads nothing from elsewhere. ``observer.ActivationObserver`` is given to the training
loop and writes what ``activations.read_activations`` reads back; hooks stay out of the training code.

This module imports none of them: torch, matplotlib and captum are loaded by whoever needs them.
"""
