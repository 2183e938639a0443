"""How many labels that were flipped on purpose does confident learning list?

``python -m benchmarks.suspicious_labels --zoo .zoo`` flips 5 % of the intent labels of the train and valid splits to
another class at random, with a fixed seed, and prints how many are found among how many that are listed.
"""

import argparse

import numpy as np

from heads.base.building.phases import Phases
from heads.base.packages import load_package
from heads.base.testing import suspicious
from heads.base.testing.vectors import place
from zoo import Zoo

SHARE = 0.05
LOSS_WEIGHTS = (1.0, 3.0, 10.0, 30.0, 100.0)


def main() -> None:
    """Flip, look, and count."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--zoo", default=".zoo")
    package = load_package("intent")
    labels = package.head.task.labels
    splits = package.labels().for_training()
    with Zoo.open(parser.parse_args().zoo) as zoo:
        placed = place(zoo, package, (*splits.train, *splits.valid), Phases())
    right_N = np.array([labels.index(str(example.target)) for example in placed.examples])
    chance = np.random.default_rng(1)
    flipped_N = chance.random(len(right_N)) < SHARE
    given_N = np.where(flipped_N, (right_N + chance.integers(1, len(labels), len(right_N))) % len(labels), right_N)
    vectors_ND = suspicious.standardised(placed.vectors)
    print(f"{flipped_N.sum()} of {len(right_N)} labels flipped")
    for loss_weight in LOSS_WEIGHTS:
        scores_NC = suspicious.out_of_sample(vectors_ND, given_N, seed=0, loss_weight=loss_weight)
        rows = [row for row, _ in suspicious.confident_errors(scores_NC, given_N)]
        print(f"loss weight {loss_weight:5g}: {flipped_N[rows].sum()} found among {len(rows)} listed")


if __name__ == "__main__":
    main()
