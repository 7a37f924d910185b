#!/usr/bin/env python3
"""The learner beside PyTorch and TRL on this machine, in one run. Prints a table and writes bench/out/learner.json.

  train             8 x 256 tokens, forward, backward, AdamW with fp32 masters: tokens/s beside PyTorch's best mode (eager and compiled)
  train/peak_rss    peak memory of that, MiB; less is better
  shared_prompts    8 samples to a prompt, prompt : completion 2 : 1: tokens/s with the prompt's rows shared, beside not shared
  grpo_step         a whole GRPO step, 8 prompts x 8 samples, 64 + 64 tokens, KL 0.04: samples/s of four processes beside TRL's trainer
  train/...         the same training with recompute, narrow moments, or gradients that do not depend on micro-batches, beside plain `train`
  op/...            GFLOP/s of each product and of attention, bf16 operands: beside the measured limit of the instructions (`of_limit`), and
                    beside the better of PyTorch's fp32 and bf16, which promises no order of sums (`beside_torch`)

Hone and its peer take turns. `ratio` is value / peer_value.
"""
import argparse
import datetime
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

import table
import transformers

ROOT = pathlib.Path(__file__).resolve().parent.parent
PEERS = ROOT / "bench/peers"
TRAIN_MODES = {"amp": "bf16 autocast", "fp32": "fp32"}
SLOWER_IS_LEFT_OUT = 1.3  # a peer's mode that is this many times as slow as its best one is not measured further
STEP_SAMPLES = 64


def progress(line):
    print(line, file=sys.stderr, flush=True)


def json_line(command):
    output = subprocess.run([str(part) for part in command], check=True, stdout=subprocess.PIPE, text=True).stdout
    line = next(line for line in output.splitlines() if line.startswith("{"))
    progress(line)
    return json.loads(line)


