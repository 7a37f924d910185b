#!/usr/bin/env python3
"""Kills Hone's processes with SIGKILL, at random moments and at every named crash point, and starts them again.

However a run is disturbed, it must end with the final weights of the undisturbed run, and every group of every step must be in the
journal exactly once. Standard library only.

    tests/fault/kill_test.py --bin build/release/bin --seeds 30
"""
import argparse
import collections
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
ROLES = ["coordinator", "reward-server", "learner", "rollout-worker"]
PROGRAMS = {role: "hone-" + role for role in ROLES}


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Cluster:
    """The four processes of one run, each restarted when it dies."""

    def __init__(self, bin_dir, folder):
        self.bin = bin_dir
        self.folder = folder
        self.address = f"127.0.0.1:{free_port()}"
        self.processes = {}
        self.starts = collections.Counter()
        self.exits = []

    def start(self, role, crash_at=None):
        arguments = [os.path.join(self.bin, PROGRAMS[role]), "--log_level", "info"]
        if role == "coordinator":
            arguments += ["--listen", self.address, "--state", os.path.join(self.folder, "state")]
        else:
            arguments += ["--listen", "127.0.0.1:0", "--coordinator", self.address]
        if role in ("learner", "rollout-worker"):
            arguments += ["--threads", "1"]
        environment = {k: v for k, v in os.environ.items() if k != "HONE_CRASH_AT"}
        if crash_at:
            environment["HONE_CRASH_AT"] = crash_at
        with open(os.path.join(self.folder, role + ".log"), "ab") as log:
            self.processes[role] = subprocess.Popen(arguments, stdout=log, stderr=log, env=environment, cwd=self.folder)
        self.starts[role] += 1

    def kill(self, role):
        process = self.processes[role]
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.wait()

    def revive(self):
        """Starts again what died; returns (role, exit status) of each death not caused by kill()."""
        deaths = []
        for role, process in list(self.processes.items()):
            status = process.poll()
            if status is not None:
                deaths.append((role, status))
                self.start(role)
        self.exits += deaths
        return deaths

    def stop(self):
        for process in self.processes.values():
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
            process.wait()

    def hone(self, *arguments, check=True):
        result = subprocess.run([os.path.join(self.bin, "hone"), *arguments, "--coordinator", self.address],
                                capture_output=True, text=True, cwd=self.folder)
        if check and result.returncode != 0:
            raise RuntimeError(f"hone {' '.join(arguments)}: exit {result.returncode}\n{result.stderr}")
        return result


def run_once(args, data, disturb, crash_role=None, crash_at=None):
    """One run from nothing to its end. Returns (summary, cluster record, folder)."""
    folder = tempfile.mkdtemp(prefix="run-", dir=args.work)
    cluster = Cluster(args.bin, folder)
    try:
        for role in ROLES:
            cluster.start(role, crash_at if role == crash_role else None)
        with open(os.path.join(ROOT, "tests/fault/tiny.yaml")) as f:
            text = f.read().replace("DATA/", data + "/")
        recipe = os.path.join(folder, "tiny.yaml")
        with open(recipe, "w") as f:
            f.write(text)
        deadline = time.monotonic() + args.timeout
        while True:  # the coordinator may be killed in the middle of this very call, so it is repeated with the same name
            result = cluster.hone("run", recipe, "--set", f"output_dir={folder}/out", check=False)
            if result.returncode == 0 or "ALREADY_EXISTS" in result.stderr or "already exists" in result.stderr:
                break
            cluster.revive()
            if time.monotonic() > deadline:
                raise RuntimeError("hone run: " + result.stderr)
            time.sleep(0.1)
        state = None
        while time.monotonic() < deadline:
            disturb(cluster)
            for role, status in cluster.revive():
                if status not in (137, -signal.SIGKILL) and not (role == "learner" and status == 1):
                    print(f"    note: {role} exited with {status}", flush=True)
            result = cluster.hone("status", "--output", "json", check=False)
            if result.returncode == 0:
                runs = json.loads(result.stdout).get("runs", [])
                state = runs[0]["state"] if runs else None
                if state in ("RUN_STATE_SUCCEEDED", "RUN_STATE_FAILED", "RUN_STATE_STOPPED", "succeeded", "failed", "stopped"):
                    break
            time.sleep(0.05)
        if state not in ("RUN_STATE_SUCCEEDED", "succeeded"):
            raise RuntimeError(f"run ended as {state}; logs in {folder}")
        samples = []
        for stage in ("zero", "behind"):
            listed = cluster.hone("samples", "tiny", "--stage", stage, "--purpose", "train", "--all", "--output", "json").stdout
            samples += [(stage, json.loads(line)) for line in listed.splitlines()]
    finally:
        cluster.stop()
    with open(os.path.join(folder, "out/summary.json")) as f:
        summary = json.load(f)
    keys = collections.Counter((stage, s["step"], s["group_id"], s["trajectory"]["sample_index"]) for stage, s in samples)
    if max(keys.values()) != 1:
        raise RuntimeError(f"expected each sample once, found {len(keys)} kinds, {len(samples)} in all; {folder}")
    summary["samples"] = set(keys)
    return summary, cluster, folder


