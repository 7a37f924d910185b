#!/usr/bin/env python3
"""Token ids and decoded texts of Hone's tokenizer against the `tokenizers` package.

usage: tokenizer_parity.py TOKENIZE_TOOL WORK_FOLDER [--data FOLDER_OF_JSONL]... TOKENIZER_FOLDER...

Every text of the data folder (questions, code, web pages, several languages) and generated oddities (every code point, odd
spaces, broken combining marks, emoji sequences, added tokens in odd places) goes through both. Any difference is printed
and makes the exit code 1; code points that the two libraries' Unicode versions classify differently are counted apart.

Ids are compared without special tokens and with them (add_special_tokens=True): there Hone leaves out the suffix, which a
prompt does not have, and a prefix that the text begins with already; what is expected is corrected for these two alone.
Where the tokenizer file adds nothing by itself, the comparison is made once more with post-processors that do.
"""
import argparse
import json
import os
import random
import subprocess
import sys
import time
import unicodedata

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

SPACES = " \t\n\r\v\f\x1c\x1d\x1e\x1f\x85\xa0\u1680\u180e\u2000\u2003\u200a\u200b\u2028\u2029\u202f\u205f\u3000\ufeff"
COMBINING = "\u0300\u0301\u0308\u0323\u0327\u0345\u0315\u05b0\u064b\u093c\u0e48\u1ab0\u20d0\u3099\u309a\U0001d165"
LETTERS = "aZéßſKÅﬁΩЖאبकก가각각漢字，。「」ーｱﾞ々一"
SYMBOLS = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~©™€∑→①½²Ⅷ٣\u200d\ufe0f👍🏽👨\u200d👩\u200d👧🇨🇳🏳️"
CONTRACTIONS = ["'s", "'T", "'re", "'VE", "'m", "'LL", "'d", "'ſ", "don't", "I'LL", "''s"]


def from_jsonl(folder):
    texts = []
    for name in sorted(os.listdir(folder)):
        if not name.endswith(".jsonl"):
            continue
        with open(os.path.join(folder, name), encoding="utf-8") as file:
            for number, line in enumerate(file):
                if number >= 400:
                    break
                values = [json.loads(line)]
                while values:
                    value = values.pop()
                    if isinstance(value, dict):
                        values.extend(value.values())
                    elif isinstance(value, list):
                        values.extend(value)
                    elif isinstance(value, str) and value:
                        texts.append(value)
    return texts


def oddities(added, rng):
    texts = ["", " ", "\0", "a\0b", "\ufffd"]
    pool = list(SPACES + COMBINING + LETTERS + SYMBOLS + "0123456789") + CONTRACTIONS + ["\r\n", "\n\n", "  ", "abc", "the "]
    for _ in range(6000):
        texts.append("".join(rng.choice(pool) for _ in range(rng.randint(1, 24))))
    for token in added:
        texts += [token, token * 2, f"a{token}b", f" {token} ", f"\n{token}\t{token[:-1]}", token[1:], f"x{token}."]
    for _ in range(1000):
        texts.append("".join(rng.choice(pool + added) for _ in range(rng.randint(1, 12))))
    for size in (63, 64, 65, 66, 200, 5000, 50000):
        texts += ["a" * size, " " * size, "ab" * size, "漢" * size, "0" * size, "=" * size, "\n" * size,
                  "".join(rng.choice("abcdefgh") for _ in range(size))]
    for word in ("e\u0301", "\u1100\u1161\u11a8", "q\u0307\u0323", "\u0344", "\u2126", "\uf900", "\U0002f800", "a\u030a", "\u0958"):
        texts += [word, f"x{word}y", f" {word}" * 3]
    return texts


def code_points():
    """Each alone between letters, in blocks of one text per code point."""
    return [f"a{chr(c)}b {chr(c)}{chr(c)}" for c in range(0x110000)
            if not 0xD800 <= c < 0xE000 and unicodedata.category(chr(c)) not in ("Cn", "Co")]


