#!/usr/bin/env python3
"""A run's TensorBoard event files, read by the `tensorboard` package, against its metrics.jsonl.

usage: tfevents_parity.py RUN_FOLDER
       tfevents_parity.py --program REPORT_SAMPLE_RUN

Checks that TensorBoard's reader takes every record (checksums included), and that each scalar is there once, with its tag,
step, time and value (as fp32). With --program, a made-up run is written first.
"""
import argparse
import datetime
import glob
import json
import os
import struct
import subprocess
import sys
import tempfile

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader


def as_fp32(value):
    return struct.unpack("<f", struct.pack("<f", float(value)))[0]


def expected_points(run):
    points = {}
    with open(os.path.join(run, "metrics.jsonl"), encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            time = datetime.datetime.fromisoformat(row["time"].replace("Z", "+00:00")).timestamp()
            for name, value in row["metrics"].items():
                points[(f"{row['stage']}/{name}", row["step"])] = (time, as_fp32(value))
    return points


def check(run):
    files = glob.glob(os.path.join(run, "tensorboard", "events.out.tfevents.*"))
    assert len(files) == 1, f"expected one event file in {run}/tensorboard, got {files}"
    first = next(iter(EventFileLoader(files[0]).Load()))
    assert first.file_version == "brain.Event:2", first
    accumulator = EventAccumulator(files[0], size_guidance={"scalars": 0, "tensors": 0})
    accumulator.Reload()
    found = {}
    for tag in accumulator.Tags()["scalars"]:
        for event in accumulator.Scalars(tag):
            assert (tag, event.step) not in found, f"{tag} step {event.step} is there twice"
            found[(tag, event.step)] = (event.wall_time, event.value)
    expected = expected_points(run)
    missing, extra = expected.keys() - found.keys(), found.keys() - expected.keys()
    assert not missing and not extra, f"missing {sorted(missing)[:3]}, not expected {sorted(extra)[:3]}"
    for key, (time, value) in expected.items():
        assert found[key][1] == value or (value != value and found[key][1] != found[key][1]), (key, value, found[key])
        assert abs(found[key][0] - time) < 1e-3, (key, time, found[key])
    assert expected, f"{run} has no metrics"
    print(f"tfevents_parity: {len(found)} points of {len(accumulator.Tags()['scalars'])} tags agree")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?")
    parser.add_argument("--program")
    args = parser.parse_args()
    if (args.run is None) == (args.program is None):
        parser.error("expected either RUN_FOLDER or --program")
    if args.run:
        check(args.run)
        return
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([args.program, folder], check=True)
        check(folder)


if __name__ == "__main__":
    sys.exit(main())
