#!/usr/bin/env python3
"""Training speed of PyTorch on the CPU: forward, cross-entropy, backward, AdamW. Prints one JSON line.

modes: fp32 = all fp32; amp = fp32 weights under bf16 autocast (the comparison at equal quality); bf16 = bf16 weights.
"""
import argparse
import json
import resource
import statistics
import time

import torch
import transformers


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--mode", default="amp", choices=["fp32", "amp", "bf16"])
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--sequences", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    model = transformers.AutoModelForCausalLM.from_pretrained(
        args.model, dtype=torch.bfloat16 if args.mode == "bf16" else torch.float32, attn_implementation="sdpa").train()
    model.config.use_cache = False
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6, fused=True)
    forward = torch.compile(model) if args.compile else model
    seconds = []
    warm_up = 2 if args.compile else 1
    for _ in range(args.steps + warm_up):
        ids = torch.randint(10, model.config.vocab_size - 10, (args.sequences, args.tokens))
        begin = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=args.mode == "amp"):
            loss = forward(input_ids=ids, labels=ids, use_cache=False).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        seconds.append(time.perf_counter() - begin)
    seconds = seconds[warm_up:]
    tokens = args.sequences * args.tokens
    print(json.dumps({"mode": args.mode, "compile": args.compile,
                      "train": [tokens / max(seconds), tokens / statistics.median(seconds), tokens / min(seconds)],
                      "peak_rss_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20}), flush=True)


if __name__ == "__main__":
    main()
