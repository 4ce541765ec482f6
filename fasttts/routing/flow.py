"""The flow of one routed call, without I/O: the work to run, and the use of its outcomes.

A generator that yields work and receives outcomes, so that threads, event loops and streams run the
same code and reach the same decisions.
"""

from collections.abc import Callable, Generator
from dataclasses import asdict, dataclass, field, replace

from fasttts.config import SearchConfig
from fasttts.decoding.sampling import PublishedSampling, Sampling, derive_seed
from fasttts.decoding.structured_outputs import StructuredOutputs
from fasttts.engine.request import Problem, Prompt
from fasttts.errors import SearchError
from fasttts.routing.context import Draft, RoutingContext
from fasttts.routing.decision import (
    Decision,
    NeedsDraft,
    NeedsYesProbability,
    RoutingPolicy,
    decided,
)
from fasttts.routing.results import (
    added_usage,
    answer_prefix_of,
    draft_of,
    routed,
    with_draft,
)
from fasttts.types import SearchResult, Timings

_YES_OR_NO = StructuredOutputs(choice=("Yes", "No"))
_ANSWER_TOKENS = 4
"""Most tokens of the answer to a yes-or-no question."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutedCall:
    """One call to be routed.

    Attributes:
        prompt: The rendered conversation.
        config: The search that may be run; plain decoding takes its other options.
        calls_tools: Whether a text is a tool call, in the format of the model.
        published: The sampling that the generator's model comes with.
    """

    prompt: Prompt
    config: SearchConfig
    calls_tools: Callable[[str], bool]
    published: PublishedSampling


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineWork:
    """One decoding or search for the engine.

    Attributes:
        problem: The prompt or conversation.
        config: The options.
        is_reply: Whether its text is that of the reply, so that it may be shown as it grows.
        is_published: Whether its events are reported.
    """

    problem: Problem
    config: SearchConfig
    is_reply: bool = False
    is_published: bool = False


_BUDGETS = ("tokens", "verifier_calls")
_COUNTED = ("complete", *_BUDGETS)
"""Stop reasons of a draft after which a search may follow: all but timeout and cancellation."""

WorkOutcome = SearchResult | SearchError
RoutingFlow = Generator[EngineWork | Decision | SearchResult, WorkOutcome | None, None]
"""Yields work, and is sent its outcome; then the decision; and at last the result."""


def routing_flow(call: RoutedCall, policy: RoutingPolicy) -> RoutingFlow:
    """Asks a policy until it has decided, and answers the call accordingly.

    Args:
        call: The call.
        policy: Decides between plain decoding and search.
    """
    state = RoutingState(call)
    while not isinstance(wanted := policy.decide(state.context), Decision):
        if isinstance(wanted, NeedsDraft):
            state.take_draft((yield state.draft_work()))
            if state.late_draft is not None:
                late = decided(state.context, "plain", policy, "the draft took all of the time")
                yield late
                yield routed(state.late_draft, late, state.timings, is_draft=True)
                return
        else:
            for work in state.share_work(wanted):
                state.take_answer(wanted, (yield work))
    yield wanted
    if wanted.route == "plain" and state.draft is not None:
        yield routed(state.draft, wanted, state.timings, is_draft=True)
        return
    outcome = yield state.reply_work(wanted)
    if state.is_cut_short(outcome):
        wanted = state.fallen_back(wanted, outcome)
        yield wanted
        outcome = yield state.reply_work(wanted)
    yield state.reply(wanted, outcome)


def draft_config(config: SearchConfig, published: PublishedSampling) -> SearchConfig:
    """Options of a plain decoding whose steps the verifier scores; the text is the same.

    Args:
        config: The call's options.
        published: The sampling that the generator's model comes with.
    """
    plain = plain_config(config)
    temperature = plain.sampling_for(published).temperature
    update = {"search": "best_of_n", "n": 1, "selection": "best", "temperature": temperature}
    return plain.model_copy(update=update)


def plain_config(config: SearchConfig) -> SearchConfig:
    """Options of a plain decoding in place of a search; counted budgets do not apply to it."""
    budget = config.budget.model_copy(update={"tokens": None, "verifier_calls": None})
    return config.model_copy(update={"search": "none", "budget": budget})


@dataclass(slots=True)
class RoutingState:
    """The context of a call, and the work that extends it.

    Attributes:
        call: The call.
        draft: The result of the draft; None before it is complete.
        late_draft: A draft that time cut off; None where there was time.
        timings: Timings of all decodings so far.
        answers: For each question, whether each answer so far is "Yes".
        context: The context for the policy.
    """

    call: RoutedCall
    draft: SearchResult | None = None
    late_draft: SearchResult | None = None
    timings: list[Timings] = field(default_factory=list)
    answers: dict[str, list[bool]] = field(default_factory=dict)
    context: RoutingContext = field(init=False)

    def __post_init__(self) -> None:
        call = self.call
        self.context = RoutingContext(
            messages=call.prompt.messages,
            tools=call.prompt.tools,
            is_constrained=call.config.structured_outputs is not None,
            budget_tokens=call.config.budget.tokens,
        )

    def draft_work(self) -> EngineWork:
        return EngineWork(
            problem=self.call.prompt, config=draft_config(self.call.config, self.call.published)
        )

    def take_draft(self, outcome: WorkOutcome | None) -> None:
        """Adds the outcome of the draft to the context.

        Raises:
            SearchError: The draft ran out of time or was cancelled.
        """
        self._pay(outcome)
        if isinstance(outcome, SearchResult) and outcome.finish_reason == "stop":
            self.draft = outcome
            draft = draft_of(outcome, calls_tools=self.call.calls_tools(outcome.text))
        elif isinstance(outcome, SearchResult):
            self.late_draft = outcome if outcome.stop_reason not in _COUNTED else None
            draft = Draft(text=outcome.text, steps=(), is_complete=False)
        else:
            assert outcome is not None, "work has an outcome"
            if outcome.stop_reason not in _COUNTED:
                raise outcome
            text = "".join(node.text for node in outcome.tree)
            draft = Draft(text=text, steps=(), is_complete=False)
        self.context = replace(self.context, draft=draft)

    def share_work(self, wanted: NeedsYesProbability) -> list[EngineWork]:
        """Makes one decoding of Yes or No for each sample; a single one is greedy.

        Filters and penalties would distort the share of "Yes".
        """
        state = (*self.context.messages, {"role": "user", "content": wanted.question})
        config = plain_config(self.call.config).model_copy(
            update={
                **asdict(Sampling(temperature=float(wanted.num_samples > 1))),
                "max_tokens": _ANSWER_TOKENS,
                "structured_outputs": _YES_OR_NO,
            }
        )
        seeds = [derive_seed(config.seed, index) for index in range(wanted.num_samples)]
        return [
            EngineWork(problem=state, config=config.model_copy(update={"seed": seed}))
            for seed in seeds
        ]

    def take_answer(self, wanted: NeedsYesProbability, outcome: WorkOutcome | None) -> None:
        """Adds an answer to the context, once all samples of its question are complete.

        Args:
            wanted: The question.
            outcome: The outcome of one sample; an error counts as "No".
        """
        self._pay(outcome)
        answers = self.answers.setdefault(wanted.question, [])
        answers.append(isinstance(outcome, SearchResult) and outcome.text == "Yes")
        if len(answers) == wanted.num_samples:
            yes_probabilities = {
                **self.context.yes_probabilities,
                wanted.question: sum(answers) / len(answers),
            }
            self.context = replace(self.context, yes_probabilities=yes_probabilities)

    def reply_work(self, decision: Decision) -> EngineWork:
        """Makes the decoding or search of the reply; no text is certain if there is a draft."""
        config, draft, prompt = self._left(), self.draft, self.call.prompt
        is_plain = decision.route == "plain"
        if draft is None and config.has_counted_budget:  # plain decoding replaces what it cuts off
            config = config.model_copy(update={"on_cut": "raise"})
        if draft is not None and not self.context.is_constrained:
            prompt = replace(prompt, answer_prefix=answer_prefix_of(draft, decision.kept_steps))
        return EngineWork(
            problem=prompt,
            config=plain_config(config) if is_plain else config,
            is_reply=is_plain or draft is None,
            is_published=True,
        )

    def is_cut_short(self, outcome: WorkOutcome | None) -> bool:
        """Whether plain decoding replaces a search without an answer: there is no draft."""
        if self.draft is not None or not isinstance(outcome, SearchError):
            return False
        if self.call.config.on_cut == "return" and outcome.tree:
            return outcome.stop_reason in _COUNTED
        return outcome.stop_reason in _BUDGETS

    def fallen_back(self, decision: Decision, outcome: WorkOutcome | None) -> Decision:
        """Decides for plain decoding after a search without an answer.

        Args:
            decision: The decision for the search.
            outcome: The outcome of the search.
        """
        self._pay(outcome)
        return replace(
            decision,
            route="plain",
            reason="the budget ended the search before it had an answer",
            cost=self.context.cost,
        )

    def reply(self, decision: Decision, outcome: WorkOutcome | None) -> SearchResult:
        """Makes the result; the draft replaces a search without an answer.

        Args:
            decision: The decision.
            outcome: The outcome of the reply's work.

        Raises:
            SearchError: The search failed without a draft, or was cancelled.
        """
        assert outcome is not None, "work has an outcome"
        if isinstance(outcome, SearchError):
            if self.draft is None or outcome.stop_reason == "cancelled":
                raise outcome
            self._pay(outcome)
            decision = replace(decision, cost=self.context.cost)
            return routed(self.draft, decision, self.timings, is_draft=True)
        if self.draft is not None:
            outcome = with_draft(outcome, self.draft)
        return routed(outcome, decision, self.timings, is_draft=False)

    def _left(self) -> SearchConfig:
        """The call's options, with the remaining budget."""
        config, left = self.call.config, self.context.budget_tokens
        if left is None:
            return config
        budget = config.budget.model_copy(update={"tokens": max(1, left)})
        return config.model_copy(update={"budget": budget})

    def _pay(self, outcome: WorkOutcome | None) -> None:
        assert outcome is not None, "work has an outcome"
        if isinstance(outcome, SearchResult):
            self.timings.append(outcome.timings)
        left = self.context.budget_tokens
        self.context = replace(
            self.context,
            cost=added_usage(self.context.cost, outcome.usage),
            budget_tokens=None if left is None else left - outcome.usage.required_tokens,
        )
