#!/usr/bin/python3
"""Makes docs/benchmarks.md and docs/benchmarks.svg from what bench.py measured.

    bench/report.py RESULTS.json DIR          writes both anew, without measuring

The tables show ratios first and the figures that they are made of beside them: a figure alone says as much about the machine
as about the server. The goals are those that sqld's execution core set itself; each is judged here, by the measured figures,
and one that could not be measured is not met."""
import json
import sys
from pathlib import Path

import plot

HISTOGRAM_BOUNDS_US = [100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000]

# The order of the tables; what is measured, in words; and what one unit of it is.
WORKLOADS = {
    "select_prepared": ("point select, prepared", "statement"),
    "select_extended": ("point select, extended protocol, parsed each time", "statement"),
    "select_simple": ("point select, simple protocol", "statement"),
    "select_pipelined": ("point select, prepared, 10 in a pipeline", "statement"),
    "update": ("update of one row", "commit"),
    "insert": ("insert of one row", "commit"),
    "mixed": ("mixed: 9 point selects to 1 update", "transaction"),
    "bulk_copy": ("bulk insert, COPY of 500,000 rows", "row"),
    "bulk_multi": ("bulk insert, INSERT of 1,000 rows each", "row"),
    "result": ("100,000-row result", "row"),
    "connect": ("open and close a connection", "connection"),
}
SHORT = {
    "select_prepared": "select prepared", "select_extended": "select extended", "select_simple": "select simple",
    "select_pipelined": "select pipelined", "update": "update", "insert": "insert", "mixed": "mixed 90/10",
    "bulk_copy": "COPY", "bulk_multi": "multi-row INSERT", "result": "100,000-row result", "connect": "connect, close",
}


class Points:
    """Finds what was measured. A point that failed has only "failed"; one that was not measured is empty."""

    def __init__(self, points):
        self.points = points

    def get(self, workload, clients, server):
        for point in reversed(self.points):
            if (point["workload"], point["clients"], point["server"]) == (workload, clients, server):
                return point
        return {}

    def figure(self, name, workload, clients, server):
        return self.get(workload, clients, server).get(name)

    def keys(self, workloads):
        """(workload, clients) of what was measured, in the order of `workloads`."""
        order = list(workloads)
        found = {(p["workload"], p["clients"]) for p in self.points if p["workload"] in workloads}
        return sorted(found, key=lambda key: (order.index(key[0]), key[1]))


def ratio(sqld, other):
    return sqld / other if sqld is not None and other else None


# --- figures as text ---


def number(value, digits=3):
    """Three significant digits and thousands' separators; a dash for what there is not."""
    if value is None:
        return "–"
    if value >= 10 ** (digits - 1):
        return f"{value:,.0f}"
    decimals = max(0, digits - len(str(int(value)))) if value >= 1 else digits - 1
    return f"{value:.{decimals}f}"


def times(value):
    return "–" if value is None else f"{value:.2f} ×"


def ms(us):
    return "–" if us is None else number(us / 1000)


def megabytes(size):
    return f"{size / 2**20:,.0f} MB"


def table(head, rows, align):
    marks = {"l": ":--", "r": "--:"}
    lines = [head, [marks[mark] for mark in align], *rows]
    return ["| " + " | ".join(map(str, line)) + " |" for line in lines] + [""]


def console(sqld, other):
    """One line for whoever watches the bench."""
    texts = []
    for name, point in (("sqld", sqld), ("PostgreSQL", other)):
        if "failed" in point:
            texts.append(f"{name} failed")
        elif point:
            errors = sum(point["errors"].values())
            texts.append(f"{name} {number(point['rate'])}/s, CPU {number(point['cpu_us'])} µs, p50 {ms(point['p50_us'])} "
                         f"p99 {ms(point['p99_us'])} max {ms(point['max_us'])} ms" + (f", {errors} errors" if errors else ""))
    cpu, rate = (ratio(sqld.get(name), other.get(name)) for name in ("cpu_us", "rate"))
    return (f"CPU {times(cpu)}, throughput {times(rate)}   " if cpu else "") + "   ".join(texts)


