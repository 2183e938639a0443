"""Logs many readings of one head, as one of several processes that do so at once.

``python -m tests.support.eager_reader <folder> <database URL or ""> <name> <count>`` waits for a line on stdin.
"""

import sys

from zoo import Zoo
from zoo.registry import NewReading


def main(folder: str, database_url: str, name: str, count: int) -> None:
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    with Zoo.open(folder, database_url=database_url) as zoo:
        for index in range(count):
            zoo.log_reading(NewReading("intent", "a" * 64, "b" * 64, "c" * 64, name, str(index)))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
