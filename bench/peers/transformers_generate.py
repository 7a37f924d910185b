#!/usr/bin/env python3
"""Generation speed of transformers on the CPU. Prints one JSON line per batch size: medians over repetitions.

prefill = n * prompt / t(1 new token); decode = n * (new - 1) / (t(new tokens) - t(1 new token)).
"""
import argparse
import json
import statistics
import time

import torch
import transformers


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--dtype", default="bfloat16", choices=["float32", "bfloat16"])
    parser.add_argument("--batch", default="1,8,32,64")
    parser.add_argument("--prompt_tokens", type=int, default=128)
    parser.add_argument("--new_tokens", type=int, default=128)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    model = transformers.AutoModelForCausalLM.from_pretrained(
        args.model, dtype=getattr(torch, args.dtype), attn_implementation="sdpa").eval()

    def generate(n, new_tokens):
        ids = torch.randint(10, model.config.vocab_size - 10, (n, args.prompt_tokens))
        begin = time.perf_counter()
        with torch.inference_mode():
            out = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=new_tokens,
                                 min_new_tokens=new_tokens, eos_token_id=None, pad_token_id=0, do_sample=False)
        assert out.shape[1] == args.prompt_tokens + new_tokens
        return time.perf_counter() - begin

    generate(1, 4)
    for n in map(int, args.batch.split(",")):
        prefill, decode = [], []
        for _ in range(args.repeat):
            first, whole = generate(n, 1), generate(n, args.new_tokens)
            prefill.append(n * args.prompt_tokens / first)
            decode.append(n * (args.new_tokens - 1) / (whole - first))
        print(json.dumps({"n": n, "dtype": args.dtype,
                          "prefill": [min(prefill), statistics.median(prefill), max(prefill)],
                          "decode": [min(decode), statistics.median(decode), max(decode)]}), flush=True)


if __name__ == "__main__":
    main()
