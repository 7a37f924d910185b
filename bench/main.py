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
    """The JSON objects that a peer's script prints, one a line; each also goes to stderr as it comes, for these take minutes."""
    objects = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if line.startswith("{"):
                objects.append(json.loads(line))
                print(line, end="", file=sys.stderr, flush=True)
    if process.returncode != 0:
        raise subprocess.CalledProcessError(process.returncode, command)
    return objects


def run_rows(command):
    with tempfile.NamedTemporaryFile(suffix=".json") as out:
        subprocess.run([*command, "--out", out.name], check=True, capture_output=True, text=True)
        with open(out.name) as f:
            rows = json.load(f)
    return {row["name"]: row for row in (rows["rows"] if isinstance(rows, dict) else rows)}


TRAINING_PEERS = {"amp": "PyTorch eager, bf16 autocast", "fp32": "PyTorch eager, fp32"}


def worth_more(peers, dtypes, n):
    """The dtypes that can still be the peer's best at more than n sequences: on a CPU without bf16 instructions one would take minutes a row."""
    def seconds(dtype):  # of one prompt token and one new one
        return sum(1 / peers[f"generate/{kind}/{n}/{dtype}"][0] for kind in ("prefill", "decode"))

    best = min(map(seconds, dtypes))
    dropped = [dtype for dtype in dtypes if seconds(dtype) > 1.3 * best]
    for dtype in dropped:
        print(f"transformers {dtype}: {seconds(dtype) / best:.1f} times as slow as its best dtype at {n} sequences; left out from here on",
              file=sys.stderr, flush=True)
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

    def train_peer(mode, sequences):
        line, = run_json_lines([sys.executable, f"{here}/peers/torch_train.py", "--model", args.model, "--mode", mode, "--steps", "1",
                                "--sequences", str(sequences), "--threads", threads])
        return line

    modes = list(TRAINING_PEERS)
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
        if turn == 0:  # on two short sequences: what a mode needs minutes for is found out in one
            probe = {mode: train_peer(mode, 2)["train"][1] for mode in modes}
            modes = [mode for mode in modes if probe[mode] > max(probe.values()) / 1.3]
            print(f"PyTorch's training on 2 x 256 tokens, tokens/s: {probe}; measured from here on: {modes}", file=sys.stderr, flush=True)
        for dtype in ("bf16", "f32"):
            for name, row in run_rows([f"{args.bench_bin}/bench_model", "--model", args.model, "--dtype", dtype, "--threads", threads,
                                       "--only", "train", "--sequences", "8", "--length", "256", "--repeat", "1"]).items():
                note(ours, f"{name}/{dtype}", row["value"])
        for mode in modes:
            note(peers, f"train/{mode}", train_peer(mode, 8)["train"][1])
        print(f"round {turn + 1} of {args.rounds} done", file=sys.stderr, flush=True)

    out = []
    for name, values in ours.items():
        if name.startswith("train/"):
            candidates = {label: peers[f"train/{mode}"] for mode, label in TRAINING_PEERS.items() if f"train/{mode}" in peers}
        else:
            candidates = {f"transformers {dtype}": peers[f"{name}/{dtype}"] for dtype in ("bfloat16", "float32") if f"{name}/{dtype}" in peers}
        if not candidates:
            continue
        peer = max(candidates, key=lambda label: statistics.median(candidates[label]))  # the peer's best
        peer_values = candidates[peer]
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
