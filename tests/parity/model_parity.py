"""Logits, loss, gradients, one AdamW step and exported models against transformers and PyTorch, on the CPU.

Hone computes in fp32. The judge is the same model of transformers in float64: through 30 layers PyTorch's own fp32 logits and gradients
of single tensors can be further from it than the limit. Rows without a limit say how far PyTorch's fp32 is, in the same measure.

Usage: model_parity.py --tool build/release/bin/parity_tool [--gguf SmolLM2.gguf] [--work DIR]
Prints a table; exits 1 if a row misses its limit.
"""
import argparse
import copy
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

import numpy
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, Qwen2Config, Qwen3Config
from transformers.utils import logging

LOGIT_LIMIT = 1e-4  # absolute
TRAIN_LIMIT = 1e-4  # relative: |difference| / |PyTorch's| over a tensor
LEARNING_RATE = 1e-3
WEIGHT_DECAY = 0.1

rows = []


def record(model, what, value, limit):
    rows.append((model, what, value, limit, value <= limit))
    print(f"{model:<24} {what:<34} {value:>10.2e}  limit {limit:.0e}  {'ok' if value <= limit else 'MISS'}", flush=True)


def tell(model, what, value):
    print(f"{model:<24} {what:<34} {value:>10.2e}", flush=True)


def tool(*args):
    subprocess.run([str(arg) for arg in (options.tool, *args)], check=True)