def small_tokenizers(work, texts):
    """Tokenizers trained here that use what the real ones leave out: every split behaviour, flags of added tokens, WordLevel."""
    stages = {
        "gpt2": pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        "prefix": pre_tokenizers.ByteLevel(add_prefix_space=True, use_regex=True),
        "whole": pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        "digits": pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True),
                                           pre_tokenizers.ByteLevel(add_prefix_space=True, use_regex=True)]),
        "digit_runs": pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=False),
                                               pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]),
        "classes": pre_tokenizers.Sequence([
            pre_tokenizers.Split(Regex(r"\w+|\S\d?|[\S\d]|^\s*$"), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]),
    }
    for behavior in ("removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous"):
        for invert in (False, True):
            stages[f"{behavior}_{invert}"] = pre_tokenizers.Sequence([
                pre_tokenizers.Split(Regex(r"[\s\p{P}]|(?i:k|s)"), behavior, invert),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
        stages[f"{behavior}_text"] = pre_tokenizers.Sequence([
            pre_tokenizers.Split("e", behavior), pre_tokenizers.Split("e", behavior),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    pairs = [("Ġ", "t"), ("h", "e"), ("Ġt", "he"), ("Ġ", "Ġ"), ("a", "a"), ("aa", "aa"), ("a", "b"), ("ab", "ab"), ("e", "e"),
             ("Ã", "©"), ("æ", "¼"), ("æ¼", "¢"), ("0", "0"), ("=", "="), ("==", "=="), ("b", "c"), ("c", "d"), ("bc", "d")]
    vocab = {piece: i for i, piece in enumerate(alphabet + ["".join(pair) for pair in pairs] + ["whole"])}
    made = {}
    for name, stage in stages.items():
        made[name] = Tokenizer(models.BPE(vocab=vocab, merges=pairs, ignore_merges=name == "whole"))
        made[name].pre_tokenizer = stage
        made[name].decoder = decoders.ByteLevel()
    characters = {c: i for i, c in enumerate(["[UNK]"] + sorted(set(SYMBOLS + "abcdefgh 漢字é")) + ["ab", "abab"])}
    for fuse in (False, True):
        made[f"characters_{fuse}"] = Tokenizer(models.BPE(vocab=characters, merges=[("a", "b"), ("ab", "ab")],
                                                          unk_token="[UNK]", fuse_unk=fuse))
    words = {w: i for i, w in enumerate(["<unk>"] + sorted({w for text in texts[:300] for w in text.split()})[:2000])}
    for name, stage in (("words", pre_tokenizers.WhitespaceSplit()), ("symbols", pre_tokenizers.Whitespace())):
        made[name] = Tokenizer(models.WordLevel(vocab=words, unk_token="<unk>"))
        made[name].pre_tokenizer = stage
    folders = []
    for name, tokenizer in made.items():
        if name in ("digits", "words", "removed_True"):
            tokenizer.normalizer = normalizers.Sequence([normalizers.NFC()])
        tokenizer.add_special_tokens([AddedToken("<s>", normalized=False), AddedToken("<pad>", rstrip=True, lstrip=True)])
        tokenizer.add_tokens([AddedToken("<s><s>"), AddedToken("word", single_word=True), AddedToken("é", normalized=True),
                              AddedToken("q\u0323\u0307", normalized=True), AddedToken("[L]", lstrip=True, normalized=False),
                              AddedToken("[R]", rstrip=True), AddedToken("漢漢"), AddedToken(" sp ", normalized=False)])
        folder = os.path.join(work, "small", name)
        os.makedirs(folder, exist_ok=True)
        tokenizer.save(os.path.join(folder, "tokenizer.json"))
        folders.append(folder)
    return folders


def run_tool(tool, folder, texts, work):
    texts_path, out_path = os.path.join(work, "texts.jsonl"), os.path.join(work, "out.jsonl")
    with open(texts_path, "w", encoding="utf-8") as file:
        file.writelines(json.dumps(text) + "\n" for text in texts)
    done = subprocess.run([tool, folder, texts_path, out_path], stdout=subprocess.PIPE, text=True, check=True)
    with open(out_path, encoding="utf-8") as file:
        return [json.loads(line) for line in file], json.loads(done.stdout)


def with_special_tokens(peer, text, plain, prefix, suffix):
    """What a sequence that begins with `text` has to be, by what `tokenizers` makes of it; None where prefix or suffix are wrong."""
    whole = peer.encode(text, add_special_tokens=True).ids
    if whole != prefix + plain + suffix:
        return None
    return plain if plain[:len(prefix)] == prefix else whole[:len(whole) - len(suffix)]


def first_difference(peer, ordinary_peer, text, ours, around):
    expected = peer.encode(text, add_special_tokens=False).ids
    if ours["ids"] != expected:
        return f"ids {ours['ids'][:40]}, expected {expected[:40]}"
    from_start = with_special_tokens(peer, text, expected, *around)
    if ours["from_start"] != from_start:
        return f"ids from the start {ours['from_start'][:40]}, expected {from_start and from_start[:40]} (prefix, suffix: {around})"
    ordinary = ordinary_peer.encode(text, add_special_tokens=False).ids
    if ours["ordinary"] != ordinary:
        return f"ids as ordinary text {ours['ordinary'][:40]}, expected {ordinary[:40]}"
    for key, skip in (("decoded", False), ("no_special", True), ("streamed", False)):
        decoded = peer.decode(expected, skip_special_tokens=skip)
        if ours[key] != decoded:
            return f"{key} {ours[key][:80]!r}, expected {decoded[:80]!r}"
    return None


def compare(tool, folder, texts, work, every_code_point=True):
    path = os.path.join(folder, "tokenizer.json")
    peer, ordinary_peer = Tokenizer.from_file(path), Tokenizer.from_file(path)
    ordinary_peer.encode_special_tokens = True
    for each in (peer, ordinary_peer):
        each.no_truncation()
    rng = random.Random(7)
    added = [token.content for token in peer.get_added_tokens_decoder().values()][:60]
    odd = oddities(added, rng)
    ours, timing = run_tool(tool, folder, texts + odd, work)
    around = timing["prefix"], timing["suffix"]
    failures = 0
    for text, result in zip(texts + odd, ours):
        difference = first_difference(peer, ordinary_peer, text, result, around)
        if difference is not None:
            failures += 1
            if failures <= 10:
                print(f"  {text[:120]!r}: {difference}")
    total = sum(len(text.encode()) for text in texts + odd)
    start = time.perf_counter()
    for text in texts + odd:
        peer.encode(text, add_special_tokens=False)
    peer_seconds = time.perf_counter() - start
    print(f"{folder}: {len(texts) + len(odd)} texts, {total} bytes, {sum(len(r['ids']) for r in ours)} ids, "
          f"{failures} differences, prefix {around[0]}, suffix {around[1]}; load {timing['load_seconds']:.2f} s, {timing['bytes'] / timing['encode_seconds'] / 1e6:.1f} MB/s, "
          f"tokenizers {total / peer_seconds / 1e6:.1f} MB/s")
    if not every_code_point:
        return failures == 0
    points = code_points()
    ours, _ = run_tool(tool, folder, points, work)
    differing = [text[1] for text, result in zip(points, ours) if first_difference(peer, ordinary_peer, text, result, around)]
    print(f"{folder}: {len(points)} code points, {len(differing)} differ: "
          + " ".join(f"U+{ord(c):04X}({unicodedata.category(c)})" for c in differing[:20]))
    return failures == 0 and len(differing) <= len(points) // 1000


def with_post_processors(work, folder):
    """The tokenizer of `folder` with post-processors that add tokens: as Llama 3 has it, and one with several on both sides."""
    tokenizer = Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
    special = sorted(i for i, token in tokenizer.get_added_tokens_decoder().items() if token.special)[:3]
    first, second, third = [(tokenizer.id_to_token(i), i) for i in special]
    begin = processors.TemplateProcessing(single=f"{first[0]} $A", pair=f"{first[0]} $A {first[0]} $B:1", special_tokens=[first])
    made = {
        "begin": processors.Sequence([processors.ByteLevel(trim_offsets=False), begin]),
        "both": processors.TemplateProcessing(single=f"{first[0]} {second[0]} $A {third[0]}", pair="$A $B",
                                              special_tokens=[first, second, third]),
    }
    folders = []
    for name, processor in made.items():
        tokenizer.post_processor = processor
        out = os.path.join(work, "processed", os.path.basename(folder.rstrip("/")), name)
        os.makedirs(out, exist_ok=True)
        tokenizer.save(os.path.join(out, "tokenizer.json"))
        folders.append(out)
    return folders


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tool")
    parser.add_argument("work")
    parser.add_argument("--data", action="append", default=[])
    parser.add_argument("tokenizers", nargs="+")
    arguments = parser.parse_args()
    os.makedirs(arguments.work, exist_ok=True)
    texts = [text for folder in arguments.data for text in from_jsonl(folder)]
    passed = [compare(arguments.tool, folder, texts, arguments.work) for folder in arguments.tokenizers]
    passed += [compare(arguments.tool, made, texts[::10], arguments.work, every_code_point=False)
               for folder in arguments.tokenizers for made in with_post_processors(arguments.work, folder)]
    passed += [compare(arguments.tool, folder, texts[::40], arguments.work, every_code_point=False)
               for folder in small_tokenizers(arguments.work, texts)]
    return 0 if all(passed) else 1


if __name__ == "__main__":
    sys.exit(main())
