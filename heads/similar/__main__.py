"""``python -m heads.similar`` fine-tunes, tests, exports and publishes this head."""

from heads.base.script import main
from heads.similar.head import HEAD

main(HEAD)