# What the drop-in client does, in words; what one unit is; and the name of what it is held against.
DROPIN = {
    "dropin_select": ("point select, prepared", "statement"),
    "dropin_insert": ("insert of one row, prepared", "commit"),
    "dropin_transaction": ("transaction of 1,000 inserts, prepared", "insert"),
    "dropin_scan": ("100,000-row scan", "row"),
    "dropin_local": ("point select, prepared, in a local database", "statement"),
}
BESIDE = {"libpq": "libpq", "sqlite": "SQLite's own library, local"}


def dropin_pair(points, name):
    """The drop-in's point, the other one, and the other one's name."""
    for key, beside in BESIDE.items():
        if points.get(name, 1, key):
            return points.get(name, 1, "dropin"), points.get(name, 1, key), beside
    return {}, {}, "–"


def dropin_time(points, name):
    """The drop-in's time, as a multiple of the other's."""
    mine, other, _ = dropin_pair(points, name)
    return ratio(other.get("rate"), mine.get("rate"))


def console_dropin(points, name):
    mine, other, beside = dropin_pair(points, name)
    return f"time {times(dropin_time(points, name))}   drop-in {number(mine.get('rate'))}/s   {beside} {number(other.get('rate'))}/s"


# --- the goals ---


class Goal:
    def __init__(self, text, limit, measured, is_met):
        self.text, self.limit, self.measured, self.is_met = text, limit, measured, is_met

    def verdict(self):
        return "not measured" if self.is_met is None else "met" if self.is_met else "**not met**"

    def line(self):
        return f"goal: {self.text}: {self.limit}; measured {self.measured}: {self.verdict().strip('*')}"


def limit_goal(text, value, most=None, least=None, show=times):
    if value is None:
        return Goal(text, f"≤ {show(most)}" if most is not None else f"≥ {show(least)}", "–", None)
    if most is not None:
        return Goal(text, f"≤ {show(most)}", show(value), value <= most)
    return Goal(text, f"≥ {show(least)}", show(value), value >= least)


def fairness_goals(points, clients=2000, base=8):
    many, few = points.get("fairness", clients, "sqld"), points.get("fairness", base, "sqld")
    name = f"{clients:,} connections that all write"
    lost = sum(many["errors"].values()) + many["unanswered"] if "rate" in many else None
    return [
        Goal(f"{name}: errors and statements without an answer", "none", "–" if lost is None else lost,
             None if lost is None else lost == 0),
        limit_goal(f"{name}: longest wait / median wait", ratio(many.get("max_us"), many.get("p50_us")), most=3),
        limit_goal(f"{name}: commits/s / those with {base} connections", ratio(many.get("rate"), few.get("rate")), least=0.8),
    ]


def idle_goals(results):
    idle = results.get("idle", {}).get("sqld", {})
    growth = results.get("connect_growth") or []
    last = growth[-1] if growth else None
    per = (last["after_bytes"] - last["before_bytes"]) / last["connections"] if last else None
    rate = Points(results["points"]).figure("rate", "connect", 8, "sqld")
    return [
        limit_goal("memory of sqld with 10,000 idle connections, each of which has run a statement", idle.get("used_bytes"),
                   most=200 * 2**20, show=megabytes),
        limit_goal("connections opened and closed in a minute", rate and 60 * rate, least=10_000, show=number),
        limit_goal("growth of sqld's memory for each connection opened and closed, in the last round", per, most=100,
                   show=lambda value: f"{value:,.0f} bytes"),
    ]


def dropin_goals(results, points):
    counts = results.get("local_instructions", {})
    time_of_scan = dropin_time(points, "dropin_scan")
    return [
        limit_goal("drop-in client, prepared point select: time, drop-in / libpq", dropin_time(points, "dropin_select"), most=1.1),
        limit_goal("the same, insert of one row", dropin_time(points, "dropin_insert"), most=1.1),
        limit_goal("100,000-row scan, rows/s, drop-in / SQLite in the process", ratio(1, time_of_scan), least=0.5),
        limit_goal("local database, prepared point select: time, drop-in / SQLite's own library",
                   dropin_time(points, "dropin_local"), most=1.02),
        limit_goal("the same, instructions", ratio(counts.get("dropin"), counts.get("sqlite")), most=1.02,
                   show=lambda value: f"{value:.3f} ×"),
    ]