def crash_points():
    """(name, role) of every HONE_CRASH_POINT in the sources; docs/durability.md must speak of each."""
    with open(os.path.join(ROOT, "docs/durability.md")) as f:
        documented = f.read()
    points = set()
    for folder, role in (("coordinator", "coordinator"), ("learner", "learner"), ("rollout_worker", "rollout-worker")):
        for path, _, names in os.walk(os.path.join(ROOT, folder)):
            for name in names:
                if not name.endswith(".cc") or name.endswith("_test.cc"):
                    continue
                with open(os.path.join(path, name)) as f:
                    points |= {(point, role) for point in re.findall(r'HONE_CRASH_POINT\("([a-z_.]+)"\)', f.read())}
    missing = sorted(point for point, _ in points if f"`{point}`" not in documented)
    if missing:
        raise SystemExit(f"docs/durability.md does not mention {', '.join(missing)}")
    return sorted(points)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", required=True)
    parser.add_argument("--seeds", type=int, default=30)
    parser.add_argument("--first_seed", type=int, default=0)
    parser.add_argument("--kills", type=int, default=6, help="random kills per seed")
    parser.add_argument("--timeout", type=float, default=240, help="seconds for one run")
    parser.add_argument("--points", default="all", help="'all', 'none' or one crash point's name")
    parser.add_argument("--keep", action="store_true", help="keep the folders of good runs")
    args = parser.parse_args()
    args.bin = os.path.abspath(args.bin)
    args.work = tempfile.mkdtemp(prefix="hone-kill-test-")
    data = os.path.join(args.work, "data")
    subprocess.run([os.path.join(args.bin, "hone"), "data", "make", "small-world", "--out", data], check=True, capture_output=True)

    begin = time.monotonic()
    summary, _, folder = run_once(args, data, lambda cluster: None)
    undisturbed_seconds = time.monotonic() - begin
    want = summary["weights_sha256"]
    want_samples = summary["samples"]
    if len(want_samples) < (8 + 6) * 4 * 4:
        raise SystemExit(f"expected at least {(8 + 6) * 4 * 4} samples, the undisturbed run has {len(want_samples)}")
    print(f"undisturbed: {undisturbed_seconds:.1f} s, {len(want_samples)} samples, weights {want}", flush=True)
    shutil.rmtree(folder)
    failures = 0

    def judge(name, work):
        nonlocal failures
        begin = time.monotonic()
        try:
            summary, cluster, folder = work()
            if summary["samples"] != want_samples:
                raise RuntimeError(f"{len(summary['samples'] ^ want_samples)} samples are missing or of another group than undisturbed; {folder}")
            good = summary["weights_sha256"] == want and summary["max_abs_logprob_diff"] == 0
            detail = f"starts {dict(cluster.starts)}" + ("" if good else f" WEIGHTS {summary['weights_sha256']} in {folder}")
            if good and not args.keep:
                shutil.rmtree(folder)
        except Exception as error:  # a failed case must not hide the others
            good, detail = False, str(error)
        failures += not good
        print(f"{'ok  ' if good else 'FAIL'} {name:40s} {time.monotonic() - begin:6.1f} s  {detail}", flush=True)

    for seed in range(args.first_seed, args.first_seed + args.seeds):
        rng = random.Random(seed)
        span = max(2.0, undisturbed_seconds * 1.2)
        plan = sorted((rng.uniform(0, span), rng.choice(ROLES)) for _ in range(args.kills))
        start = time.monotonic()

        def disturb(cluster, plan=plan, start=start):
            while plan and time.monotonic() - start > plan[0][0]:
                cluster.kill(plan.pop(0)[1])

        judge(f"random kills, seed {seed}", lambda: run_once(args, data, disturb))

    if args.points != "none":
        points = [p for p in crash_points() if args.points in ("all", p[0])]
        if not points:
            print(f"no crash point called {args.points}")
            failures += 1
        for name, role in points:
            for occurrence in (1, 3):
                def work(name=name, role=role, occurrence=occurrence):
                    result = run_once(args, data, lambda cluster: None, role, f"{name}:{occurrence}")
                    if occurrence == 1 and (role, 137) not in result[1].exits:
                        raise RuntimeError(f"{role} never passed {name}")
                    return result
                judge(f"{name}:{occurrence} in {role}", work)
    print(f"{'FAILED: ' + str(failures) if failures else 'all good'}")
    if not failures and not args.keep:
        shutil.rmtree(args.work)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
