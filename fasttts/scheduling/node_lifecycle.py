"""Where the nodes of a search begin and end: shapes, limits, step ends, texts and answers."""

import logging

from fasttts.answers.equality import canonical_answer
from fasttts.answers.extraction import Answer, AnswerReader
from fasttts.config import SearchConfig
from fasttts.decoding.steps import StepCutter, find_stop
from fasttts.decoding.tokenizer import Tokenizer
from fasttts.search.policy import SearchPolicy
from fasttts.tree import Limits, Node, SearchTree
from fasttts.types import FinishReason

logger = logging.getLogger(__name__)


class NodeLifecycle:
    """Starts and ends the nodes of one tree.

    Args:
        tree: Where they belong.
        policy: Says how much text a node holds.
        config: The search's resolved options.
        tokenizer: The generator's.
        extract: Finds the answer in a text; may be a user's function.
        max_model_len: Context of the generator in tokens.
    """

    def __init__(
        self,
        tree: SearchTree,
        policy: SearchPolicy,
        config: SearchConfig,
        tokenizer: Tokenizer,
        extract: AnswerReader,
        *,
        max_model_len: int,
    ) -> None:
        self._tree = tree
        self._policy = policy
        self._config = config
        self._tokenizer = tokenizer
        self._extract = extract
        self._eos_token_ids = tokenizer.eos_token_ids
        self._cutter = StepCutter(tokenizer, config.step_rule)
        self.max_answer_tokens = min(config.max_tokens, max_model_len - len(tree.prompt_token_ids))
        if config.search == "none" and config.budget.tokens is not None:
            self.max_answer_tokens = min(self.max_answer_tokens, config.budget.tokens)

    def new(self, parent: Node | None, index: int) -> Node:
        """Child `index` of a node, or of the prompt, in the shape that the policy asks for."""
        path = (index,) if parent is None else (*parent.path, index)
        shape = self._policy.step_shape(path)
        limits = self._limits(parent, shape.num_steps)
        return self._tree.new_node(parent, index, limits, is_greedy=shape.is_greedy)

    def runs_on(self, node: Node) -> bool:
        """Whether an ended node's stream is, running on, that of its first child."""
        if node.finish_reason != "step":
            return False
        return self._policy.step_shape((*node.path, 0)).is_greedy == node.is_greedy

    def finish_reason(self, node: Node) -> FinishReason | None:
        """Why a node ends with its newest token; None where it goes on."""
        if node.token_ids[-1] in self._eos_token_ids or self._has_stop_string(node):
            return "stop"
        limits = node.limits
        if len(node.token_ids) >= limits.max_tokens:
            return limits.at_max_tokens
        if limits.num_steps is not None and self._cutter.is_step_end(
            node.token_ids, limits.num_steps, node.text_before
        ):
            return limits.at_step_end
        return None

    def end(self, node: Node, reason: FinishReason) -> None:
        """Gives an ended node its text, up to a stop string, and its steps."""
        text = self._tokenizer.decode(node.token_ids)
        stop_at = find_stop(text, self._config.stop)
        node.text = text if stop_at is None else text[:stop_at]
        node.steps = self._cutter.split(
            node.token_ids, node.text, node.limits.num_steps, node.text_before
        )
        node.finish_reason = reason

    def show(self, node: Node) -> None:
        """Gives a node that runs the text it has so far."""
        node.text = self._tokenizer.decode(node.token_ids)

    def extend(self, node: Node, num_tokens: int) -> bool:
        """Lets a node run on, to the end of its answer, for some more tokens; whether any is left.

        It has no further steps: nothing is decided about what it gains.
        """
        num_path_tokens = node.num_path_tokens(len(self._tree.prompt_token_ids))
        num_left = min(num_tokens, self.max_answer_tokens - num_path_tokens)
        node.limits = Limits(
            max_tokens=len(node.token_ids) + num_left,
            at_max_tokens="length",
            num_steps=None,
            at_step_end="length",
        )
        return num_left > 0

    def answer(self, node: Node) -> Answer | None:
        """What a policy counts: the canonical answer of a complete candidate.

        An extractor that fails finds nothing here; it fails again where its caller hears of it.
        """
        if not self._policy.needs_answers or node.finish_reason != "stop":
            return None
        try:
            found = self._extract.read(node.path_text())
        except Exception:  # a user's function raises what it likes
            logger.debug("an extractor failed on %s", node.path, exc_info=True)
            return None
        text: object = found and found.text
        if found is None or not isinstance(text, str) or not text:
            return None
        return Answer(canonical_answer(text), found.is_announced)

    def _limits(self, parent: Node | None, num_steps: int | None) -> Limits:
        """Where a child of `parent` (None for roots) ends."""
        config, depth = self._config, 1 if parent is None else parent.depth + 1
        used = (
            self._tree.num_opening_tokens
            if parent is None
            else parent.num_path_tokens(len(self._tree.prompt_token_ids))
        )
        num_left = self.max_answer_tokens - used
        max_tokens = num_left if num_steps is None else num_steps * config.max_step_tokens
        at_step_end: FinishReason = "length" if depth >= config.max_depth else "step"
        return Limits(
            max_tokens=min(max_tokens, num_left),
            at_max_tokens=at_step_end if max_tokens < num_left else "length",
            num_steps=num_steps,
            at_step_end=at_step_end,
        )

    def _has_stop_string(self, node: Node) -> bool:
        if not self._config.stop:
            return False
        return find_stop(self._tokenizer.decode(node.token_ids), self._config.stop) is not None
