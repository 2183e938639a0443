"""What fine-tuning can refuse, on one page. Every error has a stable ``code`` for programs to test.

::

    HeadsError
    ├── InvalidHead       a declaration that does not add up, or does not fit its labels or its backbone
    ├── InvalidRecipe     a recipe with an unknown key or a value out of range
    ├── UnknownTeam       no head package of that name
    ├── BackboneChanged   the source of a backbone no longer gives the stages that the zoo has
    ├── FormsFixed        a precision for stages that the zoo has already without it
    ├── LibraryMissing    a library that was asked for and is not installed
    ├── RunAtWork         a run in which another process is at work
    ├── CheckpointFailed  a checkpoint that cannot be written or read
    ├── TrainingFailed    a loss that is not a number
    ├── ProcessLost       of several processes that build together, one failed or is gone
    └── FirstProcessFailed  the same, as the others see it

The zoo refuses the rest, whoever builds: a head below its gate is ``zoo.errors.GateMissed``, an export too far
from the torch model ``zoo.errors.ParityMissed``, labels that do not add up ``zoo.errors.InvalidLabels``.
"""

__all__ = [
    "BackboneChanged",
    "CheckpointFailed",
    "FirstProcessFailed",
    "FormsFixed",
    "HeadsError",
    "InvalidHead",
    "InvalidRecipe",
    "LibraryMissing",
    "ProcessLost",
    "RunAtWork",
    "TrainingFailed",
    "UnknownTeam",
]


class HeadsError(Exception):
    """The root of everything that fine-tuning raises on purpose; its text is written for the team."""

    code = "heads"


class InvalidHead(HeadsError):
    """A head's declaration does not add up, or does not fit its labels or its backbone."""

    code = "heads.invalid_head"


class InvalidRecipe(HeadsError):
    """A recipe has an unknown key or a value out of range; the text names the closest key and the file."""

    code = "heads.invalid_recipe"


class UnknownTeam(HeadsError):
    """There is no head package of that name; the text names the closest."""

    code = "heads.unknown_team"


class BackboneChanged(HeadsError):
    """A backbone's source no longer gives the stages that the zoo has, so features would not match them."""

    code = "heads.backbone_changed"


class FormsFixed(HeadsError):
    """A backbone is asked in a precision that the zoo's stages of it lack; what a stage is stored as never changes."""

    code = "heads.forms_fixed"


class LibraryMissing(HeadsError):
    """A library that is optional was asked for and is not installed; the text says how to install it."""

    code = "heads.missing_library"


class RunAtWork(HeadsError):
    """Another process is at work in the run; the text says where."""

    code = "heads.run_at_work"


class CheckpointFailed(HeadsError):
    """The state of a run cannot be written, as on a full disk, or read; nothing half written is left."""

    code = "heads.checkpoint_failed"


class TrainingFailed(HeadsError):
    """Training reached a loss that is not a number, or that diverges; the text names the step."""

    code = "heads.training_failed"


class ProcessLost(HeadsError):
    """Of several processes that build together, one failed or is gone; the text says which, if it is known."""

    code = "heads.process_lost"


class FirstProcessFailed(HeadsError):
    """Of several processes that build together, the first one failed; the text is what it says itself."""

    code = "heads.first_process_failed"
