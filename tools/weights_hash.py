#!/usr/bin/env python3
"""Recomputes `weights_sha256`, the root hash of a set of weights, from its files (Python's standard library alone).

    tools/weights_hash.py PATH

PATH is a checkpoint folder (runs/<run>/checkpoints/<stage>/step-NNNNNN), a model folder, or one .safetensors file. The tensors must
be fp32, as a checkpoint's are: the hash is over the master weights, which a bf16 export no longer holds.

The hash (docs/formats.md): SHA-256 over one line per parameter, in name order,
"<name> F32 <d0>x<d1>... <SHA-256 of the little-endian fp32 bytes>\\n".
"""
import hashlib
import json
import os
import struct
import sys


def fail(message):
    sys.exit("weights_hash.py: " + message)


def safetensors_files(path):
    """The weight files that `path` stands for."""
    if os.path.isfile(path):
        return [path]
    if not os.path.isdir(path):
        fail(f"{path}: no such file or folder")
    folder = os.path.join(path, "model") if os.path.isfile(os.path.join(path, "state.json")) else path
    index = os.path.join(folder, "model.safetensors.index.json")
    if os.path.isfile(index):
        with open(index, encoding="utf-8") as f:
            shards = sorted(set(json.load(f)["weight_map"].values()))
        return [os.path.join(folder, shard) for shard in shards]
    single = os.path.join(folder, "model.safetensors")
    if not os.path.isfile(single):
        fail(f"{folder}: it holds neither model.safetensors nor model.safetensors.index.json")
    return [single]


def tensor_lines(path):
    """(name, line) of each tensor in a safetensors file."""
    with open(path, "rb") as f:
        prefix = f.read(8)
        if len(prefix) != 8:
            fail(f"{path}: too short for a safetensors file")
        (length,) = struct.unpack("<Q", prefix)
        if length > os.path.getsize(path) - 8:
            fail(f"{path}: its header claims {length} bytes, the file is shorter")
        header = json.loads(f.read(length))
        for name, entry in header.items():
            if name == "__metadata__":
                continue
            if entry["dtype"] != "F32":
                fail(f"{path}: tensor '{name}': expected F32, got {entry['dtype']}")
            begin, end = entry["data_offsets"]
            digest = hashlib.sha256()
            f.seek(8 + length + begin)
            left = end - begin
            while left > 0:
                block = f.read(min(left, 1 << 24))
                if not block:
                    fail(f"{path}: tensor '{name}': the file ends inside of it")
                digest.update(block)
                left -= len(block)
            shape = "x".join(str(d) for d in entry["shape"])
            yield name, f"{name} F32 {shape} {digest.hexdigest()}\n"


def main():
    if len(sys.argv) != 2 or sys.argv[1] in ("-h", "--help"):
        sys.exit(__doc__)
    lines = {}
    for path in safetensors_files(sys.argv[1]):
        for name, line in tensor_lines(path):
            if name in lines:
                fail(f"{path}: tensor '{name}' is there twice")
            lines[name] = line
    # Names in byte order, as everywhere in Hone.
    text = "".join(lines[name] for name in sorted(lines, key=lambda n: n.encode("utf-8")))
    print(hashlib.sha256(text.encode("utf-8")).hexdigest())


if __name__ == "__main__":
    main()
