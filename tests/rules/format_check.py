#!/usr/bin/python3
"""Checks that clang-format would change nothing.

    format_check.py <clang-format> <project root>
"""

import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from source_files import source_files  # noqa: E402


def main() -> int:
    clang_format, root = sys.argv[1], Path(sys.argv[2])
    # .inc files are tables, laid out by hand.
    files = [str(path) for path in source_files(root) if path.suffix != ".inc"]
    batches = [files[i : i + 50] for i in range(0, len(files), 50)]
    failed = False
    for batch in batches:
        done = subprocess.run([clang_format, "--dry-run", "--Werror", "--ferror-limit=1", *batch], cwd=root)
        failed = failed or done.returncode != 0
    print(f"{len(files)} files read; " + ("mend with: clang-format-14 -i <file>" if failed else "all are formatted"))
    return 1 if failed or not files else 0


if __name__ == "__main__":
    sys.exit(main())
