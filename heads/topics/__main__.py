"""``python -m heads.topics`` fine-tunes, tests, exports and publishes this head."""

from heads.base.script import main
from heads.topics.head import HEAD

main(HEAD)
