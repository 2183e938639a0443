"""``torchrun --nproc-per-node 2 -m tests.support.shared_build HEADS ARGUMENT…``: ``zoo`` in several processes.

Packages in the folder HEADS are found besides the repository's own. ``KILL=<rank>:<step>`` ends a process by SIGKILL
after a step of the training, and ``BREAK=<rank>`` lets one fail in it. Checkpoints are written every five steps.
"""

import os
import signal
import sys
from collections.abc import Callable, Sequence

import heads
from heads.base.errors import TrainingFailed
from heads.base.runs import watching
from zoo.commands import main as zoo


def hurt() -> None:
    """Let this process come to harm in its training, if the environment says so."""
    from heads.base.training.stepping import Stepper

    rank, kill, fail = os.environ["RANK"], os.environ.get("KILL", ""), os.environ.get("BREAK", "")
    plain: Callable[[Stepper, Sequence[int]], float] = Stepper.gradients
    steps = 0

    def gradients(self: Stepper, rows: Sequence[int]) -> float:
        nonlocal steps
        steps += 1
        if kill == f"{rank}:{steps}":
            os.kill(os.getpid(), signal.SIGKILL)
        if fail == rank:
            raise TrainingFailed("the second process is broken")
        return plain(self, rows)

    Stepper.gradients = gradients  # type: ignore[method-assign]


def main() -> None:
    """Run as the module's docstring says."""
    heads.__path__.append(sys.argv[1])
    watching._STEPS_A_CHECKPOINT = 5
    if "KILL" in os.environ or "BREAK" in os.environ:
        hurt()
    zoo(sys.argv[2:])


if __name__ == "__main__":
    main()
