#!/usr/bin/python3
"""The tables and the code agree: every option of src/config/options.inc is read by somebody, every metric of
src/metrics/metrics.h is fed by somebody, and what is generated from the tables is fresh.

    scripts/check-tables.py [BUILD]     where the programs are that generate; default build"""
import difflib
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SRC = ROOT / "src"
# document -> program in the build directory, arguments
GENERATED = {
    "docs/sqld.1": ["bin/sqld", "--print-man"],
    "docs/configuration.md": ["bin/sqld", "--print-config-reference"],
    "docs/client-compatibility.md": ["tools/client_table"],
}


def code_but_for(*names):
    return "\n".join(p.read_text() for ending in ("*.c", "*.h") for p in sorted(SRC.glob(f"*/{ending}"))
                     if str(p.relative_to(SRC)) not in names)


def check_options(problems):
    # The config file's own name is read by the loader.
    fields = re.findall(r"^OPTION_[A-Z]+\((\w+),", (SRC / "config/options.inc").read_text(), re.M)
    code = code_but_for()
    for field in fields:
        if field != "config_file" and not re.search(rf"(->|\.){field}\b", code):
            problems.append(f"src/config/options.inc: nobody reads {field}")
    if not fields:
        problems.append("src/config/options.inc: no options found")


def check_metrics(problems):
    metrics = re.findall(r"^\s*X\((METRICS_\w+),", (SRC / "metrics/metrics.h").read_text(), re.M)
    code = code_but_for("metrics/metrics.h", "metrics/metrics.c")
    for metric in metrics:
        if not re.search(rf"\b{metric}\b", code):
            problems.append(f"src/metrics/metrics.h: nobody feeds {metric}")
    if not metrics:
        problems.append("src/metrics/metrics.h: no metrics found")


def check_generated(build, problems):
    for name, (program, *arguments) in GENERATED.items():
        made = subprocess.run([build / program, *arguments], capture_output=True, text=True, check=True).stdout
        path = ROOT / name
        kept = path.read_text() if path.exists() else ""
        if made != kept:
            difference = difflib.unified_diff(kept.splitlines(), made.splitlines(), name, "the program's", lineterm="", n=0)
            problems.append(f"{name} is stale: run make docs\n" + "\n".join(list(difference)[:20]))


def check_man(problems):
    page = ROOT / "docs/sqld.1"
    done = subprocess.run(["man", "--warnings", "-l", str(page)], capture_output=True, text=True, check=False,
                          env={"LC_ALL": "C.UTF-8", "MANWIDTH": "80", "PATH": "/usr/bin:/bin"})
    if done.returncode != 0 or done.stderr:
        problems.append(f"docs/sqld.1: man complains:\n{done.stderr}")


def main():
    problems = []
    check_options(problems)
    check_metrics(problems)
    check_generated(Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else ROOT / "build", problems)
    check_man(problems)
    for problem in problems:
        print(problem)
    if problems:
        print(f"check-tables: {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
