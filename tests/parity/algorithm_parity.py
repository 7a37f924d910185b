"""Every algorithm's advantages, loss and gradients against the same formulas written in PyTorch, with its own autograd, in float64.

The formulas are those of the papers that docs/algorithms.md names, in batched form and without a look at Hone's code: log-ratios as
tensors, group means by scatter, derivatives by backward().

Usage: algorithm_parity.py --tool build/release/bin/algorithm_tool
Prints a table; exits 1 if a row misses its limit (1e-5, relative to the largest value of its tensor).
"""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy
import torch

LIMIT = 1e-5
MAX_NEW_TOKENS = 12
torch.set_default_dtype(torch.float64)

# name -> (what the run file says, what the formulas below need)
GRPO = dict(low=0.2, high=0.2, ratio="token", loss="clip", baseline="mean", norm="std", eps=1e-6, agg="token_mean", beta=0.0,
            kl="k3", place="loss", gamma=0.0, discount=1.0, dual=0.0, corrections=(), old="start", process=False)


def case(yaml, **settings):
    return yaml, {**GRPO, **settings}


ALGORITHMS = {
    "default": case(""),
    "grpo": case("preset: grpo", agg="seq_mean_token_mean", beta=0.04),
    "grpo, population std, epsilon": case("preset: grpo, advantage_normalization: population_std, advantage_epsilon: 0.1",
                                          agg="seq_mean_token_mean", beta=0.04, norm="pop", eps=0.1),
    "dr_grpo": case("preset: dr_grpo", norm="none", agg="constant"),
    "dapo": case("preset: dapo", high=0.28),
    "dapo, dual clip": case("preset: dapo, dual_clip: 1.5", high=0.28, dual=1.5),
    "gspo": case("preset: gspo", low=3e-4, high=4e-4, ratio="seq_mean", agg="seq_mean_token_mean"),
    "gspo, wide": case("preset: gspo, clip_low: 0.5, clip_high: 0.5", low=0.5, high=0.5, ratio="seq_mean",
                       agg="seq_mean_token_mean"),
    "cispo": case("preset: cispo", loss="cispo", low=1.0, high=4.0),
    "cispo, both bounds": case("policy_loss: cispo, clip_low: 0.1, clip_high: 0.2", loss="cispo", low=0.1, high=0.2),
    "cispo, cap": case("policy_loss: cispo_cap, clip_high: 1.1", loss="cap", high=1.1),
    "rloo": case("preset: rloo", baseline="loo", norm="none", ratio="seq_product", agg="seq_mean_token_sum", beta=0.03, kl="k1",
                 place="sequence"),
    "rloo, wide": case("preset: rloo, clip_low: 0.9, clip_high: 9", baseline="loo", norm="none", ratio="seq_product",
                       agg="seq_mean_token_sum", beta=0.03, kl="k1", place="sequence", low=0.9, high=9.0),
    "reinforce++": case("preset: reinforce_plus_plus", baseline="none", norm="whiten", beta=0.01, kl="k1", place="token"),
    "reinforce++, discount": case("preset: reinforce_plus_plus, discount: 0.9, advantage_normalization: whiten_population",
                                  baseline="none", norm="whiten_pop", beta=0.01, kl="k1", place="token", discount=0.9),
    "reinforce++ baseline": case("preset: reinforce_plus_plus_baseline", norm="whiten", beta=0.01, kl="k2"),
    "others' std": case("baseline: leave_one_out, advantage_normalization: others_std", baseline="loo", norm="others"),
    "batch std": case("advantage_normalization: batch_std, advantage_epsilon: 1e-4", norm="batch", eps=1e-4),
    "k3+": case("kl_coefficient: 0.1, kl_estimator: k3_plus", beta=0.1, kl="k3+"),
    "entropy bonus": case("entropy_coefficient: 0.01", gamma=0.01),
    "tis": case("corrections: [{level: token, mode: truncate, upper: 1.1}]", corrections=(("token", "truncate", 0, 1.1),)),
    "sequence tis": case("corrections: [{level: sequence, mode: truncate, upper: 2}]",
                         corrections=(("sequence", "truncate", 0, 2),)),
    "sequence mis": case("corrections: [{level: sequence, mode: mask, lower: 0.5, upper: 2}]",
                         corrections=(("sequence", "mask", 0.5, 2),)),
    "icepop": case("corrections: [{level: token, mode: mask, lower: 0.9, upper: 1.2}]",
                   corrections=(("token", "mask", 0.9, 1.2),)),
    "geometric rejection and tis": case(
        "corrections: [{level: geometric_mean, mode: reject, lower: 0.95, upper: 1.05}, {level: token, mode: truncate, upper: 1.1}]",
        corrections=(("geometric", "reject", 0.95, 1.05), ("token", "truncate", 0, 1.1))),
    "old policy: rollout": case("old_policy: rollout", old="rollout"),
    "process": case("supervision: process", process=True),
    "process, population std": case("preset: grpo, supervision: process, advantage_normalization: population_std",
                                    process=True, norm="pop", agg="seq_mean_token_mean", beta=0.04),
    "process, no std": case("supervision: process, advantage_normalization: none", process=True, norm="none"),
    "sapo (custom)": case("custom_loss: {name: sapo, parameters: {tau_negative: 1.5}}", loss="sapo"),
    "max_rl (custom)": case("custom_advantage: {name: max_rl}", baseline="max_rl", norm="none"),
}


