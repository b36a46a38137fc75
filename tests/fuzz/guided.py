"""Fuzzing that follows coverage: ``python -m tests.fuzz.guided tests/fuzz/corpus -runs=100000``.

The plain decoder is instrumented, so an input that takes a new turn in it is kept and changed on;
the compiled one must agree with it on every message. The first byte of an input chooses the
dialect. Arguments are those of libFuzzer; inputs worth keeping go into the first folder named.
"""

import sys
from pathlib import Path

from engine import kernel_cache

kernel_cache.configure()

import atheris  # noqa: E402

with atheris.instrument_imports(
    include=["tests.oracle.codec", "tests.oracle.codec_fields", "tests.oracle.codec_parts"]
):
    from tests.fuzz import judge

from tests.fuzz.corpus_files import seeds  # noqa: E402


def one_input(data: bytes) -> None:
    """Judge one input: places, answers, a cut in the middle, and every message by the oracle."""
    if len(data) < 2:
        return
    links = [(data[0] % len(judge.DIALECTS), data[1:])]
    decoded = judge.decode(links)
    judge.judge_places(links, decoded)
    judge.judge_answers(decoded)
    judge.judge_cut(links, decoded, [len(links[0][1]) // 2])
    for row in range(len(decoded.request)):
        judge.judge_like_oracle(decoded, row)


def write_seeds(folder: Path) -> None:
    """Write the seeds as inputs, dialect first."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, (dialect, data) in enumerate(seeds()):
        (folder / f"seed-{number:03d}").write_bytes(bytes([dialect]) + data)


def main() -> None:
    """Run libFuzzer with the arguments given; ``--seeds FOLDER`` writes the seeds instead."""
    if sys.argv[1:2] == ["--seeds"]:
        write_seeds(Path(sys.argv[2]))
        return
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