def goals(results):
    points = Points(results["points"])

    def against(name, workload, clients):
        return ratio(points.figure(name, workload, clients, "sqld"), points.figure(name, workload, clients, "postgres"))

    cpu = points.figure("cpu_us", "select_prepared", 8, "sqld")
    return [
        limit_goal("server CPU per prepared point select, 8 clients, sqld / PostgreSQL",
                   against("cpu_us", "select_prepared", 8), most=0.4),
        limit_goal("the same, 64 clients", against("cpu_us", "select_prepared", 64), most=0.25),
        limit_goal("the same, 8 clients, sqld / embedded SQLite",
                   ratio(cpu, points.figure("cpu_us", "embedded_select", 1, "embedded")), most=2),
        limit_goal("one-row commits/s, 64 clients, sqld / PostgreSQL", against("rate", "update", 64), least=4),
        limit_goal("100,000-row result, rows/s, sqld / PostgreSQL", against("rate", "result", 1), least=1.5),
        limit_goal("p99 of prepared point reads under analytic load",
                   points.figure("p99_us", "analytic", 8, "sqld"), most=5000, show=lambda us: ms(us) + " ms"),
        *fairness_goals(points),
        *idle_goals(results),
        *dropin_goals(results, points),
    ]


# --- the document ---


def section_goals(results):
    rows = [(goal.text, goal.limit, goal.measured, goal.verdict()) for goal in goals(results)]
    return ["## Goals", "", *table(("goal", "limit", "measured", ""), rows, "lrrl")]


def section_how(results):
    machine, versions = results["machine"], results["versions"]
    settings = "; ".join(f"{server}: " + ", ".join(f"`{name} = {value}`" for name, value in values.items())
                         for server, values in results["settings"].items())
    return [
        "## How it was measured", "",
        *table(("", ""), [
            ("date", results["date"]),
            ("machine", f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gb']} GB; {machine['kernel']}, "
                        f"{machine['file_system']}"),
            ("versions", ", ".join(f"{name} {version}" for name, version in versions.items())),
            ("command", "`make bench`" + ("" if results["seconds"] == 3 and results["rounds"] == 2 else
                                          f", {results['seconds']:g} s, {results['rounds']} rounds")),
        ], "ll"),
        f"Both servers hold a table of {results['rows']:,} rows on the same file system and are reached over TCP on the same "
        "machine, without TLS. Clients and server share its cores. They take turns, run by run, while the other one is "
        f"stopped; {results['rounds']} rounds of {results['seconds']:g} seconds each are added up. Statements are pgbench's, "
        "the rest is made by `bench/load.c`. **CPU** is user and system time of all processes of the server, divided by what "
        "was done meanwhile; it says what a server costs, whatever the client takes. Latencies are exact percentiles of "
        "all transactions.", "",
        f"Settings that are not the default: {settings}. The account table has `fillfactor = 90` in PostgreSQL.", "",
    ]


def paired_rows(points, workloads, show_clients=True):
    rows = []
    for workload, clients in points.keys(workloads):
        sqld, other = points.get(workload, clients, "sqld"), points.get(workload, clients, "postgres")
        texts = [WORKLOADS[workload][0]] + ([clients] if show_clients else [])
        texts += [times(ratio(sqld.get(name), other.get(name))) for name in ("cpu_us", "rate")]
        for name, show in (("cpu_us", number), ("rate", number), ("p50_us", ms), ("p99_us", ms)):
            if not show_clients and name in ("p50_us", "p99_us"):
                continue
            texts.append(" / ".join("failed" if "failed" in point else show(point.get(name)) for point in (sqld, other)))
        rows.append(texts)
    return rows


def section_statements(points):
    names = [name for name in WORKLOADS if WORKLOADS[name][1] in ("statement", "commit", "transaction")]
    rows = paired_rows(points, names)
    if not rows:
        return []
    return ["## Statements", "",
            "Ratios are sqld / PostgreSQL: CPU is better below 1, throughput above. The other columns are sqld / PostgreSQL.",
            "", *table(("workload", "clients", "CPU", "throughput", "CPU µs each", "per second", "p50 ms", "p99 ms"), rows,
                       "lrrrrrrr")]


