"""The state of a part of a run: tensors by name, and what JSON holds."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from torch import Tensor

__all__ = ["State"]


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What a part of a run needs to go on as if it had never stopped.

    Attributes:
        tensors: by name.
        values: JSON.
    """

    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def join(cls, parts: Mapping[str, "State"]) -> Self:
        """Return the state of a whole from those of its parts."""
        return cls(
            tensors={
                f"{part}/{name}": tensor for part, state in parts.items() for name, tensor in state.tensors.items()
            },
            values={part: dict(state.values) for part, state in parts.items()},
        )

    def part(self, name: str) -> "State":
        """Return the state of a part."""
        prefix = f"{name}/"
        return State(
            tensors={key.removeprefix(prefix): each for key, each in self.tensors.items() if key.startswith(prefix)},
            values=self.values[name],
        )
