"""The search tree: nodes, their tokens, and an integrity check."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from fasttts.decoding.reader import TextReader
from fasttts.decoding.sampling import child_seed, root_seed
from fasttts.decoding.thoughts import Beginning
from fasttts.errors import BackendError
from fasttts.types import FinishReason, Path, TokenLogprobs


@dataclass(frozen=True, slots=True, kw_only=True)
class Beam:
    """A path of the tree as policies see it.

    Attributes:
        path: Position in the tree; the tie-breaker of every decision.
        score: Aggregated score on the grid of 1e-4; 0 where the policy asks for no scores.
        is_answer_ended: Whether nothing can follow.
        answer: A complete answer in its canonical spelling; None where there is none, and where the
            policy asks for no answers.
        is_announced: Whether the text presents it as its answer; see
            `search/aggregation.py`.
    """

    path: Path
    score: float
    is_answer_ended: bool
    answer: str | None = None
    is_announced: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Where a node ends if the model does not end the answer before.

    Attributes:
        max_tokens: Most tokens of the node.
        at_max_tokens: Its finish reason there.
        num_steps: Steps after which it ends; None for a whole answer.
        at_step_end: Its finish reason there.
        begins_with: Tokens that it begins with, which are not sampled.
        thought_tokens: Tokens after which it ends, as a step does, where its answer is inside a
            thought then; None for no such end.
        is_probe: Whether it only asks: it ends as a step does, and nothing follows it.
    """

    max_tokens: int
    at_max_tokens: FinishReason
    num_steps: int | None
    at_step_end: FinishReason
    begins_with: tuple[int, ...] = ()
    thought_tokens: int | None = None
    is_probe: bool = False


