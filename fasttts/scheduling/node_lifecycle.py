"""Begin and end of a search's nodes: shapes, limits, step ends, texts and records."""

from collections.abc import Sequence
from dataclasses import replace

from fasttts.config import SearchConfig
from fasttts.decoding.reader import ReadingRules, TextReader, find_stop
from fasttts.decoding.steps import StepShape
from fasttts.decoding.tokenizer import Tokenizer
from fasttts.scheduling.thought_ends import ThoughtEnds
from fasttts.search.policy import SearchPolicy
from fasttts.tree import Limits, Node, SearchTree
from fasttts.types import Fate, FinishReason, RecordedNode, Step


class NodeLifecycle:
    """Starts and ends the nodes of one tree.

    Args:
        tree: The tree.
        policy: Determines how much text a node holds.
        config: The search's resolved options.
        tokenizer: The generator's.
        max_model_len: Context of the generator in tokens.
    """

    def __init__(
        self,
        tree: SearchTree,
        policy: SearchPolicy,
        config: SearchConfig,
        tokenizer: Tokenizer,
        *,
        max_model_len: int,
    ) -> None:
        self._tree = tree
        self._policy = policy
        self._config = config
        self._tokenizer = tokenizer
        self._eos_token_ids = tokenizer.eos_token_ids
        self._inner: set[int] = set()
        """Tokens that were seen to end nothing; none where steps are counted in tokens."""
        self._thoughts = ThoughtEnds(tree, config, tokenizer)
        rule = config.step_rule
        if rule.skips_thoughts:
            rule = replace(rule, begins_inside=self._thoughts.begins_inside)
        self._reading = ReadingRules(tokenizer, rule, config.stop)
        self.max_answer_tokens = min(config.max_tokens, max_model_len - len(tree.prompt_token_ids))
        if config.search == "none" and config.budget.tokens is not None:
            self.max_answer_tokens = min(self.max_answer_tokens, config.budget.tokens)

    def new(self, parent: Node | None, index: int) -> Node:
        """Creates a child in the shape that the policy asks for.

        Args:
            parent: The ended node; None for the prompt.
            index: Position among its siblings.
        """
        path = (index,) if parent is None else (*parent.path, index)
        shape = self._policy.step_shape(path)
        limits = self._limits(parent, shape)
        return self._tree.new_node(parent, index, limits, is_greedy=shape.is_greedy)

    def runs_on(self, node: Node) -> bool:
        """Whether the stream of an ended node continues as that of its first child."""
        if node.finish_reason != "step" or node.limits.is_probe:
            return False
        return self._policy.step_shape((*node.path, 0)).is_greedy == node.is_greedy

    def due(self, node: Node) -> Sequence[int]:
        """The tokens that a node goes on with, whatever the generator samples; empty for none."""
        return node.limits.begins_with[len(node.token_ids) :] or self._thoughts.due(node)

    def are_inner(self, node: Node, token_ids: Sequence[int]) -> bool:
        """Whether the next tokens are known to end nothing: most are, and cost no more than this.

        Args:
            node: The node.
            token_ids: The tokens that would be its newest.
        """
        limits = node.limits
        return (
            self._inner.issuperset(token_ids)
            and limits.thought_tokens is None
            and not limits.is_probe
            and len(node.token_ids) + len(token_ids) < limits.max_tokens
        )

    def finish_reason(self, node: Node) -> FinishReason | None:
        """Why a node ends with its newest token; None where it continues."""
        if node.limits.is_probe:
            is_full = len(node.token_ids) >= node.limits.max_tokens
            return "step" if is_full or node.token_ids[-1] in self._eos_token_ids else None
        if node.limits.thought_tokens is not None and self._is_cut_here(node):
            return "step"
        return self._end_of_text(node)

    def _end_of_text(self, node: Node) -> FinishReason | None:
        """Why a node that is a part of an answer ends with its newest token."""
        newest, limits = node.token_ids[-1], node.limits
        if newest in self._inner and len(node.token_ids) < limits.max_tokens:
            return None
        if newest in self._eos_token_ids:
            return "stop"
        reader = None
        if limits.num_steps is not None or self._config.stop:
            if self._reading.may_end(newest):
                reader = self._read(node)
            elif not self._reading.counts_tokens:
                self._inner.add(newest)
        if reader is not None and reader.stop_at is not None:
            return "stop"
        if len(node.token_ids) >= limits.max_tokens:
            return limits.at_max_tokens
        if limits.num_steps is not None and self._reading.has_steps(
            node.token_ids, limits.num_steps, reader
        ):
            return limits.at_step_end
        return None

    def _is_cut_here(self, node: Node) -> bool:
        """Whether a node ends inside the thought of its answer, which nothing else ends here."""
        num_tokens = node.limits.thought_tokens
        if num_tokens is None or not self._thoughts.is_over(node, num_tokens):
            return False
        if node.token_ids[-1] in self._eos_token_ids or self.num_left(node) <= 0:
            return False
        return not self._config.stop or self._read(node).stop_at is None

    def _read(self, node: Node) -> TextReader:
        """A reader that has read all of a node's text."""
        if node.reader is None:
            node.reader = self._reading.reader(node.text_before())
        node.reader.read(node.token_ids)
        return node.reader

    def end(self, node: Node, reason: FinishReason) -> None:
        """Ends a node: sets its text, up to a stop string, its steps and its reason.

        Args:
            node: The node.
            reason: Why it ends.
        """
        text = self._tokenizer.decode(node.token_ids)
        stop_at = None if node.reader is None else node.reader.stop_at
        if stop_at is not None and stop_at < 0:
            node.text, node.num_cut_chars = "", -stop_at
        else:
            stop_at = find_stop(text, self._config.stop)
            node.text = text if stop_at is None else text[:stop_at]
        if not node.limits.is_probe:
            node.steps = self._reading.split(
                node.token_ids, node.text, node.limits.num_steps, node.text_before
            )
        if node.logprobs and not node.limits.is_probe:
            node.step_spans = self._reading.spans(
                node.token_ids, node.text, node.limits.num_steps, node.text_before
            )
        node.finish_reason, node.reader = reason, None

    def show(self, node: Node) -> None:
        """Sets the text so far of a running node."""
        node.text = self._tokenizer.decode(node.token_ids)
        node.steps = self._reading.split(
            node.token_ids, node.text, node.limits.num_steps, node.text_before
        )

    def num_left(self, node: Node) -> int:
        """Tokens that an answer may have behind a node."""
        return self.max_answer_tokens - node.num_path_tokens(len(self._tree.prompt_token_ids))

    def extend(self, node: Node, num_tokens: int) -> None:
        """Lets a node run to the end of its answer.

        It has no further steps: no decision follows, and no score.

        Args:
            node: The node.
            num_tokens: Most further tokens.
        """
        node.limits = replace(
            node.limits,
            max_tokens=len(node.token_ids) + num_tokens,
            at_max_tokens="length",
            num_steps=None,
            at_step_end="length",
            thought_tokens=None,
        )
        node.logprobs.clear()

    def _limits(self, parent: Node | None, shape: StepShape) -> Limits:
        """Limits of a child of `parent` (None for roots)."""
        num_steps = shape.num_steps
        config, depth = self._config, 1 if parent is None else parent.depth + 1
        num_left = (
            self.max_answer_tokens - self._tree.num_answer_prefix_tokens
            if parent is None
            else self.num_left(parent)
        )
        if shape.probe is not None:
            asked = self._tokenizer.encode(shape.probe)
            return Limits(
                max_tokens=min(len(asked) + shape.probe_tokens, num_left),
                at_max_tokens="step",
                num_steps=None,
                at_step_end="step",
                begins_with=tuple(asked),
                is_probe=True,
            )
        is_thought_long = parent is None and not config.score_thoughts
        max_tokens = (
            num_left if num_steps is None or is_thought_long else num_steps * config.max_step_tokens
        )
        at_step_end: FinishReason = "length" if depth >= config.max_depth else "step"
        return Limits(
            max_tokens=min(max_tokens, num_left),
            at_max_tokens=at_step_end if max_tokens < num_left else "length",
            num_steps=num_steps,
            at_step_end=at_step_end,
            begins_with=self._beginning(parent) if shape.closes_thought else (),
            thought_tokens=shape.thought_tokens,
        )

    def _beginning(self, parent: Node | None) -> tuple[int, ...]:
        """The tokens that end the thought of an answer at a node."""
        return () if parent is None else tuple(self._thoughts.end_of(parent))


def own_steps(node: Node) -> tuple[Step, ...]:
    """Lists the steps of a node's own text with their scores."""
    scores_S = node.scores_S or (None,) * len(node.steps)
    return tuple(Step(text=t, score=s) for t, s in zip(node.steps, scores_S, strict=True))


def recorded(node: Node, score: float | None, *, is_wasted: bool) -> RecordedNode:
    """Makes the record of a node of an ended search.

    Args:
        node: The node.
        score: The path's aggregated score.
        is_wasted: Whether it is no part of the tree.
    """
    pairs = zip(node.ran[::2], node.ran[1::2], strict=True)
    return RecordedNode(
        path=node.path,
        steps=own_steps(node),
        score=score,
        fate="wasted" if is_wasted else _fate(node),
        finish_reason=node.finish_reason,
        num_tokens=len(node.token_ids),
        num_tokens_ahead=node.num_speculated_tokens,
        ran=tuple((start, end) for start, end in pairs if end > start),
        decided_at=node.decided_at,
        scored_at=node.scored_at,
    )


def _fate(node: Node) -> Fate:
    if node.children:
        return "continued"
    if node.is_answer_ended:
        return "answer"
    if not node.is_ended:
        return "running"
    return "dominated" if node.is_dominated else "pruned"
