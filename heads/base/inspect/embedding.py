"""Maps of examples: where the head's inputs lie, brought from hundreds of dimensions to two."""

import numpy as np
from numpy.typing import NDArray
from sklearn.manifold import TSNE

__all__ = ["MOST_ROWS_OF_TSNE", "pca", "tsne"]

MOST_ROWS_OF_TSNE = 2000
_PERPLEXITY = 30.0
_LEAST_ROWS = 8


def pca(vectors_ND: NDArray[np.float32]) -> tuple[NDArray[np.float64], float]:
    """Return the first two principal components, and the share of the variance that they hold.

    Args:
        vectors_ND: at least one row.

    Returns:
        (N, 2), and 0 to 1; signs are fixed so that the same vectors always give the same map.
    """
    centred_ND = vectors_ND.astype(np.float64) - vectors_ND.mean(axis=0)
    left, strengths, _ = np.linalg.svd(centred_ND, full_matrices=False)
    places_N2 = np.zeros((len(vectors_ND), 2))
    kept = min(2, len(strengths))
    places_N2[:, :kept] = left[:, :kept] * strengths[:kept]
    places_N2 *= np.where(places_N2[np.abs(places_N2).argmax(axis=0), [0, 1]] < 0, -1, 1)
    total = float((strengths**2).sum())
    return places_N2, float((strengths[:2] ** 2).sum()) / total if total else 1.0


def tsne(vectors_ND: NDArray[np.float32]) -> NDArray[np.float64] | None:
    """Return a t-SNE map (van der Maaten & Hinton 2008), (N, 2); None for too few rows or too many.

    Args:
        vectors_ND: any number of rows.
    """
    rows = len(vectors_ND)
    if not _LEAST_ROWS <= rows < MOST_ROWS_OF_TSNE:
        return None
    start_N2, _ = pca(vectors_ND)
    spread = start_N2[:, 0].std()
    method = TSNE(
        perplexity=min(_PERPLEXITY, (rows - 1) / 3),
        init=(start_N2 / (spread or 1.0) * 1e-4).astype(np.float32),
        random_state=0,
        n_jobs=1,
    )
    found: NDArray[np.float64] = method.fit_transform(vectors_ND).astype(np.float64)
    return found
