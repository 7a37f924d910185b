#!/usr/bin/env python3
"""EleutherAI's lm-eval against `hone serve`: a generation task (GSM8K, from a local file) and a log-likelihood task, and the same two with its own
transformers backend. In fp32 the log-likelihoods agree to 1e-3 and the generated answers are equal."""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import lm_eval
from lm_eval.tasks import TaskManager

import server

TASKS = {
    "gsm8k_file": """
task: gsm8k_file
dataset_path: json
dataset_kwargs: {data_files: {test: GENERATION}}
output_type: generate_until
test_split: test
doc_to_text: "Question: {{prompt}}\\nAnswer:"
doc_to_target: "{{answer}}"
generation_kwargs: {until: ["Question:"], do_sample: false, max_gen_toks: 48}
metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]
""",
    "choice_file": """
task: choice_file
dataset_path: json
dataset_kwargs: {data_files: {test: CHOICE}}
output_type: multiple_choice
test_split: test
doc_to_text: "{{question}} ="
doc_to_target: "{{answer}}"
doc_to_choice: "{{choices}}"
metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]
""",
}


def write_tasks(work, gsm8k, limit):
    rows = [json.loads(line) for line in pathlib.Path(gsm8k).read_text().splitlines()[:limit]]
    (work / "generation.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with open(work / "choice.jsonl", "w") as out:
        for a in range(2, 2 + 2 * limit):
            choices = [f" {a + 3 + shift}" for shift in (-1, 0, 4, 10)]
            out.write(json.dumps({"question": f"{a} + 3", "choices": choices, "answer": 1}) + "\n")
    for name, text in TASKS.items():
        text = text.replace("GENERATION", str(work / "generation.jsonl")).replace("CHOICE", str(work / "choice.jsonl"))
        (work / f"{name}.yaml").write_text(text)


def evaluate(work, model, arguments, batch_size):
    results = lm_eval.simple_evaluate(model=model, model_args=arguments, tasks=list(TASKS), batch_size=batch_size, log_samples=True, bootstrap_iters=0,
                                      task_manager=TaskManager(include_path=str(work), include_defaults=False))
    return {name: sorted(samples, key=lambda sample: sample["doc_id"]) for name, samples in results["samples"].items()}, results["results"]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hone", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--limit", type=int, default=8)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        subprocess.run([args.hone, "data", "get", "gsm8k", "--out", str(work / "gsm8k")], check=True, stdout=subprocess.DEVNULL)
        write_tasks(work, next((work / "gsm8k").glob("*test*.jsonl")), args.limit)
        with server.serve(args.hone, args.model, "--dtype", "fp32") as url:
            ours, our_results = evaluate(work, "local-completions",
                                         {"model": "served", "base_url": f"{url}/completions", "tokenizer": args.model, "tokenizer_backend": "huggingface",
                                          "max_length": 2048, "num_concurrent": 4, "seed": 1}, 4)
        theirs, their_results = evaluate(work, "hf", {"pretrained": args.model, "dtype": "float32", "device": "cpu", "max_length": 2048}, 4)
    worst = max(abs(mine[0] - other[0]) for a, b in zip(ours["choice_file"], theirs["choice_file"]) for mine, other in zip(a["filtered_resps"], b["filtered_resps"]))
    equal = sum(a["filtered_resps"] == b["filtered_resps"] for a, b in zip(ours["gsm8k_file"], theirs["gsm8k_file"]))
    for name in TASKS:
        print(f"{name}: hone serve {our_results[name]}\n{name}: transformers {their_results[name]}")
    print(f"log-likelihoods: largest difference {worst:.2e}; generated answers: {equal} of {args.limit} equal")
    if worst > 1e-3 or equal != args.limit:
        sys.exit("hone serve and transformers differ")


if __name__ == "__main__":
    main()