def random_batch(generator):
    """Groups of 4, 1 and 3 samples and one with equal rewards; an unscorable sample, a masked one and an empty one."""
    sequences = []
    for group, size in enumerate((4, 1, 3, 2)):
        for i in range(size):
            count = int(generator.integers(1, MAX_NEW_TOKENS + 1))
            reward = float(generator.choice([0.0, 0.5, 1.0, 2.0]))
            sequence = {"group": group, "reward": 1.0 if group == 3 else reward, "in_loss": True}
            if group == 0 and i == 0:
                count = 0
                sequence["in_loss"] = False
            if group == 0 and i == 1:
                sequence.update(reward=None, in_loss=False)
            if group == 2 and i == 0:
                sequence["in_loss"] = False  # truncated: its reward still counts in the baseline
            old = -generator.exponential(1.0, count)
            for key, spread in (("logprobs", 0.3), ("rollout", 0.1), ("reference", 0.4)):
                sequence[key] = (old + spread * generator.standard_normal(count)).astype(numpy.float32).tolist()
            sequence["old"] = old.astype(numpy.float32).tolist()
            sequence["entropies"] = generator.exponential(1.0, count).astype(numpy.float32).tolist()
            ends = sorted({int(end) for end in generator.integers(0, count, 3)}) if count else []
            sequence["steps"] = [[end, float(generator.choice([0.0, 0.5, 1.0]))] for end in ends]
            sequences.append(sequence)
    return sequences


def kl_value(kind, logprob, reference):
    d = reference - logprob
    if kind == "k1":
        return -d
    if kind == "k2":
        return d * d / 2
    k3 = torch.exp(d) - d - 1
    if kind == "k3+":  # the value of one, the gradient of the other
        k2 = d * d / 2
        return k2 + (k3 - k2).detach()
    return k3


def whiten(rows, population):
    flat = torch.cat(rows)
    if flat.numel() < 2 or bool((flat == flat[0]).all()):
        return [torch.zeros_like(row) for row in rows]
    variance = flat.var(unbiased=not population)
    return [(row - flat.mean()) / torch.sqrt(variance + 1e-8) for row in rows]


