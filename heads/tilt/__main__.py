"""``python -m heads.tilt`` fine-tunes, tests, exports and publishes this head."""

from heads.base.script import main
from heads.tilt.head import HEAD

main(HEAD)