@dataclass(slots=True, kw_only=True, eq=False)
class Node:
    """A stretch of generated text; created running, ended once, scored at most once.

    Attributes:
        path: Position in the tree.
        seed: Seed of its noise stream.
        parent: The node it continues; for a root candidate the answer prefix, None without one.
        num_prefix_tokens: Tokens before this node's first: the prompt and its ancestors.
        limits: Where it ends at the latest.
        is_greedy: Whether its tokens are the most likely ones, whatever the search's temperature.
        round: Decisions of its group before it became part of the tree.
        begins_at: Iterations before its first token in a plain loop with room for every beam.
        token_ids: This node's own tokens.
        logprobs: For each of them, log-probabilities as the generator reports them, None for one
            that was not sampled; empty where its search asks for none, and where all that reads
            them has.
        text: Their text once the node ended, cut at a stop string.
        num_cut_chars: Characters before `text` that belong to a stop string which ended in it; the
            path's text ends before them.
        steps: `text` as steps; one for a step of a search, several for a whole answer.
        step_spans: For each of `steps`, the begin and the end of its tokens in `token_ids`; empty
            where its search asks for no log-probabilities.
        scores_S: A score for each of `steps`, on the grid of 1e-4; None before it is scored.
        num_nan_scores: How many of them stand for not-a-number.
        finish_reason: None while running.
        beam: What a policy sees of it; None before it is scored.
        request_id: The sequence that decodes it now.
        reader: What has read its text while it runs; None before that was necessary.
        thought: Where its answer's thought begins; None where it has none, or nobody looked.
        failure: Why it cannot be decoded any further; its search fails once it needs the node.
        is_attached: Whether it is part of the tree; speculative nodes are not.
        is_dominated: Whether it was found unable to survive before it was scored.
        num_speculated_tokens: Tokens generated before it was attached.
        ran: For its search's record, when a sequence decoded it: the search's iterations before it
            began and when it ended, in turn.
        decided_at: Iterations of its search before it was attached.
        scored_at: Iterations of its search before its score arrived.
        children: Committed children; a speculative child only refers to its parent.
    """

    path: Path
    seed: int
    parent: "Node | None"
    num_prefix_tokens: int
    limits: Limits
    is_greedy: bool = False
    round: int = 0
    begins_at: int = 0
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[TokenLogprobs | None] = field(default_factory=list)
    text: str = ""
    num_cut_chars: int = 0
    steps: tuple[str, ...] = ()
    step_spans: tuple[tuple[int, int], ...] = ()
    scores_S: tuple[float, ...] | None = None
    num_nan_scores: int = 0
    finish_reason: FinishReason | None = None
    beam: Beam | None = None
    request_id: str | None = None
    reader: TextReader | None = None
    thought: Beginning | None = None
    failure: BackendError | None = None
    is_attached: bool = False
    is_dominated: bool = False
    num_speculated_tokens: int = 0
    ran: list[int] = field(default_factory=list)
    decided_at: int | None = None
    scored_at: int | None = None
    children: "list[Node]" = field(default_factory=list)

    @property
    def depth(self) -> int:
        """1 for a root candidate."""
        return len(self.path)

    @property
    def ends_at(self) -> int:
        """Iterations before its next token in a plain loop with room for every beam."""
        return self.begins_at + len(self.token_ids)

    @property
    def is_ended(self) -> bool:
        """Whether its text is complete."""
        return self.finish_reason is not None

    @property
    def is_answer_ended(self) -> bool:
        """Whether nothing can follow it: the answer is complete or hit a cap."""
        return self.finish_reason in ("stop", "length")

    def lineage(self) -> "list[Node]":
        """The nodes from the root candidate to this one."""
        nodes: list[Node] = []
        node: Node | None = self
        while node is not None:
            nodes.append(node)
            node = node.parent
        return nodes[::-1]

    def path_steps(self) -> tuple[str, ...]:
        """Steps of the whole path."""
        return tuple(step for node in self.lineage() for step in node.steps)

    def path_scores(self) -> tuple[float, ...] | None:
        """Scores of the whole path; None while one of its nodes has none."""
        scores: list[float] = []
        for node in self.lineage():
            if node.scores_S is None:
                return None
            scores += node.scores_S
        return tuple(scores)

    def text_before(self) -> str:
        """Text of the path up to this node."""
        return "" if self.parent is None else self.parent.path_text()

    def path_text(self) -> str:
        """Text of the whole path, up to a stop string."""
        if self.num_cut_chars:
            return self.text_before()[: -self.num_cut_chars]
        return "".join(node.text for node in self.lineage())

    def num_path_tokens(self, num_prompt_tokens: int) -> int:
        """Generated tokens of the whole path."""
        return self.num_prefix_tokens - num_prompt_tokens + len(self.token_ids)


