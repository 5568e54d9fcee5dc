#!/usr/bin/python3
"""What the compiler and the linters cannot say about the tree's files.

- Functions that nobody should call: see BANNED for the reason and for what to write instead.
- Names that belong to somebody's machine: absolute home and work directories.
- Functions of at most 70 lines, files of at most 800 (generated tables and tests' files excepted).
- LF line ends, no tabs in C and Python, no blanks at line ends, a newline at the end of a file.
- No TODO or FIXME: what is not done is an issue, not a comment.

A line that has a good reason says so: `/* banned-ok: why */`."""
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FUNCTION_LINES_MAX = 70
FILE_LINES_MAX = 800

BANNED = {
    "strcpy": "snprintf() or memcpy() with a checked length",
    "strcat": "struct sq_buf",
    "strncpy": "snprintf(): strncpy() may leave the NUL out",
    "strncat": "struct sq_buf",
    "stpcpy": "snprintf()",
    "sprintf": "snprintf()",
    "vsprintf": "vsnprintf()",
    "gets": "a bounded read",
    "scanf": "a parser that says what is wrong",
    "sscanf": "a parser that says what is wrong",
    "fscanf": "a parser that says what is wrong",
    "atoi": "a parser that reports errors",
    "atol": "a parser that reports errors",
    "atoll": "a parser that reports errors",
    "atof": "strtod() with its end checked",
    "strtok": "strcspn()",
    "strtok_r": "strcspn()",
    "alloca": "struct sq_arena",
    "strdupa": "struct sq_arena",
    "rand": "sq_random_fill()",
    "srand": "sq_random_fill()",
    "random": "sq_random_fill()",
    "system": "nothing: sqld starts no programs",
    "popen": "nothing: sqld starts no programs",
    "fork": "nothing: sqld starts no programs",
    "execl": "nothing: sqld starts no programs",
    "execv": "nothing: sqld starts no programs",
    "execve": "nothing: sqld starts no programs",
    "execvp": "nothing: sqld starts no programs",
    "tmpnam": "mkstemp()",
    "tempnam": "mkstemp()",
    "mktemp": "mkstemp()",
    "strerror": "strerrordesc_np(), which threads may share, or sq_fail_errno()",
    "localtime": "localtime_r() or gmtime_r()",
    "gmtime": "gmtime_r()",
    "ctime": "strftime()",
    "asctime": "strftime()",
    "gethostbyname": "getaddrinfo()",
    "inet_addr": "inet_pton()",
    "inet_ntoa": "inet_ntop()",
    "setjmp": "sq_status",
    "longjmp": "sq_status",
    "sleep": "a deadline in the event loop, or a condition",
    "usleep": "a deadline in the event loop, or a condition",
    "nanosleep": "a deadline in the event loop, or a condition",
    "signal": "sigaction() or signalfd(); to ignore one, signal(NAME, SIG_IGN) will do",
    "assert": "sq_assert(), which release builds keep",
}
BANNED_CALL = re.compile(r"(?<![\w.>])(" + "|".join(map(re.escape, BANNED)) + r")\s*\(")
IGNORING = re.compile(r"signal\s*\(\s*SIG\w+\s*,\s*SIG_IGN\s*\)")
# Tests may start programs, catch their signals and read what they print.
ALLOWED_IN_TESTS = {"signal", "sscanf", "fork", "execl", "execv", "execve", "execvp", "assert", "setjmp", "longjmp"}

MACHINE_PATH = re.compile(r"(?<![\w.])/(?:root|work|home/\w+|Users/\w+|mnt/\w+|tmp/h)/")
UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
C_COMMENT_OR_TEXT = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)
BINARY_SUFFIXES = {".png", ".gif", ".db", ".bin", ".pcap", ".pcapng"}
# Not ours to format: recorded inputs.
DATA = re.compile(r"^tests/(fuzz/corpus|crash/corpus|data)/|(^|/)package-lock\.json$")


def tracked_files():
    """What git has or will have, so that new files are checked before they are committed."""
    listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT,
                            capture_output=True, check=False)
    if listed.returncode != 0:  # an unpacked archive
        skipped = {".git", "build"}
        for path in sorted(ROOT.rglob("*")):
            parts = path.relative_to(ROOT).parts
            if path.is_file() and not any(p in skipped or p.startswith("build-") for p in parts):
                yield str(path.relative_to(ROOT))
        return
    for name in sorted(set(listed.stdout.decode().split("\0")) - {""}):
        if (ROOT / name).is_file() and not (ROOT / name).is_symlink():
            yield name


def blank_out(text):
    """C without comments and literals, with every line where it was."""
    return C_COMMENT_OR_TEXT.sub(lambda m: re.sub(r"[^\n]", " ", m.group(0)), text)


def check_c(name, text, complain):
    lines = text.split("\n")
    code = blank_out(text)
    in_tests = name.startswith("tests/")
    for found in BANNED_CALL.finditer(code):
        line, word = code.count("\n", 0, found.start()), found.group(1)
        is_allowed = (in_tests and word in ALLOWED_IN_TESTS) or IGNORING.match(code, found.start())
        if is_allowed or "banned-ok:" in lines[line]:
            continue
        complain(line, f"{word}() is banned; use {BANNED[word]}")
    start = None
    for index, line in enumerate(code.split("\n")):
        if line.startswith("{"):
            start = index
        elif line.startswith("}") and start is not None:
            if index - start - 1 > FUNCTION_LINES_MAX and not in_tests:
                complain(start, f"this function has {index - start - 1} lines; at most {FUNCTION_LINES_MAX}")
            start = None
    if len(lines) - 1 > FILE_LINES_MAX and not in_tests:
        complain(0, f"this file has {len(lines) - 1} lines; at most {FILE_LINES_MAX}")
    if "\t" in text:
        complain(text.count("\n", 0, text.index("\t")), "there is a tab")


def check_text(name, text, complain):
    for index, line in enumerate(text.split("\n")):
        if "banned-ok:" in line:
            continue
        if line.endswith((" ", "\t")) and not name.endswith(".md"):
            complain(index, "there are blanks at the line's end")
        if "\r" in line:
            complain(index, "there is a CR")
        if MACHINE_PATH.search(line):
            complain(index, "this names a directory of one machine")
        if name != "scripts/check-banned.py" and UNFINISHED.search(line) and name.startswith(("src/", "tests/", "scripts/")):
            if name.endswith((".c", ".h", ".inc", ".py", ".sh")) and "mkstemp" not in line and "XXXXXX" not in line:
                complain(index, "unfinished: finish it or open an issue")
    if text and not text.endswith("\n"):
        complain(text.count("\n"), "there is no newline at the end of the file")


def main():
    problems = []
    for name in tracked_files():
        path = ROOT / name
        if path.suffix in BINARY_SUFFIXES or DATA.search(name):
            continue
        try:
            text = path.read_bytes().decode()
        except UnicodeDecodeError:
            problems.append(f"{name}: this is not UTF-8")
            continue

        def complain(line_index, what, where=name):
            problems.append(f"{where}:{line_index + 1}: {what}")

        check_text(name, text, complain)
        if path.suffix in (".c", ".h", ".inc"):
            check_c(name, text, complain)
    for problem in problems:
        print(problem)
    if problems:
        print(f"check-banned: {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
