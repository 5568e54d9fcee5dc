"""Test programs in other languages: each runs all of its cases once and says `ok NAME` or `not ok NAME - why` for each.

The names of the cases are read from the program's source, so that pytest lists them one by one, and a case that the
program never reached fails.
"""

import re
import subprocess
from pathlib import Path


def cases(source, pattern):
    names = re.findall(pattern, Path(source).read_text(), re.M)
    assert names and len(set(names)) == len(names), f"{source}: no cases, or a name twice"
    return names


class Report:
    def __init__(self, command, env, cwd=None, timeout=100):
        try:
            done = subprocess.run(
                list(map(str, command)),
                env=env,
                cwd=cwd,
                capture_output=True,
                text=True,
                timeout=timeout,
                stdin=subprocess.DEVNULL,
            )
            self.text, self.code = done.stdout + done.stderr, done.returncode
        except subprocess.TimeoutExpired as e:
            self.text = f"{(e.stdout or b'').decode()}{(e.stderr or b'').decode()}\nended after {timeout} s"
            self.code = None

    def check(self, name):
        for line in self.text.splitlines():
            if line == f"ok {name}":
                return
            if line.startswith(f"not ok {name} - "):
                raise AssertionError(f"{line}\n\n{self.text[-6000:]}")
        raise AssertionError(f"the program did not get to {name} (exit code {self.code}):\n{self.text[-6000:]}")
