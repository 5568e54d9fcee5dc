"""Texts about comparisons: the table, the differences, the page in docs/."""

import difflib

from results import CRASH, END, FAIL, OK, SKIP

TITLES_SHOWN_MAX = 40
DETAIL_CHARS_MAX = 4000


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


def table(done, skipped):
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
    return text


def indented(text):
    return "".join(f"    {line}\n" for line in text[-DETAIL_CHARS_MAX:].splitlines())


def difference(d):
    """One difference in full."""
    text = d.title() + "\n"
    if d.reason:
        text += f"    known: {d.reason}\n"
    if d.baseline.value != d.dropin.value:
        before, after = d.baseline.value.splitlines(), d.dropin.value.splitlines()
        text += indented("\n".join(difflib.unified_diff(before, after, "baseline", "drop-in", lineterm="")))
    for which, outcome in (("baseline", d.baseline), ("drop-in", d.dropin)):
        if outcome.detail and outcome.outcome != OK:
            text += f"    {which}:\n" + indented(outcome.detail)
    return text


def differences(compared, *, details):
    """In full, or the titles of the first ones that are unexpected."""
    if details:
        return "".join([f"=== {compared.program}\n", *map(difference, compared.differences)])
    unexpected = compared.unexpected()
    text = "".join(f"  {d.title()}\n" for d in unexpected[:TITLES_SHOWN_MAX])
    if len(unexpected) > TITLES_SHOWN_MAX:
        text += f"  … and {len(unexpected) - TITLES_SHOWN_MAX} more\n"
    return text


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
        for d in compared.differences:
            name = "the unit's end" if d.name == END else d.name
            cells = (f"`{d.unit}` {name}", *d.outcomes(), d.reason or "**unexpected**")
            text += "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |\n"
    return text
