"""Drafters for the fake generator: right, wrong, and both at once."""

import random
from collections.abc import Sequence
from dataclasses import replace

from fasttts.backends.fake import VOCAB_SIZE, FakeGenerator
from fasttts.interfaces import GenerationRequest


class Oracle:
    """Drafts what will be drawn, to the end of the text."""

    def __init__(self, generator: FakeGenerator | None = None) -> None:
        self._generator = generator or FakeGenerator()
        self._compiled: dict[str, object] = {}

    def __call__(
        self, request: GenerationRequest, token_ids: Sequence[int], most: int
    ) -> Sequence[int]:
        grammar, num_new = request.grammar, len(token_ids) - len(request.prompt_token_ids)
        if grammar is not None and grammar not in self._compiled:
            self._compiled[grammar] = self._generator.compile_grammar(grammar)
        known = replace(
            request,
            prompt_token_ids=list(token_ids),
            max_tokens=most,
            num_answer_tokens=request.num_answer_tokens + num_new,
            draft_group=None,
        )
        self._generator.add(known)
        found: list[int] = []
        while self._generator.num_unfinished():
            for output in self._generator.step():
                found += output.token_ids
        return found


class Mixed:
    """Drafts of every length, right up to some place: an adversary that is sometimes helpful.

    Args:
        seed: What it drafts follows from it and from the text.
        share: Of the drafts, those that are right to their end.
    """

    def __init__(self, seed: int, share: float = 0.5) -> None:
        self._random = random.Random(seed)
        self._share = share
        self._oracle = Oracle()

    def __call__(
        self, request: GenerationRequest, token_ids: Sequence[int], most: int
    ) -> Sequence[int]:
        length = self._random.randint(0, most)
        draft = list(self._oracle(request, token_ids, length)) if length else []
        if draft and self._random.random() > self._share:
            wrong_at = self._random.randrange(len(draft))
            draft[wrong_at] = self._random.randrange(VOCAB_SIZE)
        return draft + [self._random.randrange(VOCAB_SIZE)] * self._random.randint(0, 2)


def wrong(request: GenerationRequest, token_ids: Sequence[int], most: int) -> Sequence[int]:
    """Drafts as many tokens as it may, none of which is in the vocabulary."""
    return [VOCAB_SIZE + 1] * most
