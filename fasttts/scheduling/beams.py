"""The beams that a policy is shown: nodes with the scores of their paths and their answers.

Answers are read where a policy counts them. A user's function reads in a thread of its own.
"""

import functools
import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from fasttts.answers.equality import canonical_answer
from fasttts.answers.extraction import Answer, Extractor, resolve_extractor
from fasttts.answers.thoughts import opens_thoughts
from fasttts.config import SearchConfig
from fasttts.decoding.tokenizer import Tokenizer, text_behind_control
from fasttts.search.aggregation import aggregate, best_aggregate
from fasttts.search.policy import SearchPolicy
from fasttts.search.probing import probed_answer
from fasttts.tree import Beam, Node
from fasttts.verifiers.daemon_pool import Call, DaemonPool

logger = logging.getLogger(__name__)

_MAX_MARKER_TOKENS = 16
"""Tokens of a prompt's end in which a marker that opens thoughts would stand."""


class Beams:
    """Makes the beams of one search's nodes.

    Args:
        policy: Determines whether answers are read.
        config: The search's resolved options.
        tokenizer: The generator's.
        extract: Finds the answer in a text; None goes by the option `answer`.
        prompt_token_ids: The prompt, which may open a thought.

    Attributes:
        reader: Finds the answers in the search's texts.
        unanswered: Nodes in whose text a user's function looks for the answer.
    """

    def __init__(
        self,
        policy: SearchPolicy,
        config: SearchConfig,
        tokenizer: Tokenizer,
        extract: Extractor | None,
        prompt_token_ids: Sequence[int],
    ) -> None:
        self.unanswered: dict[Node, Call[Answer | None]] = {}
        self._policy = policy
        self._aggregation = config.aggregation
        self._tokenizer = tokenizer
        is_open = opens_thoughts(
            text_behind_control(tokenizer, prompt_token_ids[-_MAX_MARKER_TOKENS:])
        )
        self.reader: Final = resolve_extractor(extract, config.answer, is_open=is_open)
        self._extraction: DaemonPool | None = None

    def make(self, node: Node) -> None:
        """Makes the beam of an ended node, or starts to look for the answer that it waits for."""
        if node in self.unanswered:
            return
        if node.limits.is_probe:
            self._make(node, self._probed(node))
        elif node.beam is not None:  # only its score was missing
            node.beam = replace(node.beam, score=self._score(node))
        elif not self._policy.needs_answers or node.finish_reason != "stop":
            self._make(node, None)
        elif self.reader.is_function:
            if self._extraction is None:
                self._extraction = DaemonPool(1, name="fasttts-extract")
            find = functools.partial(self._find_answer, node.path_text())
            self.unanswered[node] = self._extraction.submit(find)
        else:
            self._make(node, self._find_answer(node.path_text()))

    def take_answers(self) -> list[Node]:
        """Makes the beams of nodes whose answers have been looked for, and returns the nodes."""
        found = [node for node, call in self.unanswered.items() if call.done()]
        for node in found:
            self._make(node, self.unanswered.pop(node).result())
        return found

    def best_score(self, node: Node) -> float:
        """The highest score that the path to an ended, unscored node of the frontier can get."""
        before = node.parent.path_scores() if node.parent else ()
        assert before is not None, f"{node.path} is in the frontier before its parent is scored"
        return best_aggregate(before, self._aggregation, max(1, len(node.steps)))

    def close(self) -> None:
        """Drops calls of users' functions that have not ended; the search has."""
        self.unanswered.clear()
        if self._extraction is not None:
            self._extraction.close()

    def _make(self, node: Node, found: Answer | None) -> None:
        node.beam = Beam(
            path=node.path,
            score=0.0 if node.scores_S is None else self._score(node),
            is_answer_ended=node.is_answer_ended or node.limits.is_probe,
            answer=None if found is None else found.text,
            is_announced=found is None or found.is_announced,
        )

    def _score(self, node: Node) -> float:
        scores_S = node.path_scores()
        assert scores_S is not None, f"{node.path} is scored before its parent"
        return aggregate(scores_S, self._aggregation)

    def _probed(self, node: Node) -> Answer | None:
        """Finds the answer that a probe was given, and spells it as all equal ones are."""
        begins_with = node.limits.begins_with
        asked = self._tokenizer.decode(begins_with)
        found = probed_answer(asked, self._tokenizer.decode(node.token_ids[len(begins_with) :]))
        return None if found is None else Answer(canonical_answer(found))

    def _find_answer(self, text: str) -> Answer | None:
        """Finds the answer of a complete candidate, and spells it as all equal ones are.

        An extractor that fails finds no answer here; the error is raised again in the caller's
        thread.
        """
        try:
            found = self.reader.read(text)
        except BaseException:  # a user's function may raise anything
            logger.debug("an extractor failed", exc_info=True)
            return None
        answer: object = found and found.text
        if found is None or not isinstance(answer, str) or not answer:
            return None
        return Answer(canonical_answer(answer), found.is_announced)
