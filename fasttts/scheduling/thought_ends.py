"""Ends of thoughts that nobody sampled: at the option's number of tokens, and where a policy says.

The tokens that end a thought are a function of the tokens before them alone, so that a search has
them at the same places whatever runs beside it.
"""

import functools
from collections.abc import Sequence

from fasttts.config import SearchConfig
from fasttts.decoding.thoughts import MAX_LATER_TOKENS, THINK, Beginning, ThoughtReader
from fasttts.decoding.tokenizer import Tokenizer
from fasttts.tree import Node, SearchTree


class ThoughtEnds:
    """Ends the thoughts of one search's answers.

    Args:
        tree: The tree.
        config: The search's resolved options.
        tokenizer: The generator's.
    """

    def __init__(self, tree: SearchTree, config: SearchConfig, tokenizer: Tokenizer) -> None:
        self._tree = tree
        self._tokenizer = tokenizer
        self._budget = config.thinking_token_budget
        self._is_constrained = config.structured_outputs is not None

    @functools.cached_property
    def _reader(self) -> ThoughtReader:
        """Made when it is needed: most searches ask nothing about thoughts."""
        return ThoughtReader(self._tokenizer, self._tree.prompt_token_ids)

    @property
    def begins_inside(self) -> bool:
        """Whether the prompt ends inside a thought."""
        return self._reader.opened is not None

    def due(self, node: Node) -> Sequence[int]:
        """The tokens that a node goes on with, whatever the generator samples; empty for none.

        They are `ThoughtReader.end_token_ids`, from the place behind the budget on, where no token
        before it ends the thought. A node may begin in the midst of them.
        """
        if self._budget is None or node.limits.is_probe:
            return ()
        num_tokens = node.num_path_tokens(len(self._tree.prompt_token_ids))
        begin = self._begin(node, num_tokens)
        if begin is None:
            return ()
        budget_end = begin.num_tokens + self._budget
        tokens = self._reader.end_token_ids(begin.markers)
        if not budget_end <= num_tokens < budget_end + MAX_LATER_TOKENS + len(tokens):
            return ()
        answer = self._answer(node)
        end = self._reader.place_of_end(answer, budget_end)
        if end is None or self._reader.has_end(answer[begin.num_tokens : end], begin.markers):
            return ()
        return tokens[num_tokens - end :]

    def is_over(self, node: Node, num_tokens: int) -> bool:
        """Whether a node has so many tokens, and its answer can be cut there inside a thought.

        Args:
            node: The node.
            num_tokens: Tokens of the node, of which it may have some more: a cut is inside no
                character, and not inside the end of a thought whose budget is over.
        """
        if not num_tokens <= len(node.token_ids) <= num_tokens + MAX_LATER_TOKENS:
            return False
        if self._reader.place_of_end(node.token_ids, num_tokens) != len(node.token_ids):
            return False
        return self.is_inside(node) and not self._is_ending(node)

    def _is_ending(self, node: Node) -> bool:
        """Whether the thought in which a path ends is behind its budget, and so is being ended."""
        if self._budget is None:
            return False
        num_tokens = node.num_path_tokens(len(self._tree.prompt_token_ids))
        begin = self._begin(node, num_tokens)
        return begin is not None and num_tokens > begin.num_tokens + self._budget

    def is_inside(self, node: Node) -> bool:
        """Whether a path ends inside a thought."""
        answer = self._answer(node)
        begin = self._find_begin(answer)
        if begin is None:
            return False
        return not self._reader.has_end(answer[begin.num_tokens :], begin.markers)

    def end_of(self, node: Node) -> Sequence[int]:
        """The tokens that end the thought in which a path ends; empty where it is in none."""
        begin = self._find_begin(self._answer(node))
        if begin is None or not self.is_inside(node):
            return ()
        return self._reader.end_token_ids(begin.markers)

    def _find_begin(self, answer: Sequence[int]) -> Beginning | None:
        """Where the thought of an answer begins; None also where its grammar knows no thoughts."""
        begin = self._reader.find_begin(answer)
        return None if begin and self._is_constrained and begin.markers != THINK else begin

    def _begin(self, node: Node, num_tokens: int) -> Beginning | None:
        """Where the thought of a node's answer begins, kept on the node."""
        if node.thought is None and (not node.token_ids or self._reader.may_begin(num_tokens)):
            parent = node.parent
            node.thought = parent.thought if parent is not None else None
            if node.thought is None:
                node.thought = self._find_begin(self._answer(node))
        return node.thought

    def _answer(self, node: Node) -> list[int]:
        return self._tree.token_ids_before(node)[len(self._tree.prompt_token_ids) :]
