"""``python -m heads.glyphs`` fine-tunes, tests, exports and publishes this head."""

from heads.base.script import main
from heads.glyphs.head import HEAD

main(HEAD)
