#!/usr/bin/python3
"""clang-tidy (.clang-tidy) and cppcheck over src/.

    scripts/lint.py [FILE.c]...       default: all of src/

What clang-tidy found clean is remembered in build/lint, by the contents of the file, of all headers and of its settings,
so that a second run looks only at what has changed. A finding that is wrong is silenced where it stands, with the reason:
`// NOLINT(check-name): why` or `// cppcheck-suppress id ; why`."""
import concurrent.futures
import hashlib
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SRC = ROOT / "src"
CACHE = ROOT / "build" / "lint"
# The analyser gives up on a function after so many states (its own default is 225000): twice as fast, and what it finds
# behind that is mostly wrong.
NODES_MAX = 60000
FLAGS = ["-std=gnu11", "-D_GNU_SOURCE", '-DSQLD_VERSION="0"', '-DCLIENT_REAL_PATH="/"', f"-I{SRC}", "-include",
         "base/status.h", "-include", str(ROOT / "scripts/lint.h"), "-Xclang", "-analyzer-config", "-Xclang",
         f"max-nodes={NODES_MAX}"]

# memleak: does not know SQ_CLEANUP. missingIncludeSystem: system headers are not parsed. arrayIndexOutOfBounds: does not
# understand a loop that counts down with `i-- > 0`; the compilers and sanitizers look for the same.
CPPCHECK = ["cppcheck", "--quiet", "--std=c11", "--enable=warning,performance,portability", "--inline-suppr",
            "--error-exitcode=1", "--suppress=missingIncludeSystem", "--suppress=memleak",
            "--suppress=arrayIndexOutOfBounds", "-D_GNU_SOURCE",
            '-DSQLD_VERSION="0"', '-DCLIENT_REAL_PATH="/"', "-D__x86_64__", "-Isrc"]


def environment_digest():
    """Of everything but the file itself that decides what clang-tidy says."""
    digest = hashlib.sha256()
    version = subprocess.run(["clang-tidy", "--version"], capture_output=True, check=True).stdout
    digest.update(version + "\0".join(FLAGS).encode())
    for path in [ROOT / ".clang-tidy", ROOT / "scripts/lint.h", *sorted(SRC.glob("*/*.h")), *sorted(SRC.glob("*/*.inc"))]:
        digest.update(path.read_bytes())
    return digest.digest()


def tidy(path, base):
    stamp = CACHE / hashlib.sha256(base + str(path).encode() + path.read_bytes()).hexdigest()
    if stamp.exists():
        return ""
    done = subprocess.run(["clang-tidy", "--quiet", str(path.relative_to(ROOT)), "--", *FLAGS], cwd=ROOT,
                          capture_output=True, text=True, check=False)
    if done.returncode == 0 and not done.stdout:
        stamp.touch()
        return ""
    return done.stdout + (done.stderr if "error:" in done.stderr or not done.stdout else "")


def main():
    files = [Path(name).resolve() for name in sys.argv[1:]] or sorted(SRC.glob("*/*.c"))
    CACHE.mkdir(parents=True, exist_ok=True)
    base, found = environment_digest(), 0
    workers = os.cpu_count() or 1
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        for output in pool.map(lambda path: tidy(path, base), files):
            if output:
                found += 1
                print(output)
    if len(sys.argv) == 1:
        build = ROOT / "build" / "cppcheck"
        build.mkdir(parents=True, exist_ok=True)
        done = subprocess.run([*CPPCHECK, f"-j{workers}", f"--cppcheck-build-dir={build}", "src"], cwd=ROOT, check=False)
        found += done.returncode != 0
    if found:
        print(f"lint: findings in {found} places")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
