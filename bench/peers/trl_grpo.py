#!/usr/bin/env python3
"""Seconds of one step of TRL's GRPOTrainer on the CPU: sampling with transformers, reference log-probs, one update. Prints one JSON line.

A step is --prompts x --samples completions of --new tokens to prompts of the tokens in --prompt_file (JSON lines with `prompt`). The first step
does not count.
"""
import argparse
import contextlib
import json
import resource
import statistics
import sys
import tempfile
import time

import datasets
import torch
import transformers
import trl


class StepTimes(transformers.TrainerCallback):
    def __init__(self):
        self.seconds = []

    def on_train_begin(self, *_, **__):
        self.last = time.perf_counter()

    def on_step_end(self, *_, **__):
        now = time.perf_counter()
        self.seconds.append(now - self.last)
        self.last = now


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--prompt_file", required=True)
    parser.add_argument("--mode", default="fp32", choices=["fp32", "amp"])
    parser.add_argument("--prompts", type=int, default=8)
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--new", type=int, default=64)
    parser.add_argument("--micro", type=int, default=8)
    parser.add_argument("--beta", type=float, default=0.04)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    transformers.utils.logging.set_verbosity_error()
    with open(args.prompt_file) as lines:
        prompts = [{"prompt": json.loads(line)["prompt"]} for line in lines]
    tokenizer = transformers.AutoTokenizer.from_pretrained(args.model, padding_side="left")
    rollouts = args.prompts * args.samples
    times = StepTimes()
    with tempfile.TemporaryDirectory() as out:
        config = trl.GRPOConfig(
            output_dir=out, per_device_train_batch_size=args.micro, gradient_accumulation_steps=rollouts // args.micro,
            num_generations=args.samples, max_completion_length=args.new, generation_kwargs={"min_new_tokens": args.new}, beta=args.beta,
            num_iterations=1, temperature=1.0, learning_rate=1e-6, max_steps=args.steps + 1, save_strategy="no", report_to="none",
            bf16=args.mode == "amp", use_cpu=True, gradient_checkpointing=False, dataloader_pin_memory=False, disable_tqdm=True,
            # By path, so that these hold for the reference model too: it would be of the folder's bf16, slow on many CPUs.
            model_init_kwargs={"dtype": "float32", "attn_implementation": "sdpa"})
        trainer = trl.GRPOTrainer(
            model=args.model, reward_funcs=lambda completions, **_: [float(len(set(text)) % 7) for text in completions], args=config,
            train_dataset=datasets.Dataset.from_list(prompts), processing_class=tokenizer, callbacks=[times])
        with contextlib.redirect_stdout(sys.stderr):
            trainer.train()
    seconds = times.seconds[1:]
    print(json.dumps({"trl": trl.__version__, "mode": args.mode, "step_seconds": [min(seconds), statistics.median(seconds), max(seconds)],
                      "peak_rss_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20}), flush=True)


if __name__ == "__main__":
    main()
