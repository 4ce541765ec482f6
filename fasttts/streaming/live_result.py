"""Results of running searches, made of their events, to draw them meanwhile."""

from collections.abc import Mapping
from typing import Any

from fasttts.types import (
    Event,
    Fate,
    Finished,
    Path,
    Progress,
    Pruned,
    RecordedNode,
    SearchRecord,
    SearchResult,
    Step,
    StepFinished,
    StepScored,
    Timings,
    Usage,
)


class LiveResult:
    """Collects the events of one search; `result` is a result without candidates until its end.

    Args:
        problem: The text that is searched.
        config: Options of the search, such as `search` and `n`, as far as they are to be shown.
        generator: The generator's name.
        verifier: The verifier's; None without one.
    """

    def __init__(
        self,
        problem: str,
        config: Mapping[str, Any],
        *,
        generator: str,
        verifier: str | None = None,
    ) -> None:
        self._problem = problem
        self._config = dict(config)
        self._generator = generator
        self._verifier = verifier
        self._texts: dict[Path, str] = {}
        self._scores: dict[Path, float] = {}
        self._pruned: set[Path] = set()
        self._progress: Progress | None = None
        self._final: SearchResult | None = None

    def take(self, event: Event) -> None:
        """Adds an event of the search."""
        match event:
            case StepFinished():
                self._texts[event.path] = event.text
            case StepScored():
                self._scores[event.path] = event.score
            case Pruned():
                self._pruned.update(event.paths)
            case Progress():
                self._progress = event
            case Finished():
                self._final = event.result

    @property
    def result(self) -> SearchResult:
        """The search so far; its whole result once it has ended."""
        if self._final is not None:
            return self._final
        told = self._progress
        return SearchResult(
            text=told.best_text if told else "",
            answer=None,
            score=told.best_score if told else None,
            finish_reason="step",
            candidates=(),
            usage=Usage(
                generated_tokens=told.generated_tokens if told else 0, num_nodes=len(self._texts)
            ),
            timings=Timings(total_s=told.elapsed_s if told else 0.0),
            record=SearchRecord(problem=self._problem, nodes=self._nodes()),
            seed=self._config.get("seed", 0),
            config=self._config,
            generator=self._generator,
            verifier=self._verifier,
        )

    def _nodes(self) -> tuple[RecordedNode, ...]:
        parents = {path[:-1] for path in self._texts}
        return tuple(self._node(path, path in parents) for path in sorted(self._texts))

    def _node(self, path: Path, is_parent: bool) -> RecordedNode:
        undecided: Fate = "pruned" if path in self._pruned else "running"
        score = self._scores.get(path)
        return RecordedNode(
            path=path,
            steps=(Step(text=self._texts[path].strip(), score=score),),
            score=score,
            fate="continued" if is_parent else undecided,
            finish_reason=None,
            num_tokens=0,
            num_tokens_ahead=0,
            ran=(),
            decided_at=None,
            scored_at=None,
        )
