"""Texts of ragged length for benchmarks: the training texts of the sample heads, in a fixed shuffled order."""

import itertools
import json
import random
from pathlib import Path

__all__ = ["sample_texts"]

HEADS = Path(__file__).parents[1] / "heads"


def sample_texts(count: int) -> list[str]:
    """Return ``count`` texts, most of them short, repeated from the start if there are not as many."""
    lines = [line for path in sorted(HEADS.glob("*/labels.jsonl")) for line in path.read_text().splitlines()]
    texts = [example["text"] for example in map(json.loads, lines) if example["split"] == "train"]
    random.Random(0).shuffle(texts)
    return list(itertools.islice(itertools.cycle(texts), count))
