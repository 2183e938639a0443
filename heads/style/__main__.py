"""``python -m heads.style`` fine-tunes, tests, exports and publishes this head."""

from heads.base.script import main
from heads.style.head import HEAD

main(HEAD)
