#!/usr/bin/env python3
"""Draws series of a run's metrics.jsonl as an SVG picture that stands alone, for documents.

Usage: tools/plot_metrics.py runs/NAME/metrics.jsonl --stage grpo --out docs/NAME.svg \
           'reward/accuracy/mean=accuracy' 'reward/format/mean=format' [--smooth 5] [--title TEXT]

Each series is a metric's name, optionally '=' and a label. With --smooth N a thin line is the metric and a thick one its mean over the
last N steps. Values are taken as shares, 0 to 1, unless --max says otherwise.
"""
import argparse
import html
import json
import sys

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 720, 320, 52, 16, 34, 40
COLOURS = ["#1f6feb", "#d1670a", "#1a7f37", "#8250df", "#cf222e", "#57606a"]


def read(path, stage, names):
    points = {name: [] for name in names}
    with open(path) as lines:
        for line in lines:
            row = json.loads(line)
            if row.get("event") != "step" or row.get("stage") != stage:
                continue
            for name in names:
                if name in row["metrics"]:
                    if isinstance(row["metrics"][name], (int, float)):  # not "nan", "inf"
                        points[name].append((row["step"], row["metrics"][name]))
    return points


def smoothed(points, window):
    for i, (step, _) in enumerate(points):
        values = [y for _, y in points[max(0, i - window + 1):i + 1]]
        yield step, sum(values) / len(values)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("metrics")
    parser.add_argument("series", nargs="+")
    parser.add_argument("--stage", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--smooth", type=int, default=1)
    parser.add_argument("--max", type=float, default=1.0)
    parser.add_argument("--title", default="")
    args = parser.parse_args()
    labels = dict((series.split("=", 1) + [series])[:2] for series in args.series)
    points = read(args.metrics, args.stage, labels)
    missing = [name for name, line in points.items() if not line]
    if missing:
        sys.exit(f"{args.metrics}: stage '{args.stage}' has no metric {', '.join(missing)}")
    steps = [step for line in points.values() for step, _ in line]
    low, high = min(steps), max(steps)

    def x(step):
        return LEFT + (step - low) / max(1, high - low) * (WIDTH - LEFT - RIGHT)

    def y(value):
        return HEIGHT - BOTTOM - min(value, args.max) / args.max * (HEIGHT - TOP - BOTTOM)

    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
           f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
           f'<text x="{LEFT}" y="18" font-weight="bold">{html.escape(args.title)}</text>']
    for i in range(6):
        value = args.max * i / 5
        out.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(value):.1f}" y2="{y(value):.1f}" stroke="#d0d7de"/>')
        out.append(f'<text x="{LEFT - 6}" y="{y(value) + 4:.1f}" text-anchor="end">{value:g}</text>')
    for i in range(6):
        step = round(low + (high - low) * i / 5)
        out.append(f'<text x="{x(step):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{step}</text>')
    out.append(f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 6}" text-anchor="end">step</text>')
    for i, (name, line) in enumerate(points.items()):
        colour = COLOURS[i % len(COLOURS)]
        for values, width, opacity in ((line, 1, 0.45 if args.smooth > 1 else 1), (list(smoothed(line, args.smooth)), 2.2, 1)):
            path = " ".join(f"{x(step):.1f},{y(value):.1f}" for step, value in values)
            out.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}" opacity="{opacity}"/>')
        at = WIDTH - RIGHT - 150 * (len(points) - i)
        out.append(f'<rect x="{at}" y="10" width="12" height="8" fill="{colour}"/>')
        out.append(f'<text x="{at + 17}" y="18">{html.escape(labels[name])}</text>')
    out.append("</svg>")
    with open(args.out, "w") as file:
        file.write("\n".join(out) + "\n")


if __name__ == "__main__":
    main()
