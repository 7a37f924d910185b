#!/usr/bin/env python3
"""Hone's built-in chat templates against transformers' rendering of the Jinja originals.

usage: chat_parity.py CHAT_TOOL WORK_FOLDER (TEMPLATE.jinja | tokenizer_config.json | MODEL_FOLDER)...

Each template renders a few thousand random conversations both ways; a text that Hone does not know is a failure.
"""
import json
import os
import random
import subprocess
import sys

from transformers.utils.chat_template_utils import _compile_jinja_template

BOS = "<|begin_of_text|>"
PIECES = ["hi", " ", "\n", "\n\n", "<think>", "</think>", "<tool_response>", "</tool_response>", "4 + 4 = 8", "\u3000", "漢字", "\x1c",
          "'quoted'", "{{ x }}", "<|im_end|>", "\\n", "\"", "\u00e9", "<answer>8</answer>"]


def template_of(path):
    if os.path.isdir(path):
        jinja = os.path.join(path, "chat_template.jinja")
        path = jinja if os.path.exists(jinja) else os.path.join(path, "tokenizer_config.json")
    with open(path, encoding="utf-8") as file:
        text = file.read()
    return json.loads(text)["chat_template"] if path.endswith(".json") else text


def conversations(rng):
    def content():
        return "".join(rng.choice(PIECES) for _ in range(rng.randint(0, 7)))
    for _ in range(3000):
        messages = [{"role": "system", "content": content()}] if rng.random() < 0.5 else []
        for _ in range(rng.randint(0 if messages else 1, 6)):
            role = rng.choice(["user", "assistant", "user", "assistant", "tool", "system"])
            messages.append({"role": role, "content": content()})
        yield messages, rng.random() < 0.5, rng.random() < 0.7


def main():
    tool, work, paths = sys.argv[1], sys.argv[2], sys.argv[3:]
    if not paths:
        sys.exit(__doc__)
    os.makedirs(work, exist_ok=True)
    failed = False
    for path in paths:
        text = template_of(path)
        jinja = _compile_jinja_template(text)
        cases = list(conversations(random.Random(11)))
        cases_path, out_path = os.path.join(work, "cases.jsonl"), os.path.join(work, "rendered.jsonl")
        with open(cases_path, "w", encoding="utf-8") as file:
            for messages, generate, think in cases:
                file.write(json.dumps({"template": text, "bos_token": BOS, "messages": messages, "generate": generate, "think": think}) + "\n")
        subprocess.run([tool, cases_path, out_path], check=True)
        differences = 0
        with open(out_path, encoding="utf-8") as file:
            for line, (messages, generate, think) in zip(file, cases):
                found = json.loads(line)
                # transformers passes tools=None, documents=None and the special tokens
                expected = jinja.render(messages=messages, tools=None, documents=None, add_generation_prompt=generate,
                                        enable_thinking=think, bos_token=BOS)
                if found != expected:
                    differences += 1
                    if differences <= 3:
                        print(f"  {messages} generate={generate} think={think}\n    found    {found!r}\n    expected {expected!r}")
        print(f"{path}: {len(cases)} conversations, {differences} differ")
        failed |= differences > 0
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
