"""Time of one long answer against its length: without, with a stop string, with a step pattern.

    python -m benchmarks.text_length

One beam of one endless step on the fake backend, so that whatever is looked for never comes. The
time a thousand tokens take should not depend on the length of the answer.
"""

import argparse
import time
from collections.abc import Iterator
from typing import Any

from benchmarks.report import Report
from fasttts import FastTTS, SchedulingConfig
from fasttts.backends.fake import FakeGenerator, FakeVerifier

ARMS: dict[str, dict[str, Any]] = {
    "plain": {},
    "stop": {"stop": ["\nObservation:", "never"]},
    "step_pattern": {"step_pattern": r"zzz\d+qq"},
    "both": {"stop": ["never"], "step_pattern": r"zzz\d+qq"},
}
LENGTHS = (1000, 2000, 4000, 8000, 16_000, 32_000)
_COLUMNS = {"arm": "arm", "tokens": "tokens", "seconds": "seconds", "ms": "ms/1k tokens"}
_SENTENCE = "The sum is 12, and\nsome more words. "


def rows(lengths: tuple[int, ...], repetitions: int) -> Iterator[dict[str, Any]]:
    """The fastest of the repetitions of every arm at every length."""
    for name, options in ARMS.items():
        for length in lengths:
            seconds = min(_seconds(length, options) for _ in range(repetitions))
            yield {
                "arm": name,
                "tokens": length,
                "seconds": seconds,
                "ms": 1000 * seconds / (length / 1000),
            }


def _seconds(length: int, options: dict[str, Any]) -> float:
    text = (_SENTENCE * (length // len(_SENTENCE) + 1))[:length]
    generator = FakeGenerator(lambda prompt: text, max_model_len=2 * length)
    scheduling = SchedulingConfig(speculation=False)
    with FastTTS(generator, FakeVerifier(), scheduling=scheduling) as engine:
        room = {"max_tokens": length + 8, "max_step_tokens": length + 8}
        started = time.perf_counter()
        result = engine.search("?", n=1, beam_width=1, **room, **options)
        seconds = time.perf_counter() - started
    assert len(result.text) == length
    return seconds


def main() -> None:
    """Prints the times."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lengths", type=int, nargs="+", default=list(LENGTHS))
    parser.add_argument("--repetitions", type=int, default=3)
    arguments = parser.parse_args()
    report = Report(benchmark="text-length", config=vars(arguments), seed=0, columns=_COLUMNS)
    report.take(list(rows(tuple(arguments.lengths), arguments.repetitions)))
    report.print()


if __name__ == "__main__":
    main()
