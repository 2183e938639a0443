"""Inputs for benchmarks: texts of ragged length, texts repeated as Zipf's law has it, and JPEG images."""

import io
import itertools
import json
import random
from pathlib import Path

import numpy as np
from PIL import Image

__all__ = ["sample_images", "sample_texts", "zipf_texts"]

HEADS = Path(__file__).parents[1] / "heads"


def sample_texts(count: int) -> list[str]:
    """Return ``count`` texts of 3 to 139 tokens, most of them short: the training texts of the sample heads.

    They come in a fixed shuffled order, and from the start again if there are not as many.
    """
    lines = [line for path in sorted(HEADS.glob("*/labels.jsonl")) for line in path.read_text().splitlines()]
    texts = [example["text"] for example in map(json.loads, lines) if example["split"] == "train"]
    random.Random(0).shuffle(texts)
    return list(itertools.islice(itertools.cycle(texts), count))


def zipf_texts(count: int, *, distinct: int = 10_000, exponent: float = 1.1, seed: int = 0) -> list[str]:
    """Return ``count`` texts; the k-th most frequent of ``distinct`` has a share in proportion to k^-exponent."""
    base = sample_texts(distinct)
    texts = [f"{text} {number}" for number, text in enumerate(base)]
    shares = np.arange(1, distinct + 1, dtype=np.float64) ** -exponent
    ranks = np.random.default_rng(seed).choice(distinct, size=count, p=shares / shares.sum())
    return [texts[rank] for rank in ranks]


def sample_images(count: int, *, side: int = 256) -> list[bytes]:
    """Return ``count`` different JPEG images of smooth noise, ``side`` pixels wide and high (about 10 KB each)."""
    generator = np.random.default_rng(0)
    images = []
    for _ in range(count):
        coarse = generator.integers(0, 256, (16, 16, 3), dtype=np.uint8)
        image = Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=85)
        images.append(buffer.getvalue())
    return images