def tiny_configs():
    shape = dict(vocab_size=320, hidden_size=64, intermediate_size=160, num_hidden_layers=3, num_attention_heads=4,
                 num_key_value_heads=2, max_position_embeddings=512)
    def rope(kind, **more):
        return {"rope_type": kind, "rope_theta": 10000.0, **more}
    yield "llama", LlamaConfig(**shape, tie_word_embeddings=True)
    yield "llama biases untied", LlamaConfig(**shape, attention_bias=True, mlp_bias=True, tie_word_embeddings=False)
    yield "llama linear", LlamaConfig(**shape, rope_parameters=rope("linear", factor=4.0))
    yield "llama dynamic", LlamaConfig(**shape, rope_parameters=rope("dynamic", factor=2.0))
    yield "llama yarn", LlamaConfig(**shape, rope_parameters=rope("yarn", factor=4.0, original_max_position_embeddings=128))
    yield "llama llama3", LlamaConfig(**shape, rope_parameters=rope(
        "llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=64))
    yield "qwen2", Qwen2Config(**shape, tie_word_embeddings=True)
    yield "qwen3", Qwen3Config(**shape, head_dim=24, tie_word_embeddings=False)
    yield "qwen3 tied yarn", Qwen3Config(**shape, head_dim=32, tie_word_embeddings=True, rope_parameters=rope(
        "yarn", factor=2.0, original_max_position_embeddings=256))


def random_model(config, seed):
    """A model whose biases and norms are not zeros and ones, so that mixing them up shows."""
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config).float().eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.add_(torch.randn_like(parameter) * (0.05 if parameter.dim() == 2 else 0.2))
    return model


def reference_logits(model, sequences):
    with torch.no_grad():
        return torch.cat([model(torch.tensor([s])).logits[0] for s in sequences]).numpy()


def hone_logits(folder, tokens, sequences, vocab):
    out = work / "logits.bin"
    tool("logits", folder, tokens, out)
    return numpy.fromfile(out, dtype=numpy.float32).reshape(sum(map(len, sequences)), vocab)


def write_tokens(sequences):
    path = work / "tokens.json"
    path.write_text(json.dumps({"sequences": sequences, "learning_rate": LEARNING_RATE, "weight_decay": WEIGHT_DECAY}))
    return path


def compare_logits(name, what, folder, model, sequences):
    logits32 = reference_logits(model, sequences)
    logits64 = reference_logits(copy.deepcopy(model).double(), sequences)
    actual = hone_logits(folder, write_tokens(sequences), sequences, logits64.shape[1])
    record(name, what, float(numpy.abs(actual - logits64).max()), LOGIT_LIMIT)
    tell(name, "  of PyTorch's fp32 to its float64", float(numpy.abs(logits32 - logits64).max()))
    tell(name, "  of Hone to PyTorch's fp32", float(numpy.abs(actual - logits32).max()))


def worst_relative(tensors, expected):
    if set(tensors) != set(expected):
        sys.exit(f"tensors differ: {sorted(set(tensors) ^ set(expected))}")
    return max(float((tensors[n].double() - expected[n].double()).norm() / expected[n].double().norm().clamp_min(1e-30))
               for n in expected)


def overall_relative(tensors, expected):
    difference = sum(float((tensors[n].double() - expected[n].double()).square().sum()) for n in expected)
    return (difference / sum(float(t.double().square().sum()) for t in expected.values())) ** 0.5


def torch_gradients(model, sequences):
    """Mean cross entropy over all predicted tokens, and its gradients by name; in the model's own type."""
    model.train()
    model.zero_grad()
    # transformers drops the look-up's gradient of the padding token, which in SmolLM2 is <|im_end|>, a token that it learns to say.
    model.get_input_embeddings().padding_idx = None
    losses = []
    for sequence in sequences:
        logits = model(torch.tensor([sequence])).logits[0, :-1]
        losses.append(torch.nn.functional.cross_entropy(logits, torch.tensor(sequence[1:]), reduction="sum"))
    loss = sum(losses) / sum(len(s) - 1 for s in sequences)
    loss.backward()
    return loss.item(), {n: p.grad.clone() for n, p in model.named_parameters()}


def compare_training(name, folder, model, sequences):
    tokens = write_tokens(sequences)
    tool("train", folder, tokens, work / "gradients", work / "stepped", work / "loss.json")
    our_loss = json.loads((work / "loss.json").read_text())["loss"]
    ours = load_file(work / "gradients/model.safetensors")
    loss32, gradients32 = torch_gradients(model, sequences)
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    loss64, gradients64 = torch_gradients(copy.deepcopy(model).double(), sequences)
    record(name, "loss, relative", abs(our_loss - loss64) / loss64, TRAIN_LIMIT)
    record(name, "gradients, all, relative", overall_relative(ours, gradients64), TRAIN_LIMIT)
    record(name, "gradients, worst tensor, relative", worst_relative(ours, gradients64), TRAIN_LIMIT)
    tell(name, "  of PyTorch's fp32 to its float64", worst_relative(gradients32, gradients64))
    tell(name, "  of Hone to PyTorch's fp32", worst_relative(ours, gradients32))
    stepped = load_file(work / "stepped/model.safetensors")
    after64 = adamw({n: w.double() for n, w in before.items()}, gradients64)
    record(name, "weights after AdamW, relative", worst_relative(stepped, after64), TRAIN_LIMIT)
    # The step alone is the sharper question. Adam's first step is nearly the gradient's sign, so noise in a gradient that is
    # nearly 0 would show as a whole step: PyTorch takes its step from Hone's gradients here.
    expected = {n: after - before[n] for n, after in adamw(before, ours).items()}
    actual = {n: after - before[n] for n, after in stepped.items()}
    record(name, "AdamW step, worst tensor, relative", worst_relative(actual, expected), TRAIN_LIMIT)


def adamw(weights, gradients):
    """The weights after PyTorch's first AdamW step; matrices decay."""
    weights = {n: w.clone().requires_grad_() for n, w in weights.items()}
    for n, w in weights.items():
        w.grad = gradients[n].clone()
    groups = [{"params": [w for w in weights.values() if w.dim() == 2], "weight_decay": WEIGHT_DECAY},
              {"params": [w for w in weights.values() if w.dim() != 2], "weight_decay": 0.0}]
    torch.optim.AdamW(groups, lr=LEARNING_RATE, betas=(0.9, 0.999), eps=1e-8).step()
    return {n: w.detach() for n, w in weights.items()}


def compare_export(name, folder, model, sequences):
    for dtype, shard_bytes in (("f32", 1 << 40), ("f32", 100_000), ("bf16", 1 << 40)):
        out = work / f"export-{dtype}-{shard_bytes}"
        tool("export", folder, out, dtype, shard_bytes)
        exported = AutoModelForCausalLM.from_pretrained(out, dtype=torch.float32).eval()
        expected = model
        if dtype == "bf16":
            expected = AutoModelForCausalLM.from_config(model.config).eval()
            expected.load_state_dict({n: t.bfloat16().float() for n, t in model.state_dict().items()})
        difference = numpy.abs(reference_logits(exported, sequences) - reference_logits(expected, sequences)).max()
        record(name, f"export {dtype}{' sharded' if shard_bytes < 1 << 40 else ''} in transformers", float(difference),
               LOGIT_LIMIT)


def tiny_models():
    generator = numpy.random.default_rng(5)
    for seed, (name, config) in enumerate(tiny_configs()):
        model = random_model(config, seed)
        folder = work / f"tiny{seed}"
        model.save_pretrained(folder)
        sequences = [generator.integers(0, config.vocab_size, n).tolist() for n in (1, 40, 300)]
        compare_logits(name, "logits, absolute", folder, model, sequences)
        compare_export(name, folder, model, sequences)
        compare_training(name, folder, model, [s for s in sequences if len(s) > 1])


def smollm2(gguf):
    """transformers reads the GGUF file by itself; Hone imports it."""
    folder = work / "smollm2"
    shutil.rmtree(folder, ignore_errors=True)
    tool("import", gguf, folder)
    model = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    # Texts as the model knows them, and random tokens, which it does not.
    texts = ["<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
             f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n{answer}<|im_end|>\n"
             for question, answer in (
                 ("Natalia sold clips to 48 of her friends in April, and then she sold half as many clips in May. How many "
                  "clips did Natalia sell altogether?", "She sold 48 / 2 = 24 clips in May, so 48 + 24 = 72 in all."),
                 ("Name three large rivers of Europe and the seas they reach.",
                  "The Volga reaches the Caspian Sea, the Danube the Black Sea and the Rhine the North Sea."))]
    sequences = [tokenizer(text)["input_ids"] for text in texts]
    compare_logits("SmolLM2-135M", "logits, absolute", folder, model, sequences)
    generator = torch.Generator().manual_seed(0)
    noise = [torch.randint(10, 49000, (96,), generator=generator).tolist() for _ in range(2)]
    compare_logits("SmolLM2-135M", "logits, random tokens, absolute", folder, model, noise)
    compare_training("SmolLM2-135M", folder, model, sequences)


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--tool", type=pathlib.Path, required=True)
    parser.add_argument("--gguf", type=pathlib.Path, help="SmolLM2-135M-Instruct as GGUF")
    parser.add_argument("--work", type=pathlib.Path, help="a folder for files, kept; default: a temporary one")
    return parser.parse_args()


options = parse_options()
logging.set_verbosity_error()
logging.disable_progress_bar()
with tempfile.TemporaryDirectory() as temporary:
    work = options.work or pathlib.Path(temporary)
    work.mkdir(parents=True, exist_ok=True)
    tiny_models()
    if options.gguf is not None:
        smollm2(options.gguf)
misses = [row for row in rows if not row[4]]
print(f"{len(rows) - len(misses)} of {len(rows)} comparisons within their limits")
sys.exit(1 if misses else 0)
