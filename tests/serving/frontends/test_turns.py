import os
import subprocess
import sys

LINES = """
import sys
from serving.frontends.turns import in_turn
from serving.logs import write_to

write = in_turn(2, write_to(2))
for start in range(0, 3000, 250):
    write("".join(f"{sys.argv[1]}{number:0>200}\\n" for number in range(start, start + 250)).encode())
"""


def test_lines_that_several_processes_write_to_one_pipe_stay_whole() -> None:
    ours, theirs = os.pipe()
    writers = [subprocess.Popen([sys.executable, "-c", LINES, name], stderr=theirs) for name in "ab"]
    os.close(theirs)
    with os.fdopen(ours, "rb") as pipe:
        lines = pipe.read().decode().splitlines()
    assert [writer.wait(20) for writer in writers] == [0, 0]
    for name in "ab":
        assert [line for line in lines if line.startswith(name)] == [f"{name}{number:0>200}" for number in range(3000)]
    assert len(lines) == 6000
