"""Rows of a benchmark (README.md, 'Output'): printed, and written as JSON."""
import json
import os


def print_rows(rows):
    width = max([20, *(len(row["name"]) for row in rows)])
    print(f"{'':{width}s} {'Hone':>9s} {'min':>9s} {'max':>9s} {'peer':>9s} {'ratio':>6s}")
    for row in rows:
        print(f"{row['name']:{width}s} {row['value']:9.1f} {row['min']:9.1f} {row['max']:9.1f} {row['peer_value']:9.1f} {row['ratio']:6.2f}  "
              f"{row['unit']}; {row['peer']}")


def write_rows(rows, path):
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    with open(path, "w") as f:
        json.dump(rows, f, indent=1)
        f.write("\n")
