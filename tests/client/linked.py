"""Where the drop-in library is, and how programs are run with it. dropin.py is for those that were not built here."""

import os
import subprocess
from pathlib import Path

from server import BUILD, program

SQLD = program().resolve()
LIBRARY = SQLD.parents[1] / "lib" / "libsqlite3.so.0"
HERE = Path(__file__).parent
SANITIZE = os.environ.get("SQLD_TEST_SANITIZE", "")


def environment(kind, **more):
    """kind: "system" or "drop-in"."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("SQLD_") and k != "LD_LIBRARY_PATH"}
    if kind == "drop-in":
        env["LD_LIBRARY_PATH"] = str(LIBRARY.parent)
    env.update(more)
    return env


def compile_c(name, *flags, suffix=""):
    """tests/client/NAME, linked with the system's libsqlite3 as any application is. Returns the program or library, whose
    name ends in `suffix`. With a library that was built for a sanitizer, the program is, too: no other could load it."""
    out = BUILD / ("client-" + SANITIZE.split(",")[0] if SANITIZE else "client")
    out.mkdir(parents=True, exist_ok=True)
    is_library = "-shared" in flags
    made = out / (name.removesuffix(".c") + suffix + (".so" if is_library else ""))
    command = ["gcc" if SANITIZE else "cc", "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-O1", "-g", *flags]
    if SANITIZE:
        command += [f"-fsanitize={SANITIZE}", "-fno-sanitize-recover=all"]
    command += ["-o", made, HERE / name, *([] if is_library else ["-lsqlite3"])]
    subprocess.run([*map(str, command)], check=True, timeout=60)
    return made
