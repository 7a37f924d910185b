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


TRAINING_PEERS = {"bf16": "PyTorch eager, bf16 autocast", "f32": "PyTorch eager, fp32"}


def worth_more(peers, dtypes, n):
    """The dtypes that can still be the peer's best at more than n sequences: on a CPU without bf16 instructions one would take minutes a row."""
    def slower(dtype, other):
        return all(2 * peers[f"generate/{kind}/{n}/{dtype}"][0] < peers[f"generate/{kind}/{n}/{other}"][0] for kind in ("prefill", "decode"))

    dropped = [dtype for dtype in dtypes if any(slower(dtype, other) for other in dtypes)]
    for dtype in dropped:
        print(f"transformers {dtype}: less than half another dtype's speed at {n} sequences; left out from here on", file=sys.stderr, flush=True)
    return [dtype for dtype in dtypes if dtype not in dropped]


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

    def note(table, name, value):
        table.setdefault(name, []).append(value)

    def transformers_round(dtype, batches):
        for line in run_json_lines([sys.executable, f"{here}/peers/transformers_generate.py", "--model", args.model, "--dtype", dtype,
                                    "--batch", ",".join(map(str, batches)), "--repeat", "1", "--threads", threads]):
            note(peers, f"generate/decode/{line['n']}/{dtype}", line["decode"][1])
            note(peers, f"generate/prefill/{line['n']}/{dtype}", line["prefill"][1])

    few, many = [n for n in batches if n <= 8], [n for n in batches if n > 8]
    dtypes = ["bfloat16", "float32"]
    for turn in range(args.rounds):
        for name, row in run_rows([f"{args.bench_bin}/bench_engine", "--model", args.model, "--dtype", "bf16", "--threads", threads,
                                   "--repeats", "1", "--largest", str(max(batches))]).items():
            note(ours, name, row["value"])
        if turn == 0 and few:
            for dtype in dtypes:
                transformers_round(dtype, few)
            dtypes = worth_more(peers, dtypes, max(few))
            if many:
                for dtype in dtypes:
                    transformers_round(dtype, many)
        else:
            for dtype in dtypes:
                transformers_round(dtype, batches)
        for dtype, mode in (("bf16", "amp"), ("f32", "fp32")):
            for name, row in run_rows([f"{args.bench_bin}/bench_model", "--model", args.model, "--dtype", dtype, "--threads", threads,
                                       "--only", "train", "--sequences", "8", "--length", "256", "--repeat", "3"]).items():
                note(ours, f"{name}/{dtype}", row["value"])
                line, = run_json_lines([sys.executable, f"{here}/peers/torch_train.py", "--model", args.model, "--mode", mode, "--steps", "3",
                                        "--seconds", "60", "--threads", threads])
                note(peers, f"{name}/{dtype}", line["train"][1])
        print(f"round {turn + 1} of {args.rounds} done", file=sys.stderr, flush=True)

    out = []
    for name, values in ours.items():
        if name in peers:
            peer, peer_values = TRAINING_PEERS[name.rsplit("/", 1)[1]], peers[name]
        else:
            # transformers' best dtype for this row.
            candidates = {dtype: peers[f"{name}/{dtype}"] for dtype in ("bfloat16", "float32") if f"{name}/{dtype}" in peers}
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