def outcome_advantages(sequences, rewards, s):
    scored = [i for i, r in enumerate(rewards) if r is not None]
    advantages = [0.0] * len(sequences)
    for group in {q["group"] for q in sequences}:
        members = [i for i in scored if sequences[i]["group"] == group]
        values = torch.tensor([float(rewards[i]) for i in members])
        if s["baseline"] == "max_rl":
            for i, value in zip(members, values):
                advantages[i] = float((value - values.mean()) / values.mean()) if float(values.mean()) > 0 else 0.0
            continue
        if s["baseline"] == "none":
            for i, value in zip(members, values):
                advantages[i] = float(value)
            continue
        if len(members) < 2 or bool((values == values[0]).all()):
            continue
        for k, i in enumerate(members):
            others = torch.cat([values[:k], values[k + 1:]])
            a = values[k] - (others.mean() if s["baseline"] == "loo" else values.mean())
            if s["norm"] == "std":
                a = a / (values.std() + s["eps"])
            elif s["norm"] == "pop":
                a = a / (values.std(unbiased=False) + s["eps"])
            elif s["norm"] == "others" and len(others) > 1 and float(others.std()) > 0:
                a = a / (others.std() + s["eps"])
            advantages[i] = float(a)
    if s["norm"] == "batch":
        std = torch.tensor([float(rewards[i]) for i in scored]).std()
        if float(std) > 0:
            advantages = [a / float(std + s["eps"]) for a in advantages]
    return advantages


def process_advantages(sequences, s):
    rows = [torch.zeros(len(q["old"])) for q in sequences]
    for group in {q["group"] for q in sequences}:
        members = [i for i, q in enumerate(sequences) if q["group"] == group and q["reward"] is not None]
        steps = [(i, token, reward) for i in members for token, reward in sequences[i]["steps"]]
        rewards = torch.tensor([reward for _, _, reward in steps])
        if len(steps) < 2 or bool((rewards == rewards[0]).all()):
            continue
        divisor = {"std": rewards.std() + s["eps"], "pop": rewards.std(unbiased=False) + s["eps"], "none": 1.0}[s["norm"]]
        for (i, token, _), value in zip(steps, (rewards - rewards.mean()) / divisor):
            rows[i][:token + 1] += value
    return rows


def torch_advantages(sequences, s):
    if s["process"]:
        return process_advantages(sequences, s)
    penalties = [s["beta"] * kl_value(s["kl"], torch.tensor(q["old"]), torch.tensor(q["reference"])) for q in sequences]
    rewards = [q["reward"] for q in sequences]
    if s["place"] == "sequence":
        rewards = [None if r is None else r - float(p.sum()) for r, p in zip(rewards, penalties)]
    outcomes = outcome_advantages(sequences, rewards, s)
    rows = []
    for q, outcome, penalty, reward in zip(sequences, outcomes, penalties, rewards):
        count = len(q["old"])
        if s["place"] == "token" and reward is not None and count:
            token_rewards = -penalty
            token_rewards[-1] += outcome
            powers = torch.tensor([[s["discount"] ** (u - t) if u >= t else 0.0 for u in range(count)] for t in range(count)])
            rows.append(powers @ token_rewards)
        else:
            rows.append(torch.full((count,), outcome))
    if s["norm"].startswith("whiten"):
        inside = [i for i, q in enumerate(sequences) if q["in_loss"]]
        for i, row in zip(inside, whiten([rows[i] for i in inside], s["norm"] == "whiten_pop")):
            rows[i] = row
    return rows


def correction_weight(spec, log_rho):
    level, mode, lower, upper = spec
    if level == "sequence":
        log_rho = log_rho.sum().expand_as(log_rho)
    elif level == "geometric":
        log_rho = log_rho.mean().expand_as(log_rho)
    rho = torch.exp(log_rho)
    if mode == "truncate":
        return rho.clamp(max=upper)
    inside = ((rho >= lower) & (rho <= upper)).double()
    return inside if mode == "reject" else rho * inside


