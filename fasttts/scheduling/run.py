"""State of one search in flight: its tree, and the nodes that wait to decode, score or decide.

Pure bookkeeping: it never calls a backend. The loop adds tokens and scores and executes its
requests.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from fasttts.answers.extraction import Extractor
from fasttts.config import SchedulingConfig, SearchConfig
from fasttts.decoding.tokenizer import Tokenizer
from fasttts.errors import FastTTSError
from fasttts.interfaces import GenerationRequest
from fasttts.scheduling.beams import Beams
from fasttts.scheduling.budget import SearchBudget
from fasttts.scheduling.groups import Group, Groups, dominated
from fasttts.scheduling.node_lifecycle import NodeLifecycle
from fasttts.scheduling.speculation import Rule, one_of_each_in_turn, predict
from fasttts.scheduling.timeline import Timeline
from fasttts.scheduling.usage import Counts
from fasttts.search.policy import Branch, SearchPolicy
from fasttts.tree import Beam, Node, SearchTree
from fasttts.types import FinishReason, Path, TokenLogprobs


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchRequest:
    """A search as the loop accepts it.

    Attributes:
        prompt_token_ids: The rendered prompt.
        problem: The text that the verifier scores steps against.
        config: The resolved options.
        uses_verifier: Whether ended nodes are scored.
        extract: Finds the answer in a candidate's text, where a policy counts answers; None goes by
            the option `answer`.
        grammar: The grammar of every answer; None where it is free.
        answer_prefix: Ended and scored text that every answer begins with; None for none.
        num_logprobs: How many of the likeliest tokens are read beside each new one, by the result
            or by the verifier; None reads no log-probabilities.
    """

    prompt_token_ids: Sequence[int]
    problem: str
    config: SearchConfig
    uses_verifier: bool
    extract: Extractor | None = None
    grammar: str | None = None
    answer_prefix: Node | None = None
    num_logprobs: int | None = None


class SearchRun:
    """The state of one search.

    Args:
        request: The search.
        policy: Makes the decisions; pure.
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
        self.draft_group: int | None = None
        """Under this number its sequences draft from each other's text; None where none draft."""
        self.compiled_grammar: object = None
        """Keeps the request's grammar compiled in the generator; None where it is not."""
        self.counts = Counts()
        self.timeline: Timeline | None = None
        """Its times, where it is traced step by step."""
        self.tree = SearchTree(request.prompt_token_ids, request.config.seed, request.answer_prefix)
        self.depth = 0
        self.waiting: dict[Path, Node] = {}
        self.unscored: dict[Path, Node] = {}
        self.is_forcing: Final = request.config.thinking_token_budget is not None
        """Whether tokens may be due that are not sampled, beside those that a node begins with."""
        self.forced: list[tuple[Node, list[int]]] = []
        """Tokens that were not sampled, and of which nobody was told yet, by their nodes."""
        self._sampling: Final = request.config.sampling
        self._greedy: Final = replace(self._sampling, temperature=0.0)
        self._has_news = True
        """Whether a frontier may have changed since dominated steps were looked for."""
        self._policy = policy
        self.tokenizer: Final = tokenizer
        self._nodes = NodeLifecycle(
            self.tree, policy, request.config, tokenizer, max_model_len=max_model_len
        )
        self.beams: Final = Beams(
            policy, request.config, tokenizer, request.extract, request.prompt_token_ids
        )
        self._groups = Groups(policy)
        self.budget = SearchBudget(self, policy, self._nodes, self._groups)
        roots = [self._new(None, index) for index in range(policy.num_roots)]
        self._enter_frontier(roots, Group())

    @property
    def is_done(self) -> bool:
        """Whether nothing remains to decode, score or decide."""
        is_last_done = self.budget.last is None or self.budget.last.is_ended
        return not self._groups and not self.unscored and is_last_done

    @property
    def num_roots(self) -> int:
        """Beams that the search begins with."""
        return self._policy.num_roots

    def request_for(self, node: Node, request_id: str) -> GenerationRequest:
        """Makes the request that decodes a node, from its last token to the end of its answer.

        Args:
            node: The node.
            request_id: Id of the request.
        """
        prompt_token_ids = self.tree.token_ids_before(node)
        num_answer_tokens = len(prompt_token_ids) - len(self.tree.prompt_token_ids)
        return GenerationRequest(
            request_id=request_id,
            prompt_token_ids=prompt_token_ids,
            seed=node.seed,
            sampling=self._greedy if node.is_greedy else self._sampling,
            max_tokens=self._nodes.max_answer_tokens - num_answer_tokens,
            priority=self.priority + (not node.is_attached),
            grammar=None if node.limits.is_probe else self.request.grammar,
            num_answer_tokens=num_answer_tokens,
            may_start_late=not node.is_attached,
            num_logprobs=None if node is self.budget.last else self.request.num_logprobs,
            draft_group=self.draft_group,
        )

    def started(self, node: Node, request_id: str) -> None:
        """Records that a sequence decodes the node.

        Args:
            node: The node.
            request_id: The generator's request of the sequence.
        """
        node.request_id = request_id
        node.ran.append(self.counts.num_iterations)
        self.waiting.pop(node.path, None)

    def stopped(self, node: Node) -> None:
        """Records that no sequence decodes the node any more."""
        node.request_id = None
        node.ran.append(self.counts.num_iterations)

    def take_inner(
        self, node: Node, token_ids: Sequence[int], logprobs: Sequence[TokenLogprobs] = ()
    ) -> bool:
        """Appends new tokens of which each is known to end nothing.

        Args:
            node: The node.
            token_ids: The new tokens.
            logprobs: Theirs, where the search asks for them.

        Returns:
            Whether they are; else nothing was done.
        """
        if self.is_forcing or not token_ids or not self._nodes.are_inner(node, token_ids):
            return False
        node.token_ids += token_ids
        node.logprobs += logprobs
        return True

    def take_tokens(
        self, node: Node, token_ids: Sequence[int], logprobs: Sequence[TokenLogprobs] = ()
    ) -> int:
        """Appends new tokens to a node until it ends, or others are due; returns the number taken.

        Args:
            node: The node.
            token_ids: The new tokens.
            logprobs: Theirs, where the search asks for them.
        """
        for num_taken, token_id in enumerate(token_ids, 1):
            node.token_ids.append(token_id)
            if logprobs:
                node.logprobs.append(logprobs[num_taken - 1])
            reason = self._nodes.finish_reason(node)
            if reason is not None:
                self._end(node, reason)
                return num_taken
            if self.is_forcing and self._nodes.due(node):
                return num_taken
        return len(token_ids)

    def force(self, node: Node) -> bool:
        """Appends the tokens to a node that follow now whatever the generator samples.

        Returns:
            Whether there were any; then no running sequence is the node's.
        """
        num_before = len(node.token_ids)
        while not node.is_ended and (due := self._nodes.due(node)):
            for token_id in due:
                node.token_ids.append(token_id)
                if self.request.num_logprobs is not None and node is not self.budget.last:
                    node.logprobs.append(None)
                if (reason := self._nodes.finish_reason(node)) is not None:
                    self._end(node, reason)
                    break
        if forced := node.token_ids[num_before:]:
            self.forced.append((node, forced))
        return bool(forced)

    def guesses(self, config: SchedulingConfig, rule: Rule) -> Iterator[Node]:
        """Returns speculative nodes that could decode, most useful first; created lazily.

        Args:
            config: Depth and bins of the speculation.
            rule: Order of the nodes; see `scheduling/speculation.py`.
        """
        if self.budget.held:
            return iter(())
        return one_of_each_in_turn(
            [self._guesses_of(group, config, rule) for group in self._groups]
        )

    def _guesses_of(self, group: Group, config: SchedulingConfig, rule: Rule) -> Iterator[Node]:
        for guess in predict(group, self._policy, self.tree, config, rule):
            if guess.parent is None or not guess.parent.is_dominated:  # since it was predicted
                node = guess.node or self._speculative(group, guess.parent, guess.number)
                if not node.is_ended:  # it may be made of tokens that nobody samples
                    yield node

    def runs_on(self, node: Node) -> bool:
        """Whether the stream of an ended node continues as that of its first child."""
        return not self.budget.held and self._nodes.runs_on(node)

    def first_child(self, node: Node) -> Node:
        """Returns child 0 of a node that ended a step, which continues the same stream."""
        return self._speculative(self._groups.of(node), node, 0)

    def is_awaiting_scores(self) -> bool:
        """Whether a decision, or the end, waits for nothing but scores."""
        if self.budget.held:
            return bool(self.unscored)
        if not self._policy.needs_scores:
            return bool(self.unscored) and not self._groups
        return self._groups.is_awaiting_scores()

    def gains_from_early_scores(self) -> bool:
        """Whether scores may change something, or save time, before all sequences have ended.

        A deadline counts: little is left to score when it passes.
        """
        return self._policy.needs_scores or self.request.config.budget.seconds is not None

    def scored(self, nodes: Sequence[Node]) -> None:
        """Records the scores of nodes; parents come before their children."""
        for node in nodes:
            self.unscored.pop(node.path, None)
            node.scored_at = self.counts.num_iterations
            self.counts.scores.num_nan_scores += node.num_nan_scores
            self.beams.make(node)
            self._groups.heard_of(node)
            self._has_news |= node.is_attached

    def take_answers(self) -> bool:
        """Shows nodes to the policy in whose text a user's function has looked for the answer.

        Returns:
            Whether there were any.
        """
        found = self.beams.take_answers()
        for node in found:
            self._groups.heard_of(node)
        self._has_news |= any(node.is_attached for node in found)
        return bool(found)

    def drop_dominated(self) -> list[Node]:
        """Gives up finished steps that can no longer survive.

        Returns:
            The speculative nodes behind them.
        """
        dropped: list[Node] = []
        if self.request.config.has_counted_budget or not self._has_news:
            return dropped  # under such a budget, which are dominated depends on what ran first
        self._has_news = False
        for group in self._groups:
            if not group.has_news():
                continue
            for node in dominated(group.frontier, group.ended, self._policy, self.beams.best_score):
                node.is_dominated = self._has_news = True
                node.beam = Beam(path=node.path, score=0.0, is_answer_ended=False)
                self._groups.heard_of(node)
                self.unscored.pop(node.path, None)
                dropped += self._given_up(group.drop_behind(node))
        return dropped

    def commit(self) -> list[Node] | None:
        """Decides every group whose frontier is complete.

        Returns:
            Speculative nodes that turned out useless; None when nothing could be decided.
        """
        ready = self._groups.take_ready()
        return [node for group in ready for node in self._decide(group)] if ready else None

    def nodes(self) -> Iterator[Node]:
        """Every node alive: the tree's and the speculative ones."""
        yield from self.tree
        for group in self._groups:
            yield from group.speculative.values()

    def recorded_nodes(self) -> list[Node]:
        """Every node of an ended search that has tokens, those outside the tree with their text."""
        for node in self.tree.wasted:
            if not node.is_ended:
                self._nodes.show(node)
        return sorted([*self.tree, *self.tree.wasted], key=lambda node: node.path)

    def ended_nodes(self) -> list[Node]:
        """Nodes at which an answer ended, in path order."""
        return sorted((n for n in self.tree if n.is_answer_ended), key=lambda n: n.path)

    def frontier(self) -> list[Node]:
        """The beams under consideration."""
        return self._groups.frontier()

    def score(self, node: Node) -> float | None:
        """Aggregated score of the path to `node`; None while unscored."""
        return node.beam.score if node.beam and node.scores_S is not None else None

    def check_integrity(self) -> None:
        """Recounts the waiting, running and unscored nodes.

        Raises:
            AssertionError: The state is inconsistent.
        """
        self.tree.check_integrity()
        self._groups.check_integrity()
        for node in self.frontier():
            is_owned = node.path in self.waiting or node.path in self.budget.held
            assert node.is_ended or is_owned != (node.request_id is not None), node.path
        alive = {id(node) for node in self.nodes()}
        assert all(id(node) in alive for node in self.unscored.values())

    def _decide(self, group: Group) -> list[Node]:
        beams = [self._beam(node) for node in group.frontier]
        if self._policy.needs_scores:
            self.counts.scores.compare(group.frontier, self.score)
        branches = self._policy.expand(beams, group.ended)
        group.ended = group.ended + [beam for beam in beams if beam.is_answer_ended]
        children = [child for branch in branches for child in self._adopt(group, branch)]
        for child in children:
            child.round = group.frontier[0].round + 1
        return self._enter_frontier(sorted(children, key=lambda node: node.path), group)

    def _adopt(self, group: Group, branch: Branch) -> list[Node]:
        """Children of a branch; some of them may be running speculatively."""
        parent = self.tree.at(branch.path)
        first = len(self.tree.children(parent))
        indices = range(first, first + branch.num_children)
        ahead = [group.speculative.pop((*branch.path, index), None) for index in indices]
        return [
            node or self._new(parent, index) for index, node in zip(indices, ahead, strict=True)
        ]

    def _enter_frontier(self, nodes: Sequence[Node], old: Group) -> list[Node]:
        """Makes nodes the frontier of their groups; returns speculative nodes that are dropped."""
        self._has_news = True
        begins_at = max((node.ends_at for node in old.frontier), default=0)
        for node in nodes:
            node.begins_at, node.decided_at = begins_at, self.counts.num_iterations
            self.tree.attach(node)
            self._groups.enter(node, old.ended)
            self.depth = max(self.depth, node.depth)
            if not node.is_ended and node.request_id is None:
                self.waiting[node.path] = node
        return self._given_up(self._groups.inherit(old.speculative.values(), nodes))

    def _given_up(self, dropped: list[Node]) -> list[Node]:
        """Removes the pending scores and answers of dropped speculative nodes."""
        self.tree.waste(dropped)
        for node in dropped:
            self.unscored.pop(node.path, None)
            self.beams.unanswered.pop(node, None)
        return dropped

    def _new(self, parent: Node | None, index: int) -> Node:
        """Creates a node with the tokens that it begins with; it may have ended by them."""
        node = self._nodes.new(parent, index)
        self.force(node)
        return node

    def _speculative(self, group: Group, parent: Node | None, index: int) -> Node:
        path = (index,) if parent is None else (*parent.path, index)
        node = group.speculative.get(path)
        if node is None:
            node = group.speculative[path] = self._new(parent, index)
        return node

    def _beam(self, node: Node) -> Beam:
        assert node.beam is not None, f"{node.path} is decided before it is scored"
        return node.beam

    def _end(self, node: Node, reason: FinishReason) -> None:
        self._nodes.end(node, reason)
        self._has_news |= node.is_attached
        if node is self.budget.last:
            return
        config = self.request.config
        if config.search == "none" and len(node.token_ids) == config.budget.tokens:
            self.budget.stop_reason = "complete" if reason == "stop" else "tokens"
        if not self._policy.needs_scores or node.limits.is_probe:
            self.beams.make(node)
            self._groups.heard_of(node)
        if node.is_attached:
            self._groups.of(node).num_unended -= 1
        if self.request.uses_verifier and not node.limits.is_probe:
            self.unscored[node.path] = node


Failure = tuple[SearchRun, FastTTSError]
"""A search, and the error that it ends with."""
