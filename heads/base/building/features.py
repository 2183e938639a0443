"""Frozen features: computed once per input, kept in the zoo's feature cache, and used by every epoch and every head."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

from numpy.typing import NDArray

from heads.base.building.fingerprint import preprocessing_key
from zoo.features import FeatureCache
from zoo.manifest import TensorSpec
from zoo.preprocessing import Preprocessor, Row, collate

__all__ = ["Prefix", "features_of"]

_TOKENS_AT_ONCE = 2048
_ROWS_AT_ONCE = 64

OnRows = Callable[[int, int], None]
"""Told how many rows are done, and of how many; for a progress bar."""


class Prefix(Protocol):
    """What computes features: the frozen stages, whatever runs them."""

    @property
    def path_digest(self) -> str:
        """The digest of the stages, from input on."""
        ...

    @property
    def computed(self) -> Mapping[str, TensorSpec]:
        """The tensors that the stages compute, by name."""
        ...

    def run(self, batch: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
        """Return the tensors computed from a batch, by name, each with N rows; several threads may call it."""
        ...


def features_of(
    rows: Sequence[Row],
    *,
    prefix: Prefix,
    preprocessor: Preprocessor,
    cache: FeatureCache,
    workers: int = 1,
    on_rows: OnRows = lambda _done, _total: None,
) -> list[dict[str, NDArray[Any]]]:
    """Return, for each row, every tensor known after the prefix: its own, and those that the prefix computes.

    Rows that the cache has are not computed. The others run in batches of about equal length, so that little
    is spent on padding, and are stored batch by batch: an interrupted run goes on where it stopped. A prefix without
    stages computes nothing, and nothing is stored.

    Args:
        rows: the inputs.
        prefix: the frozen stages.
        preprocessor: what made the rows.
        cache: where features are kept.
        workers: how many batches are computed side by side.
        on_rows: told about progress.

    Returns:
        Per row, tensors by name without the N axis, trimmed to the row's length.
    """
    if not prefix.computed:
        return [dict(row.tensors) for row in rows]
    made_by = preprocessing_key(preprocessor.spec)
    known = dict(cache.get_many(prefix.path_digest, made_by, [row.digest for row in rows]))
    missing = list({row.digest: row for row in rows if row.digest not in known}.values())
    on_rows(len(rows) - len(missing), len(rows))
    with ThreadPoolExecutor(workers) as pool:
        for found in pool.map(lambda batch: _compute(batch, prefix, preprocessor), batches_by_length(missing)):
            cache.put_many(prefix.path_digest, made_by, found)
            known |= found
            on_rows(sum(row.digest in known for row in rows), len(rows))
    return [{**row.tensors, **known[row.digest]} for row in rows]


def batches_by_length(rows: Sequence[Row]) -> list[list[Row]]:
    """Return the rows in batches of similar length, longest first, each of a bounded number of rows and tokens."""
    batches: list[list[Row]] = []
    for row in sorted(rows, key=lambda row: -row.length):
        # The first row of a batch is its longest, so it says what every row of the batch will cost.
        if batches and len(batches[-1]) < min(_ROWS_AT_ONCE, max(1, _TOKENS_AT_ONCE // batches[-1][0].length)):
            batches[-1].append(row)
        else:
            batches.append([row])
    return batches


def _compute(batch: Sequence[Row], prefix: Prefix, preprocessor: Preprocessor) -> dict[str, dict[str, NDArray[Any]]]:
    arrays = prefix.run(collate(batch, preprocessor))
    return {
        row.digest: {name: _trimmed(array[index], prefix.computed[name], row) for name, array in arrays.items()}
        for index, row in enumerate(batch)
    }


def _trimmed(array: NDArray[Any], spec: TensorSpec, row: Row) -> NDArray[Any]:
    """Cut padding off: what is kept of a row must not depend on the batch that it was computed in."""
    return array[tuple(slice(row.length if axis == "T" else None) for axis in spec.shape[1:])]
