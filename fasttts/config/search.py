"""Options of a search: method, sampling, steps, answers and selection."""

from dataclasses import asdict
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from fasttts.config.budget import Budget
from fasttts.config.names import is_function_name
from fasttts.config.template_switches import TemplateSwitches
from fasttts.config.validation import did_you_mean, refusal
from fasttts.decoding.patterns import compile_pattern
from fasttts.decoding.sampling import PublishedSampling, Sampling
from fasttts.decoding.steps import StepRule
from fasttts.decoding.structured_outputs import StructuredOutputs
from fasttts.errors import wrong_type

CandidateSearch = Literal[
    "best_of_n",
    "self_consistency",
    "deepconf",
    "dynasor",
    "beam_search",
    "dvts",
    "dynamic_branching",
    "varying_granularity",
    "particle_filtering",
    "lookahead",
]
"""Searches that choose among several candidates."""

SearchMethod = Literal["none", CandidateSearch]
Aggregation = Literal["last", "min", "prod", "mean", "model"]
Selection = Literal["best", "majority", "weighted"]
Stopping = Literal["agreement", "beta"]


def _check_search(name: str) -> str:
    methods = get_args(SearchMethod)
    if name not in methods and not is_function_name(name):
        raise ValueError(did_you_mean(name, [*methods, "module:function"]))
    return name


JSON_FIELD = "json:"
"""Prefix of the answer rule that names a JSON field."""

ANSWER_RULES = ("auto", "boxed", "answer_is", "last_number", "choice", "code", "json", "text")


def _check_answer_rule(rule: str) -> str:
    names_a_field = rule.startswith(JSON_FIELD) and rule != JSON_FIELD
    if rule not in ANSWER_RULES and not names_a_field:
        raise ValueError(did_you_mean(rule, [*ANSWER_RULES, f"{JSON_FIELD}<field>"]))
    return rule


AnswerRule = Annotated[str, AfterValidator(_check_answer_rule)]
"""Where an answer is looked for in a candidate's text; see `answers/extraction.py`."""

_BY_BEAM_WIDTH = ("beam_search", "dvts", "varying_granularity", "lookahead")
"""Searches in which `n / beam_width` beams survive."""

_PROBE = "... Oh, I suddenly got the answer to the whole problem, **Final Answer**\n\n\\[ \\boxed{"
_SEARCH_TEMPERATURE = 0.8
_OFF: dict[str, Any] = asdict(Sampling())

Tokens = Annotated[int, Field(ge=1, le=1_000_000)]