def section_bulk(points):
    names = [name for name in WORKLOADS if WORKLOADS[name][1] in ("row", "connection")]
    rows = paired_rows(points, names, show_clients=False)
    if not rows:
        return []
    return ["## Bulk, large results, connections", "",
            "One client (8 threads for connections); each row, or connection, counts.", "",
            *table(("workload", "CPU", "throughput", "CPU µs each", "per second"), rows, "lrrrr")]


def section_embedded(points):
    rows = []
    for name, of, text in (
            ("embedded_select", ("select_prepared", 8), "prepared point select, 8 clients"),
            ("embedded_select_transaction", ("select_pipelined", 8), "the same, pipelined, against one read transaction"),
            ("embedded_scan", ("result", 1), "a row of 100,000"),
            ("embedded_update", ("update", 64), "update of one row, 64 clients")):
        limit, sqld = points.get(name, 1, "embedded"), points.get(*of, "sqld")
        if limit:
            rows.append((text, times(ratio(sqld.get("cpu_us"), limit["cpu_us"])),
                         times(ratio(sqld.get("rate"), limit["rate"])),
                         f"{number(sqld.get('cpu_us'))} / {number(limit['cpu_us'])}",
                         f"{number(sqld.get('rate'))} / {number(limit['rate'])}"))
    if not rows:
        return []
    return ["## Embedded SQLite, the limit", "",
            "SQLite in a process of its own, one thread, no network, with the page cache that sqld's connections have, WAL, "
            "`synchronous = FULL`. Ratios and pairs are sqld / embedded.", "",
            *table(("workload", "CPU", "throughput", "CPU µs each", "per second"), rows, "lrrrr")]


def section_dropin(results, points):
    rows = []
    for name, (text, unit) in DROPIN.items():
        mine, other, beside = dropin_pair(points, name)
        if mine and other:
            each = [number(1e6 / point["rate"]) for point in (mine, other)]
            rows.append((text, beside, times(dropin_time(points, name)), " / ".join(each), unit))
    if not rows:
        return []
    lines = ["## The drop-in client", "",
             "An application of SQLite's interface (`bench/dropin.c`), one connection, one thread, that waits for each answer: with "
             "the drop-in `libsqlite3.so.0` and sqld, beside the same over libpq (`PQexecPrepared()`, everything in binary) and the "
             "same server, or beside SQLite's own library and a file. Turns are short and alternate; the time is the application's.",
             "", *table(("workload", "beside", "time", "µs each", "of a"), rows, "llrrl")]
    counts = results.get("local_instructions")
    if counts:
        lines += [f"A point select in a local database takes {number(counts['dropin'])} instructions with the drop-in and "
                  f"{number(counts['sqlite'])} without: {counts['dropin'] / counts['sqlite']:.3f} ×.", ""]
    return lines


def section_floor(points):
    rows = []
    for workload, clients in points.keys(["floor"]):
        floor = points.figure("cpu_us", workload, clients, "floor")
        servers = [points.figure("cpu_us", "select_prepared", clients, key) for key in ("sqld", "postgres")]
        rows.append((clients, number(floor), *(f"{number(cpu)} ({times(ratio(cpu, floor))})" for cpu in servers)))
    if not rows:
        return []
    return ["## The network, the other limit", "",
            "The prepared point select, asked of a server that answers with the same bytes without looking (`bench/floor.c`): "
            "what it costs to receive and to send. CPU in µs for each, and as a multiple of that.", "",
            *table(("clients", "network alone", "sqld", "PostgreSQL"), rows, "rrrr")]


def section_idle(results):
    rows = []
    for key, name in (("sqld", "sqld"), ("postgres", "PostgreSQL")):
        idle = results.get("idle", {}).get(key)
        if not idle:
            continue
        count = idle["connections"]
        if "failed" in idle:
            rows.append((name, f"{count:,}", "failed", "failed", "failed"))
            continue
        each = [f"{number((idle[state] - idle['before_bytes']) / count / 1024)} kB" for state in ("opened_bytes", "used_bytes")]
        rows.append((name, f"{count:,}", *each, megabytes(idle["used_bytes"])))
    if not rows:
        return []
    return ["## Idle connections", "",
            "Memory (Pss, all processes of the server) for each connection: just opened, and after each has run a point select "
            "and was left alone.", "",
            *table(("server", "connections", "opened", "used once", "server in all"), rows, "lrrrr")]


