"""Who is at work, for the record: the git user, or else the login name."""

import getpass
import subprocess

__all__ = ["author"]


def author() -> str:
    """Return git's user name, or the login name, or 'unknown'."""
    try:
        asked = subprocess.run(["git", "config", "user.name"], capture_output=True, text=True, check=False)  # noqa: S607
        if name := asked.stdout.strip():
            return name
    except OSError:
        pass  # no git on this machine
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"
