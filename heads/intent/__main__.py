"""``python -m heads.intent`` fine-tunes, tests, exports and publishes this head."""

from heads.base.script import main
from heads.intent.head import HEAD

main(HEAD)
