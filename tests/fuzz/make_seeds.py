#!/usr/bin/python3
"""Finds seeds for fuzz targets: short inputs that together reach most of what libFuzzer came to in a while.

    cmake --preset fuzz && cmake --build --preset fuzz --target fuzzers
    tests/fuzz/make_seeds.py [--seconds N] [--seeds N] [--all] [NAME...]

Without names: targets that have no seeds yet (--all: all). A target that has some keeps them, and they count for what the others need not
reach. A new device: run it once for its target and add tests/fuzz/corpus/NAME_fuzz to the commit.
"""

import argparse
import hashlib
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
LONGEST = 768  # Bytes of a seed.


def explore(program: Path, folder: Path, given: Path, seconds: int):
    """Fills the folder with inputs that reach something new each."""
    words = [program, f"-max_total_time={seconds}", "-seed=1", f"-max_len={LONGEST}", "-timeout=10", "-rss_limit_mb=4096", folder]
    done = subprocess.run([*words, given] if given.is_dir() else words, capture_output=True, text=True, cwd=folder.parent)
    if done.returncode != 0:
        raise SystemExit(f"{program.name} found something:\n{done.stderr[-4000:]}")


def features(program: Path, folder: Path) -> dict:
    """{input: what it reaches}, from the file by which libFuzzer merges."""
    control, merged = folder.parent / "control", folder.parent / "merged"
    merged.mkdir()
    subprocess.run([program, "-merge=1", f"-merge_control_file={control}", merged, folder], capture_output=True, check=True, cwd=folder.parent)
    lines = control.read_text().splitlines()
    names = [Path(name) for name in lines[2:2 + int(lines[0])]]
    found = {}
    for line in lines[2 + len(names):]:
        word, number, *reached = line.split()
        if word == "FT":
            found[names[int(number)]] = set(reached)
    return found


def choose(found: dict, most: int) -> list:
    """Greedily, what adds most for its length."""
    chosen, reached = [], set()
    while len(chosen) < most:
        best = max(found, key=lambda path: (len(found[path] - reached), -path.stat().st_size), default=None)
        if best is None or not found[best] - reached:
            break
        reached |= found.pop(best)
        chosen.append(best)
    return chosen


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=Path, default=HERE.parents[1] / "build/fuzz/tests/fuzz")
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=16)
    parser.add_argument("--all", action="store_true")
    parser.add_argument("names", nargs="*")
    args = parser.parse_args()
    programs = sorted(args.build.glob("fuzz_*"))
    for program in [p for p in programs if p.is_file() and p.stat().st_mode & 0o111]:
        name = program.name.removeprefix("fuzz_")
        corpus = HERE / "corpus" / f"{name}_fuzz"
        if (args.names and name not in args.names) or (not args.names and not args.all and corpus.is_dir()):
            continue
        with tempfile.TemporaryDirectory(prefix="calque-seeds-") as work:
            folder = Path(work) / "found"
            folder.mkdir()
            explore(program, folder, corpus, args.seconds)
            found = features(program, folder)
            chosen = choose(found, args.seeds)
            corpus.mkdir(parents=True, exist_ok=True)
            for path in chosen:
                data = path.read_bytes()
                (corpus / hashlib.sha1(data).hexdigest()[:12]).write_bytes(data)
            print(f"{name}: {len(chosen)} seeds", flush=True)


if __name__ == "__main__":
    sys.exit(main())