class Measurement:
    def __init__(self, args, work):
        self.args, self.work = args, pathlib.Path(work)
        self.prompts = self.work / "prompts.jsonl"
        self.values, self.peers = {}, {}  # name -> list of rates; name -> label -> list of rates

    def note(self, name, value, peer=None):
        (self.values.setdefault(name, []) if peer is None else self.peers.setdefault(name, {}).setdefault(peer, [])).append(value)

    def make_prompts(self):
        tokenizer = transformers.AutoTokenizer.from_pretrained(self.args.model)
        with open(self.prompts, "w") as out:
            for i in range(64):
                text = (f"Question {i}: Mia packs {i + 4} crates, each with {2 * i + 3} apples and {i + 2} pears. She gives {i + 1} fruits to "
                        f"each of {i % 5 + 2} neighbours and then picks {i + 8} more. How many fruits are left? ") * 3
                prompt = tokenizer.decode(tokenizer(text)["input_ids"][:64])
                out.write(json.dumps({"prompt": prompt, "language": "en"}) + "\n")

    def bench_learner(self, only, *flags):
        out = self.work / "rows.json"
        command = [self.args.bench_bin + "/bench_learner", "--model", self.args.model, "--threads", self.args.threads, "--repeat", 1, "--only", only,
                   "--out", out, *flags]
        subprocess.run([str(part) for part in command], check=True, stdout=subprocess.DEVNULL)
        return {row["name"]: row["value"] for row in json.loads(out.read_text())}

    def torch_train(self, mode, compiled, sequences):
        flags = ["--compile"] if compiled else []
        return json_line([sys.executable, PEERS / "torch_train.py", "--model", self.args.model, "--threads", self.args.threads, "--mode", mode, "--steps", 1,
                          "--sequences", sequences, *flags])

    def choose_train_modes(self):
        eager = {mode: self.torch_train(mode, False, 2)["train"][1] for mode in TRAIN_MODES}
        kept = [mode for mode in eager if eager[mode] > max(eager.values()) / SLOWER_IS_LEFT_OUT]
        progress(f"PyTorch eager on 2 x 256 tokens: {eager}; measured from here on: {kept}, eager and compiled")
        self.modes = [(mode, compiled) for mode in kept for compiled in (False, True)]

    def train(self):
        ours = self.bench_learner("train")
        self.note("train", ours["train"])
        self.note("train/peak_rss", ours["peak_rss"])
        for mode, compiled in self.modes:
            label = f"PyTorch {'compiled' if compiled else 'eager'}, {TRAIN_MODES[mode]}"
            line = self.torch_train(mode, compiled, 8)
            self.note("train", line["train"][1], label)
            self.note("train/peak_rss", line["peak_rss_gib"] * 1024, label)

    VARIANTS = {"train/recompute_mlp": ("--recompute", "mlp"), "train/recompute_layer": ("--recompute", "layer"),
                "train/moments_bf16": ("--moments", "bf16"), "train/moments_fp8": ("--moments", "fp8"),
                "train/invariant": ("--invariant",)}

    def variants(self):
        for name, flags in self.VARIANTS.items():
            rows = self.bench_learner("train", *flags)
            self.note(name, rows["train"])
            self.note(name, self.values["train"][-1], "plain")
            if name != "train/invariant":
                self.note(f"{name}/peak_rss", rows["peak_rss"])
                self.note(f"{name}/peak_rss", self.values["train/peak_rss"][-1], "plain")

    def ops(self):
        out = self.work / "ops.json"
        subprocess.run([self.args.bench_bin + "/bench_kernels", "--threads", str(self.args.threads), "--filter", "bf16", "--json", str(out)],
                       check=True, stdout=subprocess.DEVNULL)
        torch_rates = {dtype: json_line([sys.executable, PEERS / "torch_ops.py", "--threads", self.args.threads, "--dtype", dtype])
                       for dtype in ("fp32", "bf16")}
        for row in json.loads(out.read_text()):
            name = row["name"].replace("bf16 ", "")
            if name not in torch_rates["fp32"]:
                continue
            self.note(f"op/{name}/beside_torch", row["value"])
            for dtype, rates in torch_rates.items():
                self.note(f"op/{name}/beside_torch", rates[name], f"PyTorch {dtype}")
            if row["peer_value"]:
                self.note(f"op/{name}/of_limit", row["value"])
                self.note(f"op/{name}/of_limit", row["peer_value"], row["peer"])

    def shared_prompts(self):
        sizes = ("--prompts", 4, "--samples", 8, "--prompt", 128, "--completion", 64)
        self.note("shared_prompts", self.bench_learner("shared", *sizes)["shared"])
        self.note("shared_prompts", self.bench_learner("unshared", *sizes)["unshared"], "not shared")

    def grpo_step(self, round_number):
        name = f"grpo-step-{round_number}"
        recipe = (ROOT / "bench/grpo_step.yaml").read_text().replace("MODEL", str(pathlib.Path(self.args.model).resolve())).replace(
            "PROMPTS", str(self.prompts))
        (self.work / "grpo_step.yaml").write_text(recipe)
        hone = pathlib.Path(self.args.bin).resolve() / "hone"
        subprocess.run([hone, "up", "--state", f".{name}", "--run", "grpo_step.yaml", "--set", f"name={name}", "--threads", str(self.args.threads),
                        "--exit"], cwd=self.work, check=True,
                       stdout=subprocess.DEVNULL)
        times = []
        for line in (self.work / "runs" / name / "metrics.jsonl").read_text().splitlines():
            row = json.loads(line)
            if row.get("event") == "step":
                times.append(datetime.datetime.fromisoformat(row["time"]))
        seconds = [(b - a).total_seconds() for a, b in zip(times, times[1:])]
        progress(f"Hone's GRPO steps, s: {seconds}")
        for value in seconds:
            self.note("grpo_step", STEP_SAMPLES / value)
        for mode in dict(self.modes):
            line = json_line([sys.executable, PEERS / "trl_grpo.py", "--model", self.args.model, "--prompt_file", self.prompts, "--mode", mode,
                              "--threads", self.args.threads, "--steps", 1])
            self.note("grpo_step", STEP_SAMPLES / line["step_seconds"][1], f"TRL {line['trl']}, {TRAIN_MODES[mode]}")

    def rows(self):
        for name, values in self.values.items():
            best = min if name.endswith("peak_rss") else max
            peers = {label: statistics.median(rates) for label, rates in self.peers[name].items()}
            if name == "train/peak_rss":  # of the mode that is fastest
                fastest = max(self.peers["train"], key=lambda label: statistics.median(self.peers["train"][label]))
                peers = {fastest: peers[fastest]}
            peer = best(peers, key=peers.get)
            unit = "GFLOP/s" if name.startswith("op/") else "MiB" if name.endswith("peak_rss") else {"grpo_step": "samples/s"}.get(name, "tokens/s")
            yield {"name": name, "value": statistics.median(values), "unit": unit, "min": min(values), "max": max(values), "peer": peer,
                   "peer_value": peers[peer], "ratio": statistics.median(values) / peers[peer]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", required=True)
    parser.add_argument("--bench_bin", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", default="bench/out/learner.json")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        measurement = Measurement(args, work)
        measurement.make_prompts()
        measurement.choose_train_modes()
        for turn in range(args.rounds):
            measurement.train()
            measurement.variants()
            measurement.ops()
            measurement.shared_prompts()
            measurement.grpo_step(turn)
            progress(f"round {turn + 1} of {args.rounds} done")
        rows = list(measurement.rows())
    table.print_rows(rows)
    table.write_rows(rows, args.out)


if __name__ == "__main__":
    main()
