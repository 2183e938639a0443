"""``python -m heads.pii`` fine-tunes, tests, exports and publishes this head."""

from heads.base.script import main
from heads.pii.head import HEAD

main(HEAD)
