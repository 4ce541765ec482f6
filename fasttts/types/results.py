"""Results of searches and decodings, with their counts and times."""

from dataclasses import dataclass, field
from typing import Any

from fasttts.types.documents import Document
from fasttts.types.logprobs import Distribution
from fasttts.types.record import RESULT_VERSION, SearchRecord, Step, Vote
from fasttts.types.values import FinishReason, Numerics, Path, StopReason


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerPrefix:
    """Text that every candidate of a search continues, with its scored steps.

    Attributes:
        text: The text, up to where the next step begins.
        steps: The same text as steps; each has a score where the search uses a verifier.
    """

    text: str
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One complete or cut-off path of the tree.

    Attributes:
        path: Position in the tree.
        text: The whole answer text, separators included.
        steps: The same text as steps with their scores.
        score: `steps` aggregated to one number; None without a verifier.
        answer: The answer that the extractor found in `text`, as written there; None where it found
            none.
        finish_reason: "stop" for a complete candidate, "length" for one that hit a cap.
        num_tokens: Tokens of `text`, the end-of-turn token included.
        is_malformed: Whether the extractor could not read what the text should hold, such as a tool
            call; it ranks behind every candidate that can be read.
        is_announced: Whether `text` presents `answer` as its answer. False for the last number of a
            text that presents none, which has a vote only where no candidate announces one.
    """

    path: Path
    text: str
    steps: tuple[Step, ...]
    score: float | None
    answer: str | None
    finish_reason: FinishReason
    num_tokens: int
    is_malformed: bool = False
    is_announced: bool = True

    @property
    def is_complete(self) -> bool:
        """Whether the model ended this candidate by itself."""
        return self.finish_reason == "stop"


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeNode:
    """A node of a search that ended without a result.

    Attributes:
        path: Position in the tree.
        text: The node's own text so far.
        score: The path's aggregated score; None where it was not scored or nothing follows it.
        finish_reason: None where it was still running.
        num_tokens: The node's own tokens.
    """

    path: Path
    text: str
    score: float | None
    finish_reason: FinishReason | None
    num_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Token and node counts of a search.

    Attributes:
        prompt_tokens: Tokens of the rendered prompt, counted once.
        generated_tokens: Tokens the generator sampled for this search, on every beam; those that
            end or probe a thought count as if it had.
        required_tokens: Generated tokens that are part of the tree; every schedule has to generate
            them.
        speculated_tokens: Required tokens that were generated before a decision asked for them.
            Speculation wasted `generated_tokens - required_tokens`.
        returned_tokens: Tokens of the chosen candidate.
        recomputed_tokens: Prompt tokens the generator computed again because a continued path was
            no longer in its prefix cache.
        verifier_computed_tokens: Tokens the verifier ran through its model.
        verifier_cached_tokens: Verifier prompt tokens that its prefix cache supplied.
        num_nodes: Nodes of the tree.
        num_verifications: Requests made to the verifier.
        num_nan_scores: Scores of the verifier that were not a number; they count as 0.
        num_compared_scores: Scores of different texts that were compared with each other, by the
            decisions of the search and by the ranking of its candidates.
        num_tied_scores: Those of them that another text in the same comparison had as well, so that
            the order in the tree decided between the two.
        num_compared_rounds: Comparisons of at least two different texts.
        num_flat_rounds: Those of them in which all had one score.
        num_iterations: Generator iterations in which this search had a sequence running.
        drafted_tokens: Drafted tokens that the generator computed for this search, kept or not.
        kept_draft_tokens: Those of them that were kept, as they were what the sampling rule drew.
            Drafts wasted `drafted_tokens - kept_draft_tokens`.
        num_preemptions: Times a sequence, of any search, lost its KV blocks meanwhile.
        peak_kv_cache_usage: Largest share of the generator's KV cache in use meanwhile, 0 to 1.
        is_cached: Whether the result was read from the result cache; the counts are those of the
            search that computed it.
    """

    prompt_tokens: int = 0
    generated_tokens: int = 0
    required_tokens: int = 0
    speculated_tokens: int = 0
    returned_tokens: int = 0
    recomputed_tokens: int = 0
    verifier_computed_tokens: int = 0
    verifier_cached_tokens: int = 0
    num_nodes: int = 0
    num_verifications: int = 0
    num_nan_scores: int = 0
    num_compared_scores: int = 0
    num_tied_scores: int = 0
    num_compared_rounds: int = 0
    num_flat_rounds: int = 0
    num_iterations: int = 0
    drafted_tokens: int = 0
    kept_draft_tokens: int = 0
    num_preemptions: int = 0
    peak_kv_cache_usage: float = 0.0
    is_cached: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Occupancy:
    """Sequences of one search in the generator's batch, one number for each iteration.

    Attributes:
        required: Sequences that some decision waited for.
        speculative: Sequences generated ahead of a decision.
        plain: Sequences that the plain loop (decode all, score all, decide) would have run for the
            same tree, alone and with the same slots.
    """

    required: tuple[int, ...] = ()
    speculative: tuple[int, ...] = ()
    plain: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """Wall-clock seconds of a search, from admission to the chosen answer.

    Engine steps shared with other searches count in full for each of them.

    Attributes:
        total_s: All of it.
        generation_s: Generator steps in which this search took part.
        verification_s: Verifier steps in which it took part; of a verifier that scores while the
            generator decodes, only the time the search waited for it.
    """

    total_s: float = 0.0
    generation_s: float = 0.0
    verification_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenLogprob:
    """A token of plain decoding, with its log-probability.

    It is the model's own, before temperature, filters, penalties and grammars.

    Attributes:
        text: The token's text. All of them joined are the text, so that a token which ends inside
            a character has none: the last of its tokens has the character.
        logprob: Natural logarithm of its probability; -9999 and less are given as -9999.
        likeliest: Texts that the likeliest tokens would have there, with theirs.
        distribution: What all tokens' log-probabilities there say together; None of a token that
            was not sampled, and from a generator that does not tell.
    """

    text: str
    logprob: float
    likeliest: tuple[tuple[str, float], ...] = ()
    distribution: Distribution | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchResult(Document):
    """The outcome of one search or of one plain decoding.

    Attributes:
        text: The chosen candidate's text.
        answer: The chosen candidate's extracted answer; None where there is none.
        score: The chosen candidate's aggregated score; None without a verifier.
        finish_reason: The chosen candidate's finish reason.
        stop_reason: Why the search ended; "complete" where no budget cut it short.
        candidates: Every ended candidate, best first by the selection rule.
        usage: Token and node counts.
        timings: Seconds by phase.
        occupancy: Use of the generator's slots, iteration by iteration.
        votes: The answers that were voted on, the one with the most votes first; empty where there
            was no vote.
        record: How the search went, node by node.
        logprobs: The tokens of `text` with their log-probabilities; empty unless the option
            `num_logprobs` asks for them.
        seed: The search seed; with the same models and `config` it gives the same result, where
            `numerics` is "deterministic".
        config: The resolved search configuration, every option spelled out.
        generator: Name or path of the generator.
        verifier: Name or path of the verifier; None when none took part.
        numerics: "deterministic" where the numbers of generator and verifier have nothing that is
            known to depend on the batch, so that no schedule and no other call should change the
            result; "default" where one of them promises less. `docs/exactness.md` has the limits.
        plan: The memory plan of the engine as JSON data, which `MemoryPlan.from_dict` reads; None
            where its memory was not planned.
        warnings: What a caller should know, each with the option to change: that all candidates
            were cut off, for one.
        unlike_model: Options of `config` whose values are not those of the model's
            `generation_config.json`, with the model's values; empty where all are the model's, or
            it has none.
        routing: The decision of a routing policy as JSON data, whose cost is part of `usage`; None
            where no policy decided.
        version: Version of the result's JSON.
    """

    text: str
    answer: str | None
    score: float | None
    finish_reason: FinishReason
    candidates: tuple[Candidate, ...]
    usage: Usage
    timings: Timings
    occupancy: Occupancy = Occupancy()
    votes: tuple[Vote, ...] = ()
    record: SearchRecord = field(default_factory=SearchRecord)
    logprobs: tuple[TokenLogprob, ...] = ()
    seed: int
    config: dict[str, Any]
    generator: str
    verifier: str | None
    numerics: Numerics = "default"
    plan: dict[str, Any] | None = None
    stop_reason: StopReason = "complete"
    warnings: tuple[str, ...] = ()
    unlike_model: dict[str, float] = field(default_factory=dict)
    routing: dict[str, Any] | None = None
    version: int = RESULT_VERSION

    def to_html(self, *others: "SearchResult") -> str:
        """Writes a page that shows the search: one HTML file that needs no network.

        Args:
            others: Further searches, of the same problem for example, to show beside this one.
        """
        from fasttts.page import search_page

        return search_page([each.to_dict() for each in (self, *others)])

    def _repr_html_(self) -> str:
        """The page in a frame, for notebooks."""
        from fasttts.page import embedded_page

        answer = "no answer found" if self.answer is None else f"answer {self.answer}"
        score = "" if self.score is None else f", score {self.score:.4f}"
        label = f"{self.config.get('search', 'search')}: {answer}{score}"
        return embedded_page([self.to_dict()], label=label)
