"""``python -m heads.digits`` fine-tunes, tests, exports and publishes this head."""

from heads.base.script import main
from heads.digits.head import HEAD

main(HEAD)
