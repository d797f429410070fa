"""Words counted in parallel: each counter takes the next file when it is free, and returns what it counted.

    source --paths--> count, count, ...           Parallel returns the Counters; their sum is the result
"""

import re
import sys
from collections import Counter
from pathlib import Path

from interproc.csp import Channel, Parallel, Reader, parts, process

WORD = re.compile(r"[^\W\d_]+")


@process
def count(paths: Reader[Path]) -> Counter[str]:
    words = Counter[str]()
    for path in paths:
        words.update(WORD.findall(path.read_text(encoding="utf-8").lower()))
    return words


def main(folder: str = str(Path(__file__).parent), workers: int = 4) -> Counter[str]:
    """The words of a folder's Python files."""
    files = sorted(Path(folder).glob("*.py"))
    paths = Channel[Path]("paths")
    _, *counters = Parallel(parts.source(files, paths.writer()), count(paths.reader()) * workers)
    words = sum(counters, Counter[str]())
    print(f"{words.total()} words in {len(files)} files")
    for word, times in words.most_common(5):
        print(f"{times:6} {word}")
    return words


if __name__ == "__main__":
    main(*sys.argv[1:])
