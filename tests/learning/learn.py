#!/usr/bin/env python3
"""Does every algorithm learn? Trains the quickstart's base model with each recipe of recipes/algorithms/, for several seeds, and prints
pass@1 before and after. With --svg it draws the curves too.

Usage: tests/learning/learn.py --bin build/release/bin [--seeds 0,1,2] [--only grpo,dapo] [--svg docs/algorithms.svg]

One cluster (`hone up --detach`) carries out all runs, one after the other. What an earlier call left is removed, or taken over with --resume.
Leaves runs/learn-*, and bench/out/learning.json. Ends with 1 where an algorithm has less than --floor (0.85) pass@1 for
some seed, or a log-prob of the rollout differed from the learner's.
"""
import argparse
import html
import json
import os
import pathlib
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
STATE = "runs/.hone-learn"
BASE_STEP = "checkpoints/base/step-000600"


def run(*command, **options):
    return subprocess.run([str(part) for part in command], cwd=ROOT, check=True, **options)


def run_name(recipe, seed):
    return f"learn-{recipe.replace('_', '-')}-{seed}"


def summary(name):
    try:
        return json.loads((ROOT / "runs" / name / "summary.json").read_text())
    except (OSError, ValueError):
        return {}


def done(name):
    return summary(name).get("state") == "succeeded"


def evaluations(name, stage):
    """(step, pass@1) of the stage's evaluations, by rising step."""
    points = {}
    with open(ROOT / "runs" / name / "metrics.jsonl") as lines:
        for line in lines:
            row = json.loads(line)
            value = row.get("metrics", {}).get("eval/pass_at_1")
            if row.get("stage") == stage and value is not None:
                points[row["step"]] = value
    return sorted(points.items())


def carry_out(hone, recipe, name, seed, *overrides):
    if done(name):
        return
    sets = [f"name={name}", f"seed={seed}", *overrides]
    run(hone, "run", recipe, *[part for override in sets for part in ("--set", override)], "--wait", stdout=subprocess.DEVNULL)


def put_aside():
    for path in [ROOT / STATE, *(ROOT / "runs").glob("learn-*")]:
        shutil.rmtree(path, ignore_errors=True)


def train(hone, recipes, seeds):
    run(hone, "data", "make", "small-world", "--out", "runs/quickstart-data", stdout=subprocess.DEVNULL)
    run(hone, "up", "--state", STATE, "--detach", stdout=subprocess.DEVNULL)
    os.environ["HONE_COORDINATOR"] = (ROOT / STATE / "endpoint").read_text().strip()
    try:
        for seed in seeds:
            base = f"learn-base-{seed}"
            # The base model; of its own reinforcement learning one step, which evaluates it.
            carry_out(hone, "recipes/quickstart.yaml", base, seed, "stages.zero.rl.steps=1")
            for recipe in recipes:
                name = run_name(recipe, seed)
                carry_out(hone, f"recipes/algorithms/{recipe}.yaml", name, seed,
                          f"stages.rl.from_checkpoint=runs/{base}/{BASE_STEP}")
                print(f"{recipe}, seed {seed}: {evaluations(name, 'rl')[-1][1]:.3f}", flush=True)
    finally:
        run(hone, "down", "--state", STATE, stdout=subprocess.DEVNULL)


def draw(path, curves, title):
    """One small chart for each algorithm: a line for each seed."""
    columns, width, height, left, top = 4, 190, 150, 30, 34
    rows = (len(curves) + columns - 1) // columns
    colours = ["#1f6feb", "#d1670a", "#1a7f37", "#8250df", "#cf222e"]
    last = max(step for runs in curves.values() for points in runs for step, _ in points)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {columns * width + 10} {rows * height + top}" font-family="sans-serif" '
           'font-size="11">', f'<rect width="100%" height="100%" fill="#ffffff"/><text x="10" y="18" font-weight="bold">{html.escape(title)}</text>']
    for i, (name, runs) in enumerate(curves.items()):
        x0, y0 = i % columns * width + left, i // columns * height + top + 16
        w, h = width - left - 8, height - 48
        out.append(f'<text x="{x0}" y="{y0 - 4}">{html.escape(name)}</text>')
        for value in (0, 0.5, 1):
            y = y0 + h * (1 - value)
            out.append(f'<line x1="{x0}" x2="{x0 + w}" y1="{y:.1f}" y2="{y:.1f}" stroke="#d0d7de"/>'
                       f'<text x="{x0 - 4}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>')
        for step in (0, last):
            out.append(f'<text x="{x0 + w * step / last:.1f}" y="{y0 + h + 13}" text-anchor="{"start" if step == 0 else "end"}">{step}</text>')
        for seed, points in enumerate(runs):
            line = " ".join(f"{x0 + w * step / last:.1f},{y0 + h * (1 - value):.1f}" for step, value in points)
            out.append(f'<polyline points="{line}" fill="none" stroke="{colours[seed % len(colours)]}" stroke-width="1.5"/>')
    (ROOT / path).write_text("\n".join(out + ["</svg>"]) + "\n")


def report(recipes, seeds, floor):
    rows, curves, well = [], {}, True
    print(f"\n{'algorithm':30} {'pass@1 before -> after, by seed':45} {'run, s':>16} {'difference':>10}")
    for recipe in recipes:
        names = [run_name(recipe, seed) for seed in seeds]
        curves[recipe] = [evaluations(name, "rl") for name in names]
        summaries = [summary(name) for name in names]
        after = [points[-1][1] for points in curves[recipe]]
        differences = [s["max_abs_logprob_diff"] for s in summaries]  # None: nothing was compared; "infinite": a NaN
        difference = next((d for d in differences if d != 0), 0)
        seconds = [s["run_seconds"] for s in summaries]
        well = well and min(after) >= floor and difference == 0
        texts = ", ".join(f"{points[0][1]:.3f} -> {points[-1][1]:.3f}" for points in curves[recipe])
        print(f"{recipe:30} {texts:45} {min(seconds):7.0f} to {max(seconds):4.0f} {difference!s:>10}")
        rows.append({"name": f"learning/{recipe}/pass_at_1", "value": sorted(after)[len(after) // 2], "unit": "share", "min": min(after),
                     "max": max(after), "peer": None, "peer_value": None, "ratio": None})
    (ROOT / "bench/out").mkdir(parents=True, exist_ok=True)
    (ROOT / "bench/out/learning.json").write_text(json.dumps(rows, indent=1) + "\n")
    return curves, well


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", required=True)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--only", default="")
    parser.add_argument("--floor", type=float, default=0.85)
    parser.add_argument("--svg", default="")
    parser.add_argument("--resume", action="store_true")
    args = parser.parse_args()
    seeds = [int(seed) for seed in args.seeds.split(",")]
    there = sorted(path.stem for path in (ROOT / "recipes/algorithms").glob("*.yaml"))
    recipes = args.only.split(",") if args.only else there
    if unknown := [name for name in recipes if name not in there]:
        sys.exit(f"--only: no recipe {', '.join(unknown)}; there are {', '.join(there)}")
    if not args.resume:
        put_aside()
    train((ROOT / args.bin / "hone").resolve(), recipes, seeds)
    curves, well = report(recipes, seeds, args.floor)
    if args.svg:
        draw(args.svg, curves, f"pass@1 on 600 held-out problems by step; one line for each of {len(seeds)} seeds")
    sys.exit(0 if well else 1)


if __name__ == "__main__":
    main()
