"""Publishes and promotes many versions of one head, as one of several processes that do so at once.

``python -m tests.support.eager_publisher <folder> <database URL or ""> <name> <count>`` makes the zoo if need be, waits
for a line on stdin, and prints the numbers it was given.
"""

import sys

from tests.support.fake_manifests import add_body, version_manifest
from zoo import Zoo


def main(folder: str, database_url: str, name: str, count: int) -> None:
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    with Zoo.open(folder, create=True, database_url=database_url) as zoo:
        body = add_body(zoo)
        for index in range(count):
            manifest = version_manifest(zoo, body, seed=f"{name} {index}", created_by=name)
            version = zoo.publish(manifest, promote_to=["prod"], reason=str(index))
            sys.stdout.write(f"{version.number}\n")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
