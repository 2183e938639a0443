"""Which number format the network computes in. Weights, norms, losses and validation stay in fp32."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - its usual name
from torch.overrides import TorchFunctionMode

from heads.base.errors import InvalidRecipe
from heads.base.recipe import Recipe
from heads.base.training.state import State

__all__ = ["Precision"]

_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
_NORMS = frozenset((F.layer_norm, F.batch_norm, F.group_norm, F.instance_norm, F.rms_norm, F.local_response_norm))


class Precision:
    """Mixed precision for one device.

    fp16 scales the loss up, so that small gradients do not vanish, and skips steps whose gradients overflow
    (Micikevicius et al. 2018).

    Args:
        recipe: names the precision.
        device: where the network is.

    Raises:
        InvalidRecipe: fp16 is asked for on a CPU.
    """

    def __init__(self, recipe: Recipe, device: torch.device) -> None:
        if recipe.precision == "fp16" and device.type != "cuda":
            raise InvalidRecipe(
                f"precision is 'fp16', and the network is on the {device.type}; torch trains in fp16 on CUDA only. "
                "Set precision = 'bf16' or 'fp32' in recipe.toml."
            )
        self._device = device.type
        self._dtype = _DTYPES.get(recipe.precision)
        self._scaler = torch.amp.GradScaler(device.type) if recipe.precision == "fp16" else None

    @contextmanager
    def computing(self) -> Iterator[None]:
        """Compute matrix products of the body in the lower precision, norms in fp32."""
        if self._dtype is None:
            yield
            return
        with torch.autocast(self._device, self._dtype), _NormsInFp32(self._device):
            yield

    def backward(self, loss: Tensor) -> None:
        """Compute gradients."""
        scaled = self._scaler.scale(loss) if self._scaler else loss
        scaled.backward()  # type: ignore[no-untyped-call] # torch leaves it untyped

    def unscale(self, optimizer: torch.optim.Optimizer) -> None:
        """Bring gradients back to their own size, before anything looks at them."""
        if self._scaler:
            self._scaler.unscale_(optimizer)

    def step(self, optimizer: torch.optim.Optimizer) -> None:
        """Step, unless fp16's gradients overflowed."""
        if self._scaler is None:
            optimizer.step()
            return
        self._scaler.step(optimizer)
        self._scaler.update()

    def state(self) -> State:
        """Return what a checkpoint keeps."""
        return State(values=self._scaler.state_dict() if self._scaler else {})

    def restore(self, state: State) -> None:
        """Go on from a checkpoint."""
        if self._scaler:
            self._scaler.load_state_dict(dict(state.values))


class _NormsInFp32(TorchFunctionMode):
    """Computes norms in fp32 whoever calls them; autocast alone leaves some of them in the lower precision."""

    def __init__(self, device: str) -> None:
        super().__init__()
        self._device = device

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func not in _NORMS:
            return func(*args, **(kwargs or {}))
        with torch.autocast(self._device, enabled=False):
            return func(*map(_in_fp32, args), **{name: _in_fp32(value) for name, value in (kwargs or {}).items()})


def _in_fp32(value: Any) -> Any:
    return value.float() if isinstance(value, Tensor) and value.is_floating_point() else value