class SearchConfig(BaseModel):
    """Options of a search; with a seed and the models they determine its result.

    Attributes:
        search: "none" is plain decoding, "best_of_n" samples `n` whole answers, "beam_search" keeps
            the best partial answers step by step; docs/policies.md describes all. A
            "module:function" makes a policy of your own, see docs/writing-a-policy.md.
        n: Candidates or beams.
        beam_width: Children of each surviving beam; `n / beam_width` beams survive a step.
        stopping: When self-consistency stops sampling: "agreement" once the other samples could not
            change the lead, "beta" once that is unlikely.
        confidence: Probability that the lead is right at which "beta" stops.
        wave_size: Samples between two decisions of self-consistency.
        warmup: Answers of DeepConf that run to their end and find the score below which the others
            are stopped.
        keep: Share of them that reaches that score.
        stop_below: The score below which DeepConf stops an answer; None finds it by a warm-up.
        probe: Text with which "dynasor" asks a thought for its answer; where it ends with an open
            brace the answer reaches to its end, else to the end of the line.
        probe_interval: Tokens of a thought between two probes.
        probe_window: Probes in a row that have to agree to end a thought.
        probe_tokens: Most tokens that answer a probe.
        score_temperature: Temperature at which dynamic branching and particle filtering weigh
            scores; higher shares the places more evenly. None means 0.1 and 1.
        granularity: Steps of a node at each depth for varying-granularity search; the last number
            holds for all deeper nodes.
        lookahead_steps: Greedy steps after which lookahead scores a beam.
        temperature: 0 is greedy; None means 0.8 for searches, and for "none" what the model's
            `generation_config.json` says, or 0 where it says nothing.
        top_k: Sample among the k most likely tokens; 0 is off. None, here and for the next three,
            means what the model's `generation_config.json` says, or off.
        top_p: Sample among the most likely tokens that reach this probability; 1 is off.
        min_p: Drop tokens below this share of the largest probability; 0 is off.
        repetition_penalty: Makes tokens that occur in the prompt or the answer so far less likely,
            as in vLLM; 1 is off.
        max_tokens: Longest answer in tokens.
        max_step_tokens: Longest step in tokens; a longer one is cut there and continues as the next
            step.
        max_depth: Most nodes of an answer; a node holds one step unless the search says otherwise.
        step_separator: The text that ends a step.
        step_pattern: A regular expression whose matches end a step; None uses the separator.
        step_tokens: Tokens of a step of fixed length; None uses the separator or the pattern.
        thinking: Whether only the text between `<think>` and `</think>` is divided into steps; the
            text after it is one step.
        thinking_token_budget: Tokens of a thought, behind its opening marker, after which it is
            ended by force, as vLLM's option of this name does; None leaves thoughts alone.
        score_thoughts: Whether steps of thoughts are steps: False leaves the text up to `</think>`
            undivided and unscored, and its length to `max_tokens` and `thinking_token_budget`.
        keep_code_blocks: Whether code between fences is never cut.
        chat_template_kwargs: Switches of the model's chat template, such as
            `{"enable_thinking": false}`; one that the template has not is refused.
        stop: Strings that end an answer; they are not part of it.
        structured_outputs: A JSON schema, a pattern, choices or a grammar that every candidate
            follows, after its thoughts if the model thinks; None allows any text.
        num_logprobs: Of plain decoding, how many of the likeliest tokens the result has beside each
            token, with log-probabilities; 0 for the tokens' own alone, None for none.
        answer: Where a candidate's answer is looked for, its thoughts aside: "boxed", "answer_is",
            "last_number", "choice" (a letter), "code" (the last fenced block), "json" (the last
            object), "json:<field>", "text" (all of it), or "auto": what is announced last, in a box
            or in words, else the last number; where structured outputs are JSON it is "json",
            where they are choices, a pattern or a grammar "text".
        aggregation: How step scores become a path's score; "model" lets the verifier score the path
            so far as one step.
        selection: How the answer is chosen: highest score, most frequent answer, or the answer with
            the largest sum of scores. None means "best" where a verifier scores and "majority"
            where none does.
        seed: The search seed.
        budget: Limits of the search.
        on_cut: Where no candidate is complete: "return" the best of those that were cut off, with
            a warning in the result, or "raise" a `SearchError` that has the tree.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    search: Annotated[str, AfterValidator(_check_search)] = "beam_search"
    n: int = Field(default=16, ge=1, le=65_536)
    beam_width: int = Field(default=4, ge=1, le=65_536)
    stopping: Stopping = "beta"
    confidence: float = Field(default=0.95, gt=0.5, lt=1.0)
    wave_size: int = Field(default=4, ge=1, le=65_536)
    warmup: int = Field(default=4, ge=1, le=65_536)
    keep: float = Field(default=0.9, gt=0.0, le=1.0)
    stop_below: Annotated[float, Field(ge=0.0, le=1.0)] | None = None
    probe: str = Field(default=_PROBE, min_length=1, max_length=2000)
    probe_interval: Tokens = 64
    probe_window: int = Field(default=3, ge=1, le=1000)
    probe_tokens: Tokens = 20
    score_temperature: Annotated[float, Field(ge=0.001, le=1000.0)] | None = None
    granularity: Annotated[tuple[Tokens, ...], Field(min_length=1)] = (1, 1, 1, 4)
    lookahead_steps: int = Field(default=1, ge=1, le=10_000)
    temperature: Annotated[float, Field(ge=0.0, le=100.0)] | None = None
    top_k: Annotated[int, Field(ge=0, lt=1 << 31)] | None = None
    top_p: Annotated[float, Field(gt=0.0, le=1.0)] | None = None
    min_p: Annotated[float, Field(ge=0.0, le=1.0)] | None = None
    repetition_penalty: Annotated[float, Field(gt=0.0, le=100.0)] | None = None
    max_tokens: Tokens = 1024
    max_step_tokens: Tokens = 256
    max_depth: int = Field(default=40, ge=1, le=10_000)
    step_separator: str = Field(default="\n\n", min_length=1)
    step_pattern: Annotated[str, Field(min_length=1)] | None = None
    step_tokens: Tokens | None = None
    thinking: bool = False
    thinking_token_budget: Annotated[int, Field(ge=0, le=1_000_000)] | None = None
    score_thoughts: bool = True
    keep_code_blocks: bool = True
    chat_template_kwargs: TemplateSwitches = Field(default_factory=dict)
    stop: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    structured_outputs: StructuredOutputs | None = None
    num_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    answer: AnswerRule = "auto"
    aggregation: Aggregation = "last"
    selection: Selection | None = None
    seed: int = Field(default=0, ge=0, lt=1 << 63)
    budget: Budget = Field(default_factory=Budget)
    on_cut: Literal["return", "raise"] = "return"

    @model_validator(mode="after")
    def _beams_divide(self) -> Self:
        if self.search in _BY_BEAM_WIDTH and self.n % self.beam_width:
            raise ValueError(
                f"n={self.n} is not a multiple of beam_width={self.beam_width}: "
                f"try n={self.n // self.beam_width * self.beam_width or self.beam_width}"
            )
        return self

    @model_validator(mode="after")
    def _selection_fits(self) -> Self:
        if self.search == "self_consistency" and self.selection not in (None, "majority"):
            raise ValueError(
                f"selection='{self.selection}' with search='self_consistency', which stops once a "
                "majority is safe: use selection='majority', or search='best_of_n'"
            )
        return self

    @model_validator(mode="after")
    def _steps_fit(self) -> Self:
        if self.step_tokens is not None:
            if self.step_pattern is not None or self.thinking:
                raise ValueError("step_tokens goes with neither step_pattern nor thinking")
            if self.step_tokens > self.max_step_tokens:
                raise ValueError(
                    f"step_tokens={self.step_tokens} is more than "
                    f"max_step_tokens={self.max_step_tokens}: raise the latter"
                )
        if self.step_pattern is not None:
            _check_pattern(self.step_pattern)
        return self

    @model_validator(mode="after")
    def _thoughts_fit(self) -> Self:
        if self.score_thoughts:
            return self
        if self.thinking or self.step_tokens is not None:
            other = "thinking=True" if self.thinking else f"step_tokens={self.step_tokens}"
            raise ValueError(
                f"score_thoughts=False leaves thoughts whole, {other} divides them: leave one out"
            )
        if self.aggregation == "model":
            raise ValueError(
                "aggregation='model' scores a path's text with its thought, which "
                "score_thoughts=False leaves out: use another aggregation"
            )
        return self

    @model_validator(mode="after")
    def _logprobs_fit(self) -> Self:
        if self.num_logprobs is not None and self.search != "none":
            raise ValueError(
                f"num_logprobs={self.num_logprobs} with search='{self.search}': log-probabilities "
                "are of plain decoding, search='none'"
            )
        return self

    @property
    def step_rule(self) -> StepRule:
        """The rule that ends a step."""
        return StepRule(
            separator=self.step_separator,
            pattern=self.step_pattern,
            num_tokens=self.step_tokens,
            has_thinking=self.thinking,
            keeps_code=self.keep_code_blocks,
            skips_thoughts=not self.score_thoughts,
        )

    @property
    def has_counted_budget(self) -> bool:
        """Whether a limit of the budget applies to counts that the tree determines."""
        return self.budget.tokens is not None or self.budget.verifier_calls is not None

    @property
    def sampling(self) -> Sampling:
        """The sampling rule of these options, for a model that publishes none of its own."""
        return self.sampling_for(PublishedSampling())

    def sampling_for(self, published: PublishedSampling) -> Sampling:
        """The sampling rule of these options; unset ones are the model's own.

        A search needs samples that differ, so its temperature is not the model's.

        Args:
            published: What the model comes with.
        """
        is_plain = self.search == "none"
        defaults = {
            **_OFF,
            **{name: value for name, value in asdict(published).items() if value is not None},
            **({} if is_plain else {"temperature": _SEARCH_TEMPERATURE}),
        }
        own = {name: getattr(self, name) for name in defaults}
        return Sampling(
            **{name: defaults[name] if own[name] is None else own[name] for name in defaults}
        )


def _check_pattern(pattern: str) -> None:
    try:
        is_empty = compile_pattern(pattern).search("") is not None
    except ValueError as error:
        raise ValueError(f"step_pattern={pattern!r} cannot be run by RE2: {error}") from error
    if is_empty:
        raise ValueError(f"step_pattern={pattern!r} matches empty text, which ends no step")


def search_config(base: SearchConfig | None = None, **options: Any) -> SearchConfig:
    """Builds a search configuration.

    Args:
        base: Where options that are not given come from; None takes the defaults.
        options: Options of `SearchConfig`; they take precedence over `base`.

    Raises:
        ConfigurationError: An option is unknown or its value cannot work.
    """
    if not isinstance(base, SearchConfig | None):
        raise wrong_type("config", base, "a SearchConfig or None, whose fields are options too")
    values = {**(base.model_dump(exclude_unset=True) if base else {}), **options}
    try:
        return SearchConfig(**values)
    except ValidationError as error:
        raise refusal(SearchConfig, error) from error
