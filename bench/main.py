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

import table


def run_json_lines(command):
    """The JSON objects that a peer's script prints, one a line; each also goes to stderr as it comes, for these take minutes."""
    objects = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if line.startswith("{"):
                objects.append(json.loads(line))
                progress(line.rstrip())
    if process.returncode != 0:
        raise subprocess.CalledProcessError(process.returncode, command)
    return objects


def run_rows(command):
    with tempfile.NamedTemporaryFile(suffix=".json") as out:
        subprocess.run([*command, "--out", out.name], check=True, capture_output=True, text=True)
        with open(out.name) as f:
            rows = json.load(f)
    return {row["name"]: row for row in (rows["rows"] if isinstance(rows, dict) else rows)}


def note(rates, name, value):
    rates.setdefault(name, []).append(value)


def progress(line):
    print(line, file=sys.stderr, flush=True)


TRAINING_PEERS = {"amp": "PyTorch eager, bf16 autocast", "fp32": "PyTorch eager, fp32"}  # mode of the script -> what it is
SLOWER_IS_LEFT_OUT = 1.3  # a peer's mode that is this many times as slow as its best one is not measured further


class Measurement:
    """The rates of Hone (`ours`) and of its peers: name -> one median, in tokens/s, for each round."""

    def __init__(self, bench_bin, model, threads, batches):
        self.bench_bin, self.model, self.threads, self.batches = bench_bin, model, str(threads), batches
        self.peer_scripts = os.path.join(os.path.dirname(os.path.abspath(__file__)), "peers")
        self.generate_dtypes = ["bfloat16", "float32"]  # those of the peer that are still measured
        self.train_modes = list(TRAINING_PEERS)
        self.ours, self.peers = {}, {}

    def round(self):
        first = not self.peers
        self.generate()
        self.generate_peers(first)
        if first:
            self.choose_train_modes()
        self.train()
        self.train_peers()

    def generate(self):
        for name, row in self.bench("bench_engine", "--dtype", "bf16", "--repeats", "1", "--largest", str(max(self.batches))).items():
            note(self.ours, name, row["value"])

    def generate_peers(self, first):
        few, many = [n for n in self.batches if n <= 8], [n for n in self.batches if n > 8]
        if not (first and few):
            return self.transformers(self.batches)
        self.transformers(few)
        self.choose_generate_dtypes(max(few))
        if many:
            self.transformers(many)

    def choose_generate_dtypes(self, n):
        """Keeps the dtypes that can still be the peer's best at more than n sequences: on a CPU without bf16 instructions one would take
        minutes a row."""
        def seconds(dtype):  # of one prompt token and one new one
            return sum(1 / self.peers[f"generate/{kind}/{n}/{dtype}"][0] for kind in ("prefill", "decode"))

        best = min(map(seconds, self.generate_dtypes))
        for dtype in [dtype for dtype in self.generate_dtypes if seconds(dtype) > SLOWER_IS_LEFT_OUT * best]:
            self.generate_dtypes.remove(dtype)
            progress(f"transformers {dtype}: {seconds(dtype) / best:.1f} times as slow as its best dtype at {n} sequences; left out from here on")

    def choose_train_modes(self):
        """The same for training, found out on two short sequences."""
        probe = {mode: self.torch_train(mode, 2)["train"][1] for mode in self.train_modes}
        self.train_modes = [mode for mode in probe if probe[mode] > max(probe.values()) / SLOWER_IS_LEFT_OUT]
        progress(f"PyTorch's training on 2 x 256 tokens, tokens/s: {probe}; measured from here on: {self.train_modes}")

    def train(self):
        for dtype in ("bf16", "f32"):
            for name, row in self.bench("bench_model", "--dtype", dtype, "--only", "train", "--sequences", "8", "--length", "256",
                                        "--repeat", "1").items():
                note(self.ours, f"{name}/{dtype}", row["value"])

    def train_peers(self):
        for mode in self.train_modes:
            note(self.peers, f"train/{mode}", self.torch_train(mode, 8)["train"][1])

    def bench(self, program, *flags):
        return run_rows([f"{self.bench_bin}/{program}", "--model", self.model, "--threads", self.threads, *flags])

    def transformers(self, batches):
        for dtype in self.generate_dtypes:
            for line in self.peer("transformers_generate.py", "--dtype", dtype, "--batch", ",".join(map(str, batches)), "--repeat", "1"):
                for kind in ("prefill", "decode"):
                    note(self.peers, f"generate/{kind}/{line['n']}/{dtype}", line[kind][1])

    def torch_train(self, mode, sequences):
        line, = self.peer("torch_train.py", "--mode", mode, "--steps", "1", "--sequences", str(sequences))
        return line

    def peer(self, script, *flags):
        return run_json_lines([sys.executable, f"{self.peer_scripts}/{script}", "--model", self.model, "--threads", self.threads, *flags])

    def candidates(self, name):
        """The peer's rates that `name` is compared with: label -> its rounds."""
        if name.startswith("train/"):
            names = {label: f"train/{mode}" for mode, label in TRAINING_PEERS.items()}
        else:
            names = {f"transformers {dtype}": f"{name}/{dtype}" for dtype in ("bfloat16", "float32")}
        return {label: self.peers[name] for label, name in names.items() if name in self.peers}

    def rows(self):
        for name, values in self.ours.items():
            candidates = self.candidates(name)
            if not candidates:
                continue
            peer = max(candidates, key=lambda label: statistics.median(candidates[label]))  # the peer's best
            value, peer_value = statistics.median(values), statistics.median(candidates[peer])
            yield {"name": name, "value": value, "unit": "tokens/s", "min": min(values), "max": max(values), "peer": peer,
                   "peer_value": peer_value, "ratio": value / peer_value}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bench_bin", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--out", default="bench/out/main.json")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batches", default="1,8,32,64")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    args = parser.parse_args()

    measurement = Measurement(args.bench_bin, args.model, args.threads, [int(n) for n in args.batches.split(",")])
    for turn in range(args.rounds):
        measurement.round()
        progress(f"round {turn + 1} of {args.rounds} done")
    rows = list(measurement.rows())
    table.print_rows(rows)
    table.write_rows(rows, args.out)


if __name__ == "__main__":
    main()
