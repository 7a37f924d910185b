#!/usr/bin/env python3
"""Rates of PyTorch's products and attention on the CPU, at the shapes of bench_kernels. Prints one JSON line: name -> GFLOP/s.

Names are those of bench_kernels' rows: "gemm N=960 K=576 M=2048", "weight gradient ...", "attention prefill H=9/3 E=64 8x256" and
"attention backward ...". Operations are counted as there: 2 a multiply-add; of causal attention the visible half.
"""
import argparse
import json
import statistics
import time

import torch

SHAPES = [(960, 576), (576, 576), (3072, 576), (576, 1536)]  # SmolLM2-135M: qkv, attention output, gate and up, down
HEADS, KV_HEADS, HEAD_DIM, SEQUENCES, LENGTH = 9, 3, 64, 8, 256


def rate(operations, body, seconds):
    body()
    times, start = [], time.perf_counter()
    while len(times) < 3 or time.perf_counter() - start < seconds:
        begin = time.perf_counter()
        body()
        times.append(time.perf_counter() - begin)
    return 1e-9 * operations / statistics.median(times)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2048)
    parser.add_argument("--dtype", default="fp32", choices=["fp32", "bf16"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=0.3, help="for each figure")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float32 if args.dtype == "fp32" else torch.bfloat16)
    rates = {}
    for n, k in SHAPES:
        x, w, dy = torch.randn(args.rows, k), torch.randn(n, k), torch.randn(args.rows, n)
        shape, operations = f"N={n} K={k} M={args.rows}", 2 * args.rows * n * k
        out, dw = torch.empty(args.rows, n), torch.empty(n, k)
        rates[f"gemm {shape}"] = rate(operations, lambda: torch.mm(x, w.t(), out=out), args.seconds)
        rates[f"weight gradient {shape}"] = rate(operations, lambda: torch.mm(dy.t(), x, out=dw), args.seconds)
    q = torch.randn(SEQUENCES, HEADS, LENGTH, HEAD_DIM, requires_grad=True)
    k, v = (torch.randn(SEQUENCES, KV_HEADS, LENGTH, HEAD_DIM, requires_grad=True) for _ in range(2))

    def attend():
        return torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)

    shape = f"H={HEADS}/{KV_HEADS} E={HEAD_DIM} {SEQUENCES}x{LENGTH}"
    pairs = SEQUENCES * HEADS * LENGTH * (LENGTH + 1) / 2
    with torch.no_grad():
        rates[f"attention prefill {shape}"] = rate(4 * pairs * HEAD_DIM, attend, args.seconds)
    out = attend()
    d_out = torch.randn_like(out)
    rates[f"attention backward {shape}"] = rate(
        10 * pairs * HEAD_DIM, lambda: torch.autograd.grad(out, (q, k, v), d_out, retain_graph=True), args.seconds)
    print(json.dumps(rates), flush=True)


if __name__ == "__main__":
    main()