def section_analytic(results, points):
    analytic = results.get("analytic")
    if not analytic or not analytic["counts"]:
        return []
    bounds, counts = analytic["bounds_us"], analytic["counts"]
    names = {key: name for key, name in (("sqld", "sqld"), ("postgres", "PostgreSQL")) if key in counts}
    rows = []
    for index in range(len(bounds) + 1):
        label = f"≤ {bounds[index] / 1000:g} ms" if index < len(bounds) else f"> {bounds[-1] / 1000:g} ms"
        rows.append([label] + [f"{counts[key][index]:,} ({100 * counts[key][index] / max(1, sum(counts[key])):.2f} %)"
                               for key in names])
    for label, name in (("**p50**", "p50_us"), ("**p99**", "p99_us"), ("**p99.9**", "p999_us"), ("**max**", "max_us")):
        rows.append([label] + [ms(points.figure(name, "analytic", 8, key)) + " ms" for key in names])
    return ["## Point reads under analytic load", "",
            f"{analytic['busy']} connections run cross joins that never end, on {results['machine']['cores']} cores; 8 others "
            "do prepared point reads, each the next when the last is answered. How long those take:", "",
            *table(("latency", *names.values()), rows, "l" + "r" * len(names))]


def section_fairness(points):
    rows = []
    for workload, clients in points.keys(["fairness"]):
        point = points.get(workload, clients, "sqld")
        if "failed" in point:
            rows.append((f"{clients:,}", "failed", "", "", "", "", ""))
            continue
        errors = ", ".join(f"{count} × {text}" for text, count in point["errors"].items()) or "0"
        rows.append((f"{clients:,}", number(point["rate"]), ms(point["p50_us"]), ms(point["max_us"]),
                     times(ratio(point["max_us"], point["p50_us"])), errors, point["unanswered"]))
    if not rows:
        return []
    return ["## Many writers", "",
            "Connections to sqld that all update one row, each the next when the last is committed.", "",
            *table(("connections", "commits/s", "median wait ms", "longest wait ms", "longest / median", "errors",
                    "unanswered"), rows, "rrrrrlr")]


def section_failures(results):
    if not results["failures"]:
        return []
    return ["## What failed", "", *[f"- {failure}" for failure in results["failures"]], ""]


def markdown(results):
    points = Points(results["points"])
    lines = ["# Benchmarks", "", "<!-- Written by `make bench` (bench/report.py). -->", "",
             "sqld beside PostgreSQL and beside SQLite without a server, measured in one run on one machine.", "",
             "![sqld / PostgreSQL](benchmarks.svg)", "",
             *section_goals(results), *section_how(results), *section_statements(points), *section_bulk(points),
             *section_embedded(points), *section_dropin(results, points), *section_floor(points), *section_idle(results), *section_analytic(results, points),
             *section_fairness(points), *section_failures(results)]
    return "\n".join(lines).rstrip("\n") + "\n"


def drawing(results):
    """The plot: the ratios of everything that both servers did, and the latencies under analytic load."""
    points = Points(results["points"])
    bars = []
    for workload, clients in points.keys(WORKLOADS):
        sqld, other = points.get(workload, clients, "sqld"), points.get(workload, clients, "postgres")
        cpu, rate = (ratio(sqld.get(name), other.get(name)) for name in ("cpu_us", "rate"))
        if cpu and rate:
            label = SHORT[workload] + (f", {clients}" if WORKLOADS[workload][1] not in ("row", "connection") else "")
            bars.append((label, cpu, rate))
    analytic = results.get("analytic") or {"bounds_us": HISTOGRAM_BOUNDS_US, "counts": {}}
    lines = [(name, analytic["counts"][key]) for key, name in (("sqld", "sqld"), ("postgres", "PostgreSQL"))
             if key in analytic["counts"]]
    return plot.draw(bars, analytic["bounds_us"], lines)


def write(results, directory):
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "benchmarks.md").write_text(markdown(results))
    (directory / "benchmarks.svg").write_text(drawing(results))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: bench/report.py RESULTS.json DIR")
    write(json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2]))
