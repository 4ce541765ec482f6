"""A cheap verifier before an expensive one."""

import itertools
from collections.abc import Iterator, Sequence

from fasttts.errors import ConfigurationError, shown
from fasttts.interfaces import Verification, VerificationRequest, Verifier
from fasttts.verifiers.async_scoring import AsyncScoring, finish, read_verification, scoring_of
from fasttts.verifiers.resolve import (
    VerifierLike,
    as_verifier,
    joint_fingerprint,
)


class Gate:
    """Sends only those steps to the second verifier that pass the first.

    A step whose score by the first is below the threshold keeps that score. Any other has the
    second's.

    Args:
        first: The cheap verifier, usually a function.
        second: The expensive verifier, usually a model.
        threshold: In (0, 1]; steps that score less are not sent to the second.

    Raises:
        ConfigurationError: The threshold lets all or no steps pass.
    """

    def __init__(
        self, first: VerifierLike, second: VerifierLike, *, threshold: float = 0.5
    ) -> None:
        least: object = threshold
        if not isinstance(least, int | float) or not 0 < least <= 1:
            raise ConfigurationError(f"threshold={shown(threshold)} lets all or nothing through")
        self.parts: tuple[Verifier, Verifier] = (as_verifier(first), as_verifier(second))
        self.threshold = threshold

    @property
    def name(self) -> str:
        """Both names and the threshold."""
        first, second = (part.name for part in self.parts)
        return f"gate({first} >= {self.threshold:g}, {second})"

    @property
    def fingerprint(self) -> str | None:
        """Fingerprint of the parts and the threshold; None where a part has none."""
        return joint_fingerprint(f"gate {self.threshold!r}", self.parts)

    def score(self, requests: Sequence[VerificationRequest]) -> list[Verification]:
        """Scores each request's unscored steps; see `interfaces.Verifier.score`."""
        return finish(self.score_async(requests))

    def score_async(self, requests: Sequence[VerificationRequest]) -> AsyncScoring:
        """`score` without blocking; see `async_scoring.AsyncVerifier`."""
        first, second = self.parts
        found = yield from scoring_of(first, requests)
        opinions = list(map(read_verification, found, requests))
        passed = [list(self._passed(*pair)) for pair in zip(requests, opinions, strict=True)]
        asked = list(itertools.chain.from_iterable(passed))
        found = (yield from scoring_of(second, asked)) if asked else []
        answers = zip(asked, map(read_verification, found, asked), strict=True)
        return [
            _merged(request, opinion, list(itertools.islice(answers, len(own))))
            for request, opinion, own in zip(requests, opinions, passed, strict=True)
        ]

    def close(self) -> None:
        """Closes both."""
        for part in self.parts:
            part.close()

    def _passed(
        self, request: VerificationRequest, opinion: Verification
    ) -> Iterator[VerificationRequest]:
        """Requests for the runs of consecutive steps that pass."""
        start = request.num_scored
        through = [score >= self.threshold for score in opinion.scores]
        for is_through, stretch in itertools.groupby(through):
            end = start + len(list(stretch))
            if is_through:
                yield request.part(start, end)
            start = end


def _merged(
    request: VerificationRequest,
    opinion: Verification,
    answers: Sequence[tuple[VerificationRequest, Verification]],
) -> Verification:
    scores = list(opinion.scores)
    is_nan = list(opinion.is_nan or (False,) * len(scores))
    for asked, answer in answers:
        place = slice(asked.num_scored - request.num_scored, len(asked.steps) - request.num_scored)
        scores[place] = answer.scores
        is_nan[place] = answer.is_nan or (False,) * len(answer.scores)
    found = [opinion, *(answer for _, answer in answers)]
    return Verification(
        scores=tuple(scores),
        num_computed_tokens=sum(one.num_computed_tokens for one in found),
        num_cached_tokens=sum(one.num_cached_tokens for one in found),
        is_nan=tuple(is_nan) if any(is_nan) else (),
    )
