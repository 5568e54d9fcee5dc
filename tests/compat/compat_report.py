"""Texts about comparisons: the table, the differences, the page in docs/."""

import difflib

from results import ABSENT, CRASH, END, FAIL, OK, SKIP

TITLES_SHOWN_MAX = 40
SAME_SHOWN_MAX = 4  # of a unit's differences of one kind; more are counted
DETAIL_CHARS_MAX = 4000
DIFF_LINES_MAX = 60


def counts(results):
    units = len(results.units())
    words = ", ".join(f"{results.count(o)} {o}" for o in (OK, FAIL, SKIP, CRASH) if results.count(o))
    return f"{results.program}, {results.versions}: {words}, in {units} units"


def rows(done):
    for module, compared in done:
        units = len(compared.baseline.units())
        yield (
            module.TITLE,
            str(compared.baseline.count(OK)),
            str(compared.dropin.count(OK)),
            str(compared.differing_tests()),
            f"{compared.share():.2f} %",
            str(len(compared.unexpected())),
            f"{compared.units_same()} of {units}",
        )


HEAD = ("program", "baseline passed", "drop-in passed", "differences", "of all", "unexpected", "units without any")


def table(done, skipped, failed):
    """As plain text."""
    lines = [HEAD, *rows(done)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEAD))]
    text = ""
    for first, *rest in lines:
        cells = [first.ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(rest, widths[1:]))]
        text += "  ".join(cells) + "\n"
    for module, compared in done:
        for known in compared.stale:
            text += f'STALE {module.NAME}: no test differs any more that matches "{known.pattern}"\n'
    for module, why in skipped:
        text += f"SKIPPED {module.TITLE}: {why}\n"
    for module, why in failed:
        text += f"FAILED {module.TITLE}: {why}\n"
    return text


def indented(text):
    return "".join(f"    {line}\n" for line in text.splitlines())


def difference(d):
    """One difference in full."""
    text = d.title() + "\n"
    if d.reason:
        text += f"    known: {d.reason}\n"
    if d.baseline.value != d.dropin.value:
        before, after = d.baseline.value.splitlines(), d.dropin.value.splitlines()
        lines = list(difflib.unified_diff(before, after, "baseline", "drop-in", lineterm="", n=1))
        left = len(lines) - DIFF_LINES_MAX
        text += indented("\n".join(lines[:DIFF_LINES_MAX]) + (f"\n… and {left} more lines" if left > 0 else ""))
    for which, outcome in (("baseline", d.baseline), ("drop-in", d.dropin)):
        if outcome.detail and outcome.outcome != OK:
            text += f"    {which}:\n" + indented(outcome.detail[-DETAIL_CHARS_MAX:])
    return text


def absent(found):
    """There is nothing to say about tests that did not run but their names."""
    units = {}
    for d in found:
        if d.dropin.outcome == ABSENT:
            units.setdefault((d.unit, d.reason), []).append(d.name)
    for (unit, reason), names in units.items():
        yield f"{unit}, did not run: {', '.join(names)}\n" + (f"    known: {reason}\n" if reason else "")


def grouped(found):
    """(unit, name, before, after, reason) of each difference; many of a kind in one unit are one, with their number."""
    kinds = {}
    for d in found:
        kinds.setdefault((d.unit, d.outcomes(), d.reason), []).append(d.name)
    for (unit, outcomes, reason), names in kinds.items():
        if len(names) > SAME_SHOWN_MAX:
            names = [f"{names[0]} and {len(names) - 1} more"]
        for name in names:
            yield unit, "the unit's end" if name == END else name, *outcomes, reason


def differences(compared, *, details):
    """In full, or the titles of the first ones that are unexpected."""
    if details:
        told = [difference(d) for d in compared.differences if d.dropin.outcome != ABSENT]
        return "".join([f"=== {compared.program}\n", *told, *absent(compared.differences)])
    rows = [
        f"  {unit} {name}: {before} -> {after}\n" for unit, name, before, after, _ in grouped(compared.unexpected())
    ]
    more = [f"  … and {len(rows) - TITLES_SHOWN_MAX} more\n"] if len(rows) > TITLES_SHOWN_MAX else []
    return "".join(rows[:TITLES_SHOWN_MAX] + more)


def page(done, skipped):
    """docs/compatibility-results.md"""
    text = (
        "# Programs that nobody here wrote\n\n"
        "<!-- Made by `make compat-docs`. -->\n\n"
        "Each program's own tests are run twice: with Debian's libsqlite3, and with the drop-in library and a live\n"
        "sqld, where every file database is remote. [tests/compat](../tests/compat/README.md) says how.\n\n"
    )
    text += "| " + " | ".join(HEAD) + " |\n|---" + "|--:" * (len(HEAD) - 1) + "|\n"
    text += "".join("| " + " | ".join(row) + " |\n" for row in rows(done))
    text += "".join(f"| {module.TITLE} | not run: {why} |" + " |" * (len(HEAD) - 2) + "\n" for module, why in skipped)
    text += "\n" + "".join(f"- {counts(compared.baseline)}\n" for _, compared in done)
    for module, compared in done:
        if not compared.differences:
            continue
        text += f"\n## {module.TITLE}\n\n| test | baseline | drop-in | why |\n|---|---|---|---|\n"
        for unit, name, before, after, reason in grouped(compared.differences):
            cells = (f"`{unit}` {name}", before, after, reason or "**unexpected**")
            text += "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |\n"
    return text
