#!/usr/bin/env python3
"""First inputs for a fuzz program: small files of its format, so that it need not invent them. usage: seeds.py NAME FOLDER"""
import json
import struct
import sys


def safetensors():
    for header in ({}, {"a": {"dtype": "F32", "shape": [1, 2], "data_offsets": [0, 8]}},
                   {"__metadata__": {"format": "pt"}, "a": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]},
                    "b": {"dtype": "F16", "shape": [], "data_offsets": [4, 6]}}):
        text = json.dumps(header).encode()
        yield struct.pack("<Q", len(text)) + text + bytes(8 if len(header) == 1 else 6 if header else 0)


def byte_alphabet():
    prints = [b for b in range(256) if 0x21 <= b <= 0x7E or 0xA1 <= b <= 0xAC or b >= 0xAE]
    rest = [b for b in range(256) if b not in prints]
    return [chr(b) if b in prints else chr(256 + rest.index(b)) for b in range(256)]


def gguf():
    def text(value):
        return struct.pack("<Q", len(value.encode())) + value.encode()

    def strings(values):
        return struct.pack("<IQ", 8, len(values)) + b"".join(text(value) for value in values)

    tokens = ["<eos>"] + byte_alphabet() + ["he"]
    entries = [("general.architecture", 8, text("llama")), ("tokenizer.ggml.model", 8, text("gpt2")),
               ("tokenizer.ggml.pre", 8, text("qwen2")), ("tokenizer.ggml.tokens", 9, strings(tokens)),
               ("tokenizer.ggml.token_type", 9, struct.pack("<IQ", 5, len(tokens)) + struct.pack(f"<{len(tokens)}i", 3, *[1] * (len(tokens) - 1))),
               ("tokenizer.ggml.merges", 9, strings(["h e"])), ("tokenizer.ggml.eos_token_id", 4, struct.pack("<I", 0)),
               ("x", 6, struct.pack("<f", 0.5)), ("y", 7, b"\1")]
    for kinds in ([(0, 4, 16)], [(2, 32, 18), (3, 32, 20), (6, 32, 22), (8, 32, 34), (30, 2, 4), (1, 2, 4)]):
        for some in (entries, entries[:1]):
            head = b"GGUF" + struct.pack("<IQQ", 3, len(kinds), len(some))
            head += b"".join(text(key) + struct.pack("<I", kind) + value for key, kind, value in some)
            offset = 0
            for i, (kind, size, count) in enumerate(kinds):
                head += text(f"t{i}") + struct.pack("<IQIQ", 1, size, kind, offset)
                offset += (count + 31) // 32 * 32
            yield head + bytes(-len(head) % 32 + offset)


def tokenizer():
    pattern = r"(?i:'s|'t)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s+(?!\S)|\s+"
    vocab = {"a": 0, "b": 1, "ab": 2, "Ġ": 3, "c": 4, "<unk>": 5}
    added = [{"id": 6, "content": "<x>", "single_word": True, "lstrip": True, "rstrip": True, "normalized": True, "special": True}]
    level = {"type": "ByteLevel", "add_prefix_space": True, "use_regex": True}
    splits = [{"type": "Split", "pattern": {"Regex": pattern}, "behavior": behavior, "invert": invert}
              for behavior in ("Isolated", "Removed", "MergedWithPrevious", "MergedWithNext", "Contiguous") for invert in (False, True)]
    stages = [None, level, {"type": "Whitespace"}, {"type": "WhitespaceSplit"}, {"type": "Digits", "individual_digits": True},
              {"type": "Split", "pattern": {"String": "a"}, "behavior": "Removed", "invert": False}]
    stages += [{"type": "Sequence", "pretokenizers": [split, level]} for split in splits]
    for stage in stages:
        model = {"type": "BPE", "vocab": vocab, "merges": [["a", "b"]], "unk_token": "<unk>", "fuse_unk": True, "ignore_merges": False}
        config = {"added_tokens": added, "normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"}]}, "pre_tokenizer": stage,
                  "decoder": {"type": "ByteLevel"} if stage == level else None, "model": model}
        yield json.dumps(config, ensure_ascii=False).encode() + b"\0" + "ab <x> cab 12e\u0301 \u3000漢".encode()
        model = {"type": "WordLevel", "vocab": vocab, "unk_token": "<unk>"}
        yield json.dumps({"pre_tokenizer": stage, "model": model}).encode() + b"\0ab c zz"


def chat_template():
    yield b'{"chat_template": "{% for m in messages %}", "bos_token": {"content": "<s>"}}'
    yield b"{{ '<|im_start|>system\\nYou are helpful.<|im_end|>\\n' }}"
    yield b"\0system\0\1a question\0\2<think>\nx\n</think>\n\ny\0\3result\0\3more\0\1<tool_response>z</tool_response>"


def config():
    for family in ("LlamaForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM"):
        text = {"architectures": [family], "model_type": family.split("For")[0].lower(), "vocab_size": 64, "hidden_size": 32, "num_hidden_layers": 2,
                "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "intermediate_size": 48, "max_position_embeddings": 128,
                "rms_norm_eps": 1e-5, "rope_theta": 1e4, "tie_word_embeddings": True, "hidden_act": "silu", "eos_token_id": 3,
                "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                                 "original_max_position_embeddings": 64}}
        yield json.dumps(text).encode() + b"\0" + json.dumps({"eos_token_id": [2, 3], "pad_token_id": 0}).encode()


def prompts():
    yield '{"prompt": "1 + 1", "answer": 2, "id": "a"}\n\n{"prompt": "漢字 😀", "answer": "x", "id": 7}\n'.encode()
    yield b'{"prompt": "a", "answer": null, "id": true}\r\n{"prompt": "\\ud83d\\ude00", "answer": 1.5e3}'


def encode():
    yield "ab  abab it's 12 éé e\u0301 漢字 <a><a> \r\n\t😀".encode()


def main():
    name, folder = sys.argv[1:]
    kind = name.removesuffix("_fuzz")
    makers = {"safetensors": safetensors, "gguf": gguf, "tokenizer": tokenizer, "chat_template": chat_template, "encode": encode,
              "config": config, "prompts": prompts}
    if kind in makers:
        for i, seed in enumerate(makers[kind]()):
            with open(f"{folder}/seed-{i}", "wb") as file:
                file.write(seed)


if __name__ == "__main__":
    main()
