"""Whether a search can end in time, by the pace of those before it."""

from fasttts.config import SearchConfig
from fasttts.scheduling.accounting import EngineUsage

_Kind = tuple[str, int]


class Pace:
    """The fewest iterations that searches of each kind have taken."""

    def __init__(self) -> None:
        self._num_iterations: dict[_Kind, int] = {}

    def ended(self, config: SearchConfig, num_iterations: int) -> None:
        """Notes a search that ended by its own rule."""
        kind = (config.search, config.n)
        self._num_iterations[kind] = min(
            num_iterations, self._num_iterations.get(kind, num_iterations)
        )

    def expected_s(self, config: SearchConfig, num_ahead: int, usage: EngineUsage) -> float:
        """Seconds until such a search ends, behind others like it; 0 while nothing is known."""
        num_iterations = self._num_iterations.get((config.search, config.n), 0)
        if not num_iterations or not usage.num_iterations:
            return 0.0
        seconds = (usage.generation_s + usage.verification_s) / usage.num_iterations
        return seconds * num_iterations * (1 + num_ahead)
