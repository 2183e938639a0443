"""The training loop: plain torch over a split in memory, the same weights for the same seed.

``train_head`` trains a ``heads.base.network.Network`` as a recipe says and gives it the weights that the valid split
chooses. ``encode`` prepares a split for it; ``outputs_of`` and ``answers_of`` say what a trained network answers.
An ``Observer`` is told each ``StepRecord`` and ``EpochRecord``; ``Checkpoints`` let a run that was killed go on.
``heads.base.training.finder`` looks for a learning rate.
"""

from heads.base.training.checkpoint import Checkpoints
from heads.base.training.course import learning_rate_at
from heads.base.training.encoded import Encoded, encode
from heads.base.training.loop import Trained, train_head
from heads.base.training.observing import EpochProgress, EpochRecord, Observer, StepRecord
from heads.base.training.scoring import answers_of, outputs_of

__all__ = [
    "Checkpoints",
    "Encoded",
    "EpochProgress",
    "EpochRecord",
    "Observer",
    "StepRecord",
    "Trained",
    "answers_of",
    "encode",
    "learning_rate_at",
    "outputs_of",
    "train_head",
]
