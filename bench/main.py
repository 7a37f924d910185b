#!/usr/bin/env python3
"""Hone beside transformers and PyTorch on this machine, in one run: generation at 1, 8, 32 and 64 sequences, and training.

Prints a table and writes bench/out/main.json: rows of name, value, unit, min, max, peer, peer_value, ratio. Each figure is a median;
Hone and its peer take turns, so that a machine whose speed drifts does so for both.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile


def run_json_lines(command):
    result = subprocess.run(command, check=True, capture_output=True, text=True)
    return [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]


def run_rows(command):
    with tempfile.NamedTemporaryFile(suffix=".json") as out:
        subprocess.run([*command, "--out", out.name], check=True, capture_output=True, text=True)
        with open(out.name) as f:
            rows = json.load(f)
    return {row["name"]: row for row in (rows["rows"] if isinstance(rows, dict) else rows)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bench_bin", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--out", default="bench/out/main.json")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batches", default="1,8,32,64")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    args = parser.parse_args()
    batches = [int(n) for n in args.batches.split(",")]
    here = os.path.dirname(os.path.abspath(__file__))
    threads = str(args.threads)

    ours, peers = {}, {}  # name -> list of medians, one for each round
    peer_names = {}

    def note(table, name, value):
        table.setdefault(name, []).append(value)

    for turn in range(args.rounds):
        rows = run_rows([f"{args.bench_bin}/bench_engine", "--model", args.model, "--dtype", "bf16", "--threads", threads, "--repeats", "1",
                         "--largest", str(max(batches))])
        for name, row in rows.items():
            note(ours, name, row["value"])
        for dtype in ("bfloat16", "float32"):
            for line in run_json_lines([sys.executable, f"{here}/peers/transformers_generate.py", "--model", args.model, "--dtype", dtype,
                                        "--batch", args.batches, "--repeat", "1", "--threads", threads]):
                note(peers, f"generate/decode/{line['n']}/{dtype}", line["decode"][1])
                note(peers, f"generate/prefill/{line['n']}/{dtype}", line["prefill"][1])
        rows = run_rows([f"{args.bench_bin}/bench_model", "--model", args.model, "--dtype", "bf16", "--threads", threads, "--only", "train",
                         "--sequences", "8", "--length", "256", "--repeat", "3"])
        for name, row in rows.items():
            note(ours, name, row["value"])
        line, = run_json_lines([sys.executable, f"{here}/peers/torch_train.py", "--model", args.model, "--mode", "amp", "--steps", "3",
                                "--threads", threads])
        note(peers, "train", line["train"][1])
        print(f"round {turn + 1} of {args.rounds} done", file=sys.stderr, flush=True)

    out = []
    for name, values in ours.items():
        if name.startswith("train"):
            peer, peer_values = "PyTorch eager, bf16 autocast", peers["train"]
        else:
            # transformers' best dtype for this row.
            candidates = {dtype: peers.get(f"{name}/{dtype}") for dtype in ("bfloat16", "float32")}
            candidates = {dtype: v for dtype, v in candidates.items() if v}
            if not candidates:
                continue
            dtype = max(candidates, key=lambda d: statistics.median(candidates[d]))
            peer, peer_values = f"transformers {dtype}", candidates[dtype]
        value, peer_value = statistics.median(values), statistics.median(peer_values)
        out.append({"name": name, "value": value, "unit": "tokens/s", "min": min(values), "max": max(values), "peer": peer,
                    "peer_value": peer_value, "ratio": value / peer_value})
    print(f"{'':20s} {'Hone':>9s} {'min':>9s} {'max':>9s} {'peer':>9s} {'ratio':>6s}")
    for row in out:
        print(f"{row['name']:20s} {row['value']:9.1f} {row['min']:9.1f} {row['max']:9.1f} {row['peer_value']:9.1f} {row['ratio']:6.2f}  {row['peer']}")
    os.makedirs(os.path.dirname(args.out), exist_ok=True)
    with open(args.out, "w") as f:
        json.dump(out, f, indent=1)
        f.write("\n")


if __name__ == "__main__":
    main()