def torch_loss(sequences, advantages, s):
    """The loss, and its leaves: log-probs and entropies of each sequence."""
    leaves = [(torch.tensor(q["logprobs"], requires_grad=True), torch.tensor(q["entropies"], requires_grad=True))
              for q in sequences]
    inside = [i for i, q in enumerate(sequences) if q["in_loss"] and q["logprobs"]]
    tokens = sum(len(sequences[i]["logprobs"]) for i in inside)
    loss = torch.zeros(())
    for i in inside:
        q, (logprob, entropy), a = sequences[i], leaves[i], advantages[i]
        old, rollout = torch.tensor(q["old"]), torch.tensor(q["rollout"])
        base = rollout if s["old"] == "rollout" else old
        count = len(q["logprobs"])
        log_ratio = logprob - base
        share = 1.0
        if s["ratio"] == "seq_mean":  # GSPO's token form
            log_ratio = log_ratio.mean().detach() + logprob - logprob.detach()
        elif s["ratio"] == "seq_product":  # one term for the sequence
            log_ratio = log_ratio.sum().expand(count)
            share = 1.0 / count
        r = torch.exp(log_ratio)
        if s["loss"] == "sapo":
            tau = torch.where(a > 0, 1.0, 1.5)
            term = -4 / tau * torch.sigmoid(tau * (r - 1)) * a
        elif s["loss"] == "cispo":
            term = -r.detach().clamp(1 - s["low"], 1 + s["high"]) * a * logprob
        elif s["loss"] == "cap":
            term = -r.detach().clamp(max=s["high"]) * a * logprob
        else:
            term = -torch.minimum(r * a, r.clamp(1 - s["low"], 1 + s["high"]) * a)
            if s["dual"] > 0:
                term = torch.where(a < 0, torch.minimum(term, -s["dual"] * a), term)
        for spec in s["corrections"]:
            term = term * correction_weight(spec, old - rollout)
        term = term * share
        if s["beta"] > 0 and s["place"] == "loss":
            term = term + s["beta"] * kl_value(s["kl"], logprob, torch.tensor(q["reference"]))
        term = term - s["gamma"] * entropy
        weight = {"token_mean": 1.0 / tokens, "seq_mean_token_mean": 1.0 / (len(inside) * count),
                  "seq_mean_token_sum": 1.0 / len(inside), "constant": 1.0 / (len(inside) * MAX_NEW_TOKENS)}[s["agg"]]
        loss = loss + weight * term.sum()
    loss.backward()
    gradient = [(torch.zeros_like(l) if l.grad is None else l.grad, torch.zeros_like(e) if e.grad is None else e.grad)
                for l, e in leaves]
    return float(loss.detach()), gradient


def relative(ours, theirs):
    """Largest difference over the largest value."""
    ours = torch.cat([torch.tensor(row) for row in ours])
    theirs = torch.cat(list(theirs)).detach()
    scale = float(theirs.abs().max())
    return float((ours - theirs).abs().max()) / scale if scale > 0 else float(ours.abs().max())


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--tool", type=pathlib.Path, required=True)
    parser.add_argument("--batches", type=int, default=20, help="random batches for each algorithm")
    options = parser.parse_args()
    generator = numpy.random.default_rng(7)
    cases = [(name, settings, {"algorithm": yaml, "max_new_tokens": MAX_NEW_TOKENS, "sequences": random_batch(generator)})
             for name, (yaml, settings) in ALGORITHMS.items() for _ in range(options.batches)]
    with tempfile.TemporaryDirectory() as work:
        inputs, outputs = pathlib.Path(work) / "cases.json", pathlib.Path(work) / "results.json"
        inputs.write_text(json.dumps([c for _, _, c in cases]))
        subprocess.run([str(options.tool), str(inputs), str(outputs)], check=True)
        results = json.loads(outputs.read_text())
    worst = {}
    for (name, settings, test), result in zip(cases, results):
        advantages = torch_advantages(test["sequences"], settings)
        loss, gradients = torch_loss(test["sequences"], advantages, settings)
        row = worst.setdefault(name, [0.0, 0.0, 0.0, 0.0])
        figures = (relative(result["advantages"], advantages), abs(result["loss"] - loss) / max(abs(loss), 1e-3),
                   relative(result["d_logprob"], [g for g, _ in gradients]),
                   relative(result["d_entropy"], [e for _, e in gradients]))
        for i, figure in enumerate(figures):
            row[i] = max(row[i], figure)
    misses = 0
    print(f"{'algorithm':<32} {'advantages':>11} {'loss':>11} {'d log pi':>11} {'d entropy':>11}   limit {LIMIT:.0e}")
    for name, row in worst.items():
        ok = max(row) <= LIMIT
        misses += not ok
        print(f"{name:<32} " + " ".join(f"{figure:>11.2e}" for figure in row) + f"   {'ok' if ok else 'MISS'}")
    print(f"{len(worst) - misses} of {len(worst)} algorithms within the limit, {options.batches} random batches each")
    return 1 if misses else 0


sys.exit(main())
