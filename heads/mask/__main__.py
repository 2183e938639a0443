"""``python -m heads.mask`` fine-tunes, tests, exports and publishes this head."""

from heads.base.script import main
from heads.mask.head import HEAD

main(HEAD)