class SearchTree:
    """All nodes of one search.

    Args:
        prompt_token_ids: Tokens that every path begins with.
        seed: The search seed; every node's seed follows from it and the node's path.
        answer_prefix: Ended and scored text that every answer begins with; part of every path, but
            no node of the tree, since it was not generated for this search. None without one.
    """

    def __init__(
        self, prompt_token_ids: Sequence[int], seed: int, answer_prefix: Node | None = None
    ) -> None:
        self.prompt_token_ids = list(prompt_token_ids)
        self.seed = seed
        self.answer_prefix = answer_prefix
        self.roots: list[Node] = []
        self.wasted: list[Node] = []
        """Nodes with tokens that are not part of the tree any more, or never were."""
        self._num_nodes = 0

    def __len__(self) -> int:
        return self._num_nodes

    def __iter__(self) -> Iterator[Node]:
        """All nodes in depth-first order."""
        stack = self.roots[::-1]
        while stack:
            node = stack.pop()
            yield node
            stack.extend(reversed(node.children))

    def at(self, path: Path) -> Node | None:
        """The node at a path of the tree; None for the prompt, whose path is empty."""
        node: Node | None = None
        for index in path:
            node = self.children(node)[index]
        return node

    @property
    def num_start_tokens(self) -> int:
        """Tokens before those of a root candidate."""
        return len(self.prompt_token_ids) + self.num_answer_prefix_tokens

    @property
    def num_answer_prefix_tokens(self) -> int:
        """Tokens of the answer prefix."""
        return 0 if self.answer_prefix is None else len(self.answer_prefix.token_ids)

    def children(self, parent: Node | None) -> list[Node]:
        """The children of a node, or of the prompt."""
        return self.roots if parent is None or parent is self.answer_prefix else parent.children

    def new_node(
        self, parent: Node | None, index: int, limits: Limits, *, is_greedy: bool = False
    ) -> Node:
        """Creates child `index` of an ended node, or root candidate `index`; does not attach it.

        Args:
            parent: The node to continue; None for the prompt.
            index: Position among its siblings; child 0 continues its parent's noise stream.
            limits: Where the node ends at the latest.
            is_greedy: Whether its tokens are the most likely ones.
        """
        if parent is None:
            return Node(
                path=(index,),
                seed=root_seed(self.seed, index),
                parent=self.answer_prefix,
                num_prefix_tokens=self.num_start_tokens,
                limits=limits,
                is_greedy=is_greedy,
            )
        return Node(
            path=(*parent.path, index),
            seed=child_seed(parent.seed, parent.depth, index),
            parent=parent,
            num_prefix_tokens=parent.num_prefix_tokens + len(parent.token_ids),
            limits=limits,
            is_greedy=is_greedy,
        )

    def attach(self, node: Node) -> None:
        """Makes a node part of the tree; siblings are attached in order."""
        siblings = self.children(node.parent)
        assert len(siblings) == node.path[-1], f"{node.path} attached out of order"
        siblings.append(node)
        node.is_attached = True
        node.num_speculated_tokens = max(0, len(node.token_ids) - len(node.limits.begins_with))
        self._num_nodes += 1

    def cut(self, at: int) -> list[Node]:
        """Removes everything after iteration `at` of the loop that `Node.begins_at` counts by.

        Returns:
            The nodes that are running again.
        """
        reopened = []
        for node in list(self):
            if node.begins_at >= at:
                siblings = self.children(node.parent)
                self.waste(siblings[node.path[-1] :])
                del siblings[node.path[-1] :]
            elif node.ends_at > at:
                del node.token_ids[at - node.begins_at :]
                del node.logprobs[at - node.begins_at :]
                node.step_spans = ()
                node.steps, node.scores_S, node.finish_reason, node.beam = (), None, None, None
                node.reader, node.num_cut_chars = None, 0
                node.num_speculated_tokens = min(node.num_speculated_tokens, len(node.token_ids))
                reopened.append(node)
        self._num_nodes = sum(1 for _ in self)
        return reopened

    def waste(self, nodes: Iterable[Node]) -> None:
        """Keeps nodes that are not part of the tree for the record of the search."""
        self.wasted += (node for node in nodes if node.token_ids)

    def token_ids_before(self, node: Node) -> list[int]:
        """Tokens of a request that decodes `node`: prompt, ancestors and the node's own so far."""
        token_ids = list(self.prompt_token_ids)
        for ancestor in node.lineage():
            token_ids += ancestor.token_ids
        return token_ids

    def check_integrity(self) -> None:
        """Recounts the tree.

        Raises:
            AssertionError: Paths, parents, seeds or token counts contradict each other.
        """
        num_nodes = 0
        for node in self:
            num_nodes += 1
            siblings = self.children(node.parent)
            assert siblings[node.path[-1]] is node, f"{node.path} is not where its path says"
            assert node.parent is None or node.path[:-1] == node.parent.path
            assert node.parent is None or node.parent.finish_reason == "step"
            assert not node.children or node.is_ended, f"{node.path} has children but runs"
            own = len(node.token_ids)
            assert node.num_prefix_tokens + own == len(self.token_ids_before(node))
            assert len(node.logprobs) in (0, own), f"{node.path} lacks log-probabilities"
            assert node.scores_S is None or len(node.scores_S) == len(node.steps)
        assert num_nodes == self._num_nodes, f"{num_nodes} nodes reachable of {self._num_nodes}"
