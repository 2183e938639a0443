"""The search for a recipe: many trials on features that are computed once.

``space`` says what is tried, ``heads`` prepares a frozen head for it, ``study`` runs the trials and goes on after a
kill, and ``recipe_file`` writes the best one back as a diff. ``study`` alone imports optuna.
"""
