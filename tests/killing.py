"""A command that is killed at random iterations of its generator, and begun anew until it ends."""

import os
import random
import signal
import sys
from collections.abc import Sequence

from fasttts.backends.fake import FakeGenerator
from fasttts.cli import app
from fasttts.interfaces import GenerationOutput

_MOST_RUNS = 40


class Killer:
    """Counts the iterations that a generator of this process may still run.

    Args:
        generator: The generator.
    """

    def __init__(self, generator: FakeGenerator) -> None:
        self._step = generator.step
        self.num_left = sys.maxsize
        generator.step = self._killing  # type: ignore[method-assign]  # a test's own generator

    def _killing(self) -> list[GenerationOutput]:
        self.num_left -= 1
        if self.num_left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return self._step()


def run_until_done(
    generator: FakeGenerator, arguments: Sequence[str], *, shortest: int, longest: int
) -> None:
    """Runs the command line in children of this process, and prints how each ended.

    Args:
        generator: What the command line decodes with.
        arguments: The command.
        shortest: Fewest iterations before a child is killed.
        longest: Most of them.
    """
    killer, rng, statuses = Killer(generator), random.Random(1), list[int]()
    while (not statuses or statuses[-1]) and len(statuses) < _MOST_RUNS:
        num_left = rng.randint(shortest, longest)
        if (child := os.fork()) == 0:
            killer.num_left = num_left
            app(arguments)
        statuses.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    print(statuses, file=sys.stderr)
