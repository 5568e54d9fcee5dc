"""Draws docs/benchmarks.svg: two columns of bars (CPU and throughput, sqld / PostgreSQL) and, below them, how the latencies
of point reads under analytic load are spread. SVG by hand: a few rectangles and lines need no library. The colours follow
the reader's light or dark page."""
import math
from html import escape

WIDTH, MARGIN, LABELS, GAP = 960, 24, 170, 40
BAR, STEP = 12, 18
# The axes of ratios are logarithmic: half and twice are equally far from 1.
RATIO_MIN, RATIO_MAX = 1 / 16, 16
RATIO_TICKS = (1 / 16, 1 / 4, 1, 4, 16)
HISTOGRAM_HEIGHT = 170

STYLE = """
  text { font: 12px system-ui, sans-serif; fill: #333 }
  .title { font-weight: 600; font-size: 14px }
  .note { fill: #777 }
  .inside { fill: #fff }
  .grid { stroke: #ddd }
  .one { stroke: #888 }
  .good { fill: #2a7fb8 }
  .bad { fill: #c4622d }
  .sqld { fill: #2a7fb8 }
  .other { fill: #a8a8a8 }
  .page { fill: #fff }
  @media (prefers-color-scheme: dark) {
    text { fill: #ddd }
    .note { fill: #999 }
    .grid { stroke: #333 }
    .page { fill: #111 }
  }"""


def text(x, y, words, anchor="start", style=""):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{style}">{escape(words)}</text>'


def rectangle(x, y, width, height, style):
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0.5):.1f}" height="{height:.1f}" class="{style}"/>'


def line(x1, y1, x2, y2, style):
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{style}"/>'


def ratio_column(left, width, top, title, note, values, is_good):
    """One column of bars that begin at 1 and end at the value."""
    def x_of(value):
        share = math.log(min(max(value, RATIO_MIN), RATIO_MAX) / RATIO_MIN) / math.log(RATIO_MAX / RATIO_MIN)
        return left + share * width

    bottom = top + 40 + len(values) * STEP
    parts = [text(left, top + 12, title, style="title"), text(left, top + 28, note, style="note")]
    for tick in RATIO_TICKS:
        parts.append(line(x_of(tick), top + 36, x_of(tick), bottom, "one" if tick == 1 else "grid"))
        parts.append(text(x_of(tick), bottom + 14, f"{tick:g}" if tick >= 1 else f"1/{1 / tick:g}", "middle", "note"))
    for index, value in enumerate(values):
        y = top + 40 + index * STEP
        begin, end = sorted((x_of(1), x_of(value)))
        parts.append(rectangle(begin, y + (STEP - BAR) / 2, end - begin, BAR, "good" if is_good(value) else "bad"))
        # The number stands beyond the bar's end, or on it where there is no room.
        is_long = not RATIO_MIN * 2 < value < RATIO_MAX / 2
        style = "inside" if is_long else ""
        if value >= 1:
            parts.append(text(end - 4 if is_long else end + 4, y + BAR + 2, f"{value:.2f}", "end" if is_long else "start", style))
        else:
            parts.append(text(begin + 4 if is_long else begin - 4, y + BAR + 2, f"{value:.2f}", "start" if is_long else "end",
                              style))
    return parts


def ratio_part(top, bars):
    """Labels at the left, then both columns. Returns the parts and where they end."""
    width = (WIDTH - 2 * MARGIN - LABELS - GAP) / 2
    parts = [text(MARGIN + LABELS - 10, top + 40 + index * STEP + BAR + 2, label, "end")
             for index, (label, _, _) in enumerate(bars)]
    left = MARGIN + LABELS
    parts += ratio_column(left, width, top, "Server CPU for each, sqld / PostgreSQL", "to the left of 1 is better",
                          [cpu for _, cpu, _ in bars], lambda value: value <= 1)
    parts += ratio_column(left + width + GAP, width, top, "Throughput, sqld / PostgreSQL", "to the right of 1 is better",
                          [rate for _, _, rate in bars], lambda value: value >= 1)
    return parts, top + 40 + len(bars) * STEP + 40


def histogram_part(top, bounds_us, series):
    """Bars side by side for each class of latencies, in percent."""
    left, width = MARGIN + 40, WIDTH - 2 * MARGIN - 40
    bottom = top + 40 + HISTOGRAM_HEIGHT
    labels = [f"≤ {bound / 1000:g} ms" for bound in bounds_us] + [f"> {bounds_us[-1] / 1000:g} ms"]
    shares = [[count / max(1, sum(counts)) for count in counts] for _, counts in series]
    parts = [text(MARGIN, top + 12, "Latency of point reads while endless analytic queries keep all cores busy", style="title"),
             text(MARGIN, top + 28, "share of all reads", style="note")]
    for percent in (0, 25, 50, 75, 100):
        y = bottom - percent / 100 * HISTOGRAM_HEIGHT
        parts += [line(left, y, left + width, y, "grid"), text(left - 6, y + 4, f"{percent} %", "end", "note")]
    slot = width / len(labels)
    for index, label in enumerate(labels):
        parts.append(text(left + (index + 0.5) * slot, bottom + 16, label, "middle", "note"))
        for number, share in enumerate(shares):
            height = share[index] * HISTOGRAM_HEIGHT
            if height > 0:
                x = left + (index + 0.5) * slot + (number - len(shares) / 2) * 22
                parts.append(rectangle(x + 1, bottom - height, 20, height, ("sqld", "other")[number]))
    for number, (name, _) in enumerate(series):
        x = WIDTH - MARGIN - 200 + number * 90
        parts += [rectangle(x, top + 3, 10, 10, ("sqld", "other")[number]), text(x + 16, top + 12, name)]
    return parts, bottom + 40


def draw(bars, bounds_us, series):
    """bars: [(label, CPU ratio, throughput ratio)]; series: [(name, count for each class)]. Returns the SVG's text."""
    parts, height = [], MARGIN
    if bars:
        drawn, height = ratio_part(height, bars)
        parts += drawn
    if series:
        drawn, height = histogram_part(height, bounds_us, series)
        parts += drawn
    head = (f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height:.0f}" '
            f'viewBox="0 0 {WIDTH} {height:.0f}">')
    return "\n".join([head, f"<style>{STYLE}\n</style>", rectangle(0, 0, WIDTH, height, "page"), *parts, "</svg>"]) + "\n"
