"""One search in flight: its tree, what waits to decode, what waits for scores, what is decided.

Pure bookkeeping: it never touches a backend. The loop feeds it tokens and scores and executes
what it asks for.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from fasttts.backends.base import (
    GenerationRequest,
    Tokenizer,
    Verification,
    VerificationRequest,
)
from fasttts.config import SearchConfig
from fasttts.errors import ContractError
from fasttts.search.aggregate import aggregate, on_grid
from fasttts.search.policy import Beam, Branch, SearchPolicy
from fasttts.steps import StepDetector, find_stop, split_steps
from fasttts.tree import Node, SearchTree
from fasttts.types import FinishReason, Path


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchRequest:
    """A search as the loop accepts it.

    Attributes:
        prompt_token_ids: The rendered prompt.
        problem: The text that the verifier scores steps against.
        config: The resolved options.
        uses_verifier: Whether ended nodes are scored.
    """

    prompt_token_ids: Sequence[int]
    problem: str
    config: SearchConfig
    uses_verifier: bool


@dataclass(slots=True, kw_only=True)
class Counts:
    """What a run has cost so far; see `fasttts.types.Usage` for the meanings."""

    generated_tokens: int = 0
    requested_tokens: int = 0
    cached_tokens: int = 0
    verifier_computed_tokens: int = 0
    verifier_cached_tokens: int = 0
    num_verifications: int = 0
    num_iterations: int = 0
    generation_s: float = 0.0
    verification_s: float = 0.0


@dataclass(slots=True)
class _Group:
    """Beams that decide together."""

    frontier: list[Node] = field(default_factory=list)
    ended: list[Beam] = field(default_factory=list)


class SearchRun:
    """The state of one search.

    Args:
        request: What to search.
        policy: Decides what follows; pure.
        tokenizer: The generator's.
        max_model_len: Context of the generator in tokens.
        priority: Backend priority of its requests.
    """

    def __init__(
        self,
        request: SearchRequest,
        policy: SearchPolicy,
        tokenizer: Tokenizer,
        *,
        max_model_len: int,
        priority: int,
    ) -> None:
        self.request = request
        self.priority = priority
        self.counts = Counts()
        self.tree = SearchTree(request.prompt_token_ids, request.config.seed)
        self.depth = 0
        self.waiting: list[Node] = []
        self.running: set[Path] = set()
        self.unscored: list[Node] = []
        self._policy = policy
        self._tokenizer = tokenizer
        self._detector = StepDetector(tokenizer, request.config.step_separator)
        self._max_answer_tokens = min(
            request.config.max_tokens, max_model_len - len(request.prompt_token_ids)
        )
        self._groups: dict[Path, _Group] = {}
        self._enter_frontier([self.tree.add_root() for _ in range(policy.num_roots)])

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to decode, score or decide."""
        return not self._groups and not self.unscored

    @property
    def is_generating(self) -> bool:
        """Whether it has sequences in the generator or waiting for a slot."""
        return bool(self.waiting or self.running)

    def start_next(self, request_id: str) -> tuple[Node, GenerationRequest]:
        """The first waiting node, in path order, and the request that decodes it."""
        node = self.waiting.pop(0)
        self.running.add(node.path)
        prompt_token_ids = self.tree.token_ids_before(node)
        self.counts.requested_tokens += len(prompt_token_ids)
        return node, GenerationRequest(
            request_id=request_id,
            prompt_token_ids=prompt_token_ids,
            seed=node.seed,
            sampling=self.request.config.sampling,
            max_tokens=self._num_tokens_left(node),
            priority=self.priority,
        )

    def take_tokens(self, node: Node, token_ids: Sequence[int]) -> None:
        """Appends new tokens to a running node until it ends; what runs past its end is dropped."""
        for token_id in token_ids:
            if node.is_ended:
                return
            node.token_ids.append(token_id)
            self.counts.generated_tokens += 1
            reason = self._finish_reason(node)
            if reason is not None:
                self._end(node, reason)

    def verification_requests(self) -> list[VerificationRequest]:
        """One request for each unscored node, in order."""
        return [self._verification_request(node) for node in self.unscored]

    def take_scores(self, verifications: Sequence[Verification]) -> None:
        """The scores of all unscored nodes, in order.

        Raises:
            ContractError: The verifier returned a wrong number of scores or not-a-number.
        """
        for node, verification in zip(self.unscored, verifications, strict=True):
            scores = verification.scores
            if len(scores) != len(node.steps) or any(not 0 <= s <= 1 for s in scores):
                raise ContractError(
                    f"expected {len(node.steps)} scores in [0, 1], got {scores}", role="verifier"
                )
            node.scores_S = tuple(on_grid(score) for score in scores)
            self.counts.verifier_computed_tokens += verification.num_computed_tokens
            self.counts.verifier_cached_tokens += verification.num_cached_tokens
            self.counts.num_verifications += 1
        self.unscored = []

    def commit(self) -> bool:
        """Decides every group whose frontier is complete; whether anything was decided."""
        ready = [name for name, group in self._groups.items() if self._is_ready(group)]
        for name in ready:
            self._decide(self._groups.pop(name))
        return bool(ready)

    def ended_nodes(self) -> list[Node]:
        """Nodes at which an answer ended, in path order."""
        return sorted((n for n in self.tree if n.is_answer_ended), key=lambda n: n.path)

    def frontier(self) -> list[Node]:
        """The beams under consideration."""
        return [node for group in self._groups.values() for node in group.frontier]

    def score(self, node: Node) -> float | None:
        """Aggregated score of the path to `node`; None while unscored."""
        scores_S = node.path_scores()
        return None if scores_S is None else aggregate(scores_S, self.request.config.aggregation)

    def _decide(self, group: _Group) -> None:
        beams = [self._beam(node) for node in group.frontier]
        nodes = {node.path: node for node in group.frontier}
        branches = self._policy.expand(beams, group.ended)
        ended = group.ended + [beam for beam in beams if beam.is_answer_ended]
        children = [child for branch in branches for child in self._grow(nodes, branch)]
        children.sort(key=lambda node: node.path)
        self._enter_frontier(children, ended)

    def _grow(self, nodes: dict[Path, Node], branch: Branch) -> list[Node]:
        parent = nodes[branch.path]
        return [self.tree.add_child(parent) for _ in range(branch.num_children)]

    def _enter_frontier(self, nodes: Sequence[Node], ended: Sequence[Beam] = ()) -> None:
        for node in nodes:
            name = self._policy.group(node.path)
            self._groups.setdefault(name, _Group(ended=list(ended))).frontier.append(node)
            self.depth = max(self.depth, node.depth)
        self.waiting += nodes

    def _is_ready(self, group: _Group) -> bool:
        return all(
            node.is_ended and (not self._policy.needs_scores or node.scores_S is not None)
            for node in group.frontier
        )

    def _beam(self, node: Node) -> Beam:
        score = self.score(node) if self._policy.needs_scores else None
        return Beam(path=node.path, score=score or 0.0, is_answer_ended=node.is_answer_ended)

    def _num_tokens_left(self, node: Node) -> int:
        num_left = self._max_answer_tokens - node.num_path_tokens(len(self.tree.prompt_token_ids))
        if self._policy.step_shape(node.depth).num_separators is None:
            return num_left
        return min(num_left, self.request.config.max_step_tokens - len(node.token_ids))

    def _finish_reason(self, node: Node) -> FinishReason | None:
        config = self.request.config
        if node.token_ids[-1] in self._tokenizer.eos_token_ids:
            return "stop"
        if config.stop and self._has_stop_string(node):
            return "stop"
        num_answer_tokens = node.num_path_tokens(len(self.tree.prompt_token_ids))
        if num_answer_tokens >= self._max_answer_tokens:
            return "length"
        num_separators = self._policy.step_shape(node.depth).num_separators
        if num_separators is None:
            return None
        is_cut = len(node.token_ids) >= config.max_step_tokens
        if is_cut or self._detector.is_step_end(node.token_ids, num_separators):
            return "length" if node.depth >= config.max_depth else "step"
        return None

    def _has_stop_string(self, node: Node) -> bool:
        text = self._tokenizer.decode(node.token_ids)
        return find_stop(text, self.request.config.stop) is not None

    def _end(self, node: Node, reason: FinishReason) -> None:
        config = self.request.config
        text = self._tokenizer.decode(node.token_ids)
        stop_at = find_stop(text, config.stop)
        node.text = text if stop_at is None else text[:stop_at]
        node.steps = split_steps(node.text, config.step_separator)
        node.finish_reason = reason
        self.running.discard(node.path)
        if not self.request.uses_verifier:
            return
        if node.steps:
            self.unscored.append(node)
        else:
            node.scores_S = ()

    def _verification_request(self, node: Node) -> VerificationRequest:
        steps = node.path_steps()
        return VerificationRequest(
            problem=self.request.problem, steps=steps, num_scored=len(steps) - len(node.steps)
        )
