"""``python -m heads.urgency`` fine-tunes, tests, exports and publishes this head."""

from heads.base.script import main
from heads.urgency.head import HEAD

main(HEAD)
