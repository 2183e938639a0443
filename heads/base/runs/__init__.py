"""Runs: what a training leaves behind, and who watches it.

``folder.RunFolder`` is a training's folder in the zoo, ``history`` reads what happened in it, ``observers`` write that
(JSON lines, TensorBoard, MLflow, a progress bar), and ``watching`` decides who watches a build, before torch is there.
"""
