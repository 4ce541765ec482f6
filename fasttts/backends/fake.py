"""A generator and a verifier without models, which keep the interface's promises in microseconds.

The fake generator is a deterministic language model over bytes. Its next-token distribution is a
function of the whole prefix; tokens are drawn by the same counter-based rule as on vLLM, so that
everything above the interface can be tested for exactness without a device. A `script` makes it
answer given prompts with given texts.
"""

import functools
import hashlib
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fasttts.backends.fake_kv_cache import BlockPool, Holding
from fasttts.config.template_switches import unknown_switch
from fasttts.decoding.distribution import distribution
from fasttts.decoding.drafts import Drafts
from fasttts.decoding.grammar import Constraint, Constraints
from fasttts.decoding.sampling import FloatArray, PublishedSampling, sample_token
from fasttts.decoding.thoughts import THINK
from fasttts.errors import BackendError, CapacityError, ConfigurationError
from fasttts.interfaces import (
    NOBODY,
    CallFormat,
    GenerationOutput,
    GenerationRequest,
    MemoryPressure,
    Verification,
    VerificationRequest,
    fingerprint,
)
from fasttts.types import Message, Numerics, ParsedOutput, TokenLogprobs

if TYPE_CHECKING:
    from llguidance import LLTokenizer

EOS = 256
BLANK_LINE = 257
TURN = 258
FIRST_BOX = 259
VOCAB_SIZE = FIRST_BOX + 10
_PIECES: dict[int, bytes] = {
    EOS: b"",
    BLANK_LINE: b"\n\n",
    TURN: b"",
    **{FIRST_BOX + digit: b"\\boxed{%d}" % digit for digit in range(10)},
}
_SPECIAL = re.compile(rb"\n\n|[^\n]+|\n")
_LETTERS = [ord(letter) for letter in "abcdefghijklmnopqrstuvwxyz "]
_SWITCH = "enable_thinking"
_TEMPLATE = "{{ enable_thinking }}"
_NUM_TABLES = 64
_CLOSING = [EOS, *b'"}],']
_CLOSING_BONUS = 3.0
"""Added to the logits of closing tokens, so that constrained text of the random model ends."""

Script = Callable[[str], str | None]
"""Text of the rendered prompt to the answer; None leaves it to the random model."""

Drafter = Callable[[GenerationRequest, Sequence[int], int], Sequence[int]]
"""Request, all of its tokens so far and the most tokens to draft, to what may follow."""


class FakeTokenizer:
    """Bytes as tokens, with tokens of their own for a blank line and an end of turn."""

    eos_token_ids = frozenset({EOS})

    def encode_chat(
        self,
        messages: Sequence[Message],
        tools: Sequence[Mapping[str, Any]] | None = None,
        chat_template_kwargs: Mapping[str, Any] | None = None,
    ) -> list[int]:
        """Encodes turns of `role: content`, tools first.

        With the switch `enable_thinking` the prompt opens a thought.

        Raises:
            ConfigurationError: A message has no role, or there is no such switch.
        """
        switches = chat_template_kwargs or {}
        if (unknown := unknown_switch(switches, _TEMPLATE)) is not None:
            raise ConfigurationError(
                f"chat_template_kwargs={dict(switches)}: the chat template has no switch "
                f"{unknown!r}: leave it out"
            )
        token_ids = self._turn(f"tools: {tools}") if tools else []
        for message in messages:
            if "role" not in message:
                raise ConfigurationError(f"a message has no role: {message}")
            body = message.get("content") or message.get("tool_calls") or ""
            token_ids += self._turn(f"{message['role']}: {body}")
        opened = THINK.begin if switches.get(_SWITCH) else ""
        return [*token_ids, *self.encode(f"assistant: {opened}")]

    def encode(self, text: str) -> list[int]:
        """Encodes each byte as a token; a blank line is one token."""
        token_ids: list[int] = []
        for part in _SPECIAL.findall(text.encode()):
            token_ids += [BLANK_LINE] if part == b"\n\n" else part
        return token_ids

    def decode(self, token_ids: Sequence[int]) -> str:
        """Decodes tokens, without markers."""
        pieces = [_PIECES[i] if i >= EOS else bytes((i,)) for i in token_ids]
        return b"".join(pieces).decode(errors="replace")

    def _turn(self, text: str) -> list[int]:
        return [*self.encode(text), TURN]


@dataclass(slots=True, eq=False)
class _Sequence:
    request: GenerationRequest
    arrival: int
    token_ids: list[int]
    scripted: list[int] | None
    constraint: Constraint | None
    num_new: int = 0
    num_cached: int | None = None
    holding: Holding | None = None
    is_prefilled: bool = False


class FakeGenerator:
    """A byte-level model whose steps, answers and lengths follow from the prefix.

    Args:
        script: Returns the answer to a rendered prompt, or None to leave it to the random model;
            None has no answers.
        max_model_len: Context in tokens.
        max_num_seqs: Sequences in one iteration.
        mean_step_tokens: Mean length of a step.
        mean_steps: Mean number of steps of an answer.
        block_size: Tokens of a block of the simulated KV cache.
        published_sampling: The sampling that the model comes with.
        max_draft_tokens: Most tokens that it drafts for a sequence in an iteration; see
            `interfaces.DraftingGenerator`.
        drafter: Drafts in place of the lookup in the texts of a group, right or wrong.
        num_blocks: Blocks of it. Sequences that do not fit wait; when a running one cannot grow,
            the one of lowest priority is preempted and computed again later.
    """

    name = "fake-generator"
    numerics: Numerics = "deterministic"
    call_marker: str | None = None
    call_format: CallFormat | None = None

    def __init__(
        self,
        script: Script | None = None,
        *,
        max_model_len: int = 4096,
        max_num_seqs: int = 128,
        mean_step_tokens: float = 8.0,
        mean_steps: float = 4.0,
        block_size: int = 16,
        num_blocks: int = 4096,
        published_sampling: PublishedSampling = PublishedSampling(),  # noqa: B008, immutable
        max_draft_tokens: int = 0,
        drafter: Drafter | None = None,
    ) -> None:
        self.max_draft_tokens = max_draft_tokens
        self._num_draft_tokens = 0
        self._fewer_drafts: Mapping[str, int] = NOBODY
        self._drafter = drafter
        self._drafts = Drafts()
        self.published_sampling = published_sampling
        self.tokenizer = FakeTokenizer()
        self.max_model_len = max_model_len
        self.max_num_seqs = max_num_seqs
        self._script = script
        self._lengths = (mean_step_tokens, mean_steps)
        self._step_end = 1 / mean_step_tokens
        self._answer_end = 1 / mean_steps
        self._pool = BlockPool(block_size, num_blocks)
        self._num_preemptions = 0
        self._sequences: dict[str, _Sequence] = {}
        self._num_arrived = 0
        self._is_closed = False
        self._constraints = Constraints(vocabulary, VOCAB_SIZE)
        generator = np.random.Generator(np.random.PCG64(7))
        self._letter_logits = generator.normal(size=(_NUM_TABLES, len(_LETTERS)))
        self._free_logits = generator.normal(size=(_NUM_TABLES, VOCAB_SIZE))
        self._free_logits[:, _CLOSING] += _CLOSING_BONUS

    @property
    def fingerprint(self) -> str | None:
        """Everything that its tokens depend on; None with a script that has no fingerprint."""
        script = "" if self._script is None else fingerprint(self._script)
        if script is None:
            return None
        return f"{type(self.tokenizer).__name__} {self.max_model_len} {self._lengths} {script}"

    def compile_grammar(self, grammar: str) -> object:
        """Compiles a grammar, once for all requests; see `interfaces.Generator`."""
        return self._constraints.compile(grammar)

    def add(self, request: GenerationRequest) -> None:
        """Queues a request.

        Raises:
            BackendError: The generator is closed, or a request of this id is in flight.
            CapacityError: The prompt does not fit into the context.
        """
        self._check_open()
        if request.request_id in self._sequences:
            message = f"request {request.request_id} is in flight already"
            raise BackendError(message, role="generator")
        if len(request.prompt_token_ids) >= self.max_model_len:
            raise CapacityError(
                f"a prompt of {len(request.prompt_token_ids)} tokens does not fit into the "
                f"context of {self.max_model_len}: shorten it or raise max_model_len",
                role="generator",
            )
        self._num_arrived += 1
        self._sequences[request.request_id] = _Sequence(
            request,
            self._num_arrived,
            list(request.prompt_token_ids),
            self._scripted(request),
            self._constraint(request),
        )
        if self.max_draft_tokens and request.draft_group is not None:
            self._drafts.begin(request.request_id, request.prompt_token_ids, request.draft_group)

    def set_draft_tokens(self, number: int, fewer: Mapping[str, int] = NOBODY) -> None:
        """Sets how many tokens it drafts for a sequence; see `interfaces.DraftingGenerator`.

        Raises:
            BackendError: It drafts no such number.
        """
        if not 0 <= number <= self.max_draft_tokens:
            message = f"{number} drafted tokens, of at most {self.max_draft_tokens}"
            raise BackendError(message, role="generator")
        self._num_draft_tokens, self._fewer_drafts = number, fewer

    def step(self) -> list[GenerationOutput]:
        """Samples a token for each running sequence, and one for each draft before it is wrong."""
        self._check_open()
        return [self._advance(sequence) for sequence in self._schedule()]

    def abort(self, request_ids: Sequence[str]) -> None:
        """Ends requests; unknown ids are ignored."""
        for request_id in request_ids:
            sequence = self._sequences.pop(request_id, None)
            if sequence is not None:
                self._release(sequence)
                self._drafts.end(request_id)

    def pressure(self) -> MemoryPressure:
        """Reports how full the simulated KV cache is."""
        return MemoryPressure(
            kv_cache_usage=self._pool.usage, num_preemptions=self._num_preemptions
        )

    def num_unfinished(self) -> int:
        """Counts the requests in flight."""
        return len(self._sequences)

    def preempt_all(self) -> None:
        """Moves every running sequence back to the queue and drops its cached blocks."""
        for sequence in self._sequences.values():
            self._preempt(sequence)
        self._pool.clear()

    def parse_tool_calls(self, text: str, tools: Sequence[Mapping[str, Any]]) -> ParsedOutput:
        """Returns the text alone: this model has no tool call format."""
        return ParsedOutput(content=text)

    def close(self) -> None:
        """Releases all sequences; later calls raise."""
        for sequence in self._sequences.values():
            self._release(sequence)
        self._sequences.clear()
        self._is_closed = True

    def _check_open(self) -> None:
        if self._is_closed:
            raise BackendError("the generator is closed", role="generator")

    def _schedule(self) -> list[_Sequence]:
        """Sequences that get a token: by priority, then arrival, as far as the blocks suffice."""
        order = sorted(self._sequences.values(), key=lambda s: (s.request.priority, s.arrival))
        scheduled: list[_Sequence] = []
        for sequence in order[: self.max_num_seqs]:
            sequence.is_prefilled = sequence.holding is not None
            if sequence.holding is None:
                sequence.holding = self._pool.open(sequence.token_ids)
            if sequence.holding is None or not self._grow(sequence, order):
                break
            scheduled.append(sequence)
        for sequence in order[len(scheduled) :]:
            self._preempt(sequence)
        return scheduled

    def _grow(self, sequence: _Sequence, order: Sequence[_Sequence]) -> bool:
        """Makes room for one more token, if necessary by preempting those behind it in `order`."""
        assert sequence.holding is not None
        while not self._pool.extend(sequence.holding, sequence.token_ids):
            behind = order[order.index(sequence) + 1 :]
            victim = next((s for s in reversed(behind) if s.holding is not None), None)
            if victim is None:
                self._check_fits(sequence)
                return False
            self._preempt(victim)
        return True

    def _check_fits(self, sequence: _Sequence) -> None:
        if len(sequence.token_ids) >= (self._pool.num_blocks - 1) * self._pool.block_size:
            raise CapacityError("one sequence is larger than the KV cache", role="generator")

    def _preempt(self, sequence: _Sequence) -> None:
        if sequence.holding is not None:
            self._num_preemptions += 1
            self._release(sequence)

    def _release(self, sequence: _Sequence) -> None:
        if sequence.holding is not None:
            self._pool.close(sequence.holding)
            sequence.holding = None

    def _advance(self, sequence: _Sequence) -> GenerationOutput:
        """Draws tokens while each is the drafted one, and then one more."""
        assert sequence.holding is not None
        if sequence.num_cached is None:
            sequence.num_cached = sequence.holding.num_cached_tokens
        draft, begin = self._draft(sequence), len(sequence.token_ids)
        logprobs: list[TokenLogprobs] = []
        is_finished = False
        for drafted in (*draft, None):
            if (error := self._draw(sequence, logprobs)) is not None:
                if len(sequence.token_ids) == begin:
                    return self._failed(sequence, error)
                break  # the grammar fails at the same place in the next iteration
            is_finished = self._is_finished(sequence)
            if is_finished or sequence.token_ids[-1] != drafted:
                break
            assert self._pool.extend(sequence.holding, sequence.token_ids), "a draft has room"
        token_ids = tuple(sequence.token_ids[begin:])
        if self.max_draft_tokens and sequence.request.draft_group is not None:
            self._drafts.append(sequence.request.request_id, token_ids)
        if is_finished:
            self._end(sequence)
        return GenerationOutput(
            request_id=sequence.request.request_id,
            token_ids=token_ids,
            is_finished=is_finished,
            num_cached_tokens=sequence.num_cached,
            logprobs=logprobs,
            num_drafted=len(draft),
            num_kept_drafts=sum(map(operator.eq, token_ids, draft)),
        )

    def _draw(self, sequence: _Sequence, logprobs: list[TokenLogprobs]) -> BackendError | None:
        """Draws a sequence's next token by the sampling rule.

        Args:
            sequence: The sequence.
            logprobs: Gets those of the token, where the request asks for them.

        Returns:
            Why its grammar cannot go on; None where it has one token more.
        """
        request = sequence.request
        position = len(sequence.token_ids)
        free = self._logits(sequence)
        logits = self._constrained(sequence, free)
        if sequence.constraint is not None and sequence.constraint.failure is not None:
            return sequence.constraint.failure
        token_id = sample_token(
            logits, request.seed, position, request.sampling, sequence.token_ids
        )
        sequence.token_ids.append(token_id)
        sequence.num_new += 1
        logprobs += _logprobs(free, token_id, request.num_logprobs)
        return None

    def _is_finished(self, sequence: _Sequence) -> bool:
        is_full = len(sequence.token_ids) >= self.max_model_len
        is_long = sequence.num_new >= sequence.request.max_tokens
        return sequence.token_ids[-1] == EOS or is_long or is_full

    def _draft(self, sequence: _Sequence) -> Sequence[int]:
        """Drafts tokens, as far as the request, the context and the free blocks have room.

        Nothing is drafted in an iteration that computes a prompt.
        """
        request, holding = sequence.request, sequence.holding
        if request.draft_group is None or not sequence.is_prefilled or holding is None:
            return ()
        length = len(sequence.token_ids)
        rooms = (
            request.max_tokens - sequence.num_new,
            self.max_model_len - length,
            self._pool.room(length),
        )
        number = self._num_draft_tokens
        most = min(self._fewer_drafts.get(request.request_id, number), number, min(rooms) - 1)
        if most <= 0:
            return ()
        if self._drafter is not None:
            return self._drafter(request, sequence.token_ids, most)[:most]
        return self._drafts.draft(request.request_id, most)

    def _end(self, sequence: _Sequence) -> None:
        self._release(sequence)
        self._drafts.end(sequence.request.request_id)
        del self._sequences[sequence.request.request_id]

    def _failed(self, sequence: _Sequence, error: BackendError) -> GenerationOutput:
        """Ends a request whose grammar cannot go on."""
        self._end(sequence)
        return GenerationOutput(
            request_id=sequence.request.request_id, token_ids=(), is_finished=True, error=error
        )

    def _scripted(self, request: GenerationRequest) -> list[int] | None:
        """The tokens of the scripted answer, from the prompt's last `assistant: ` on."""
        if self._script is None:
            return None
        start = "assistant: "
        text = self.tokenizer.decode(request.prompt_token_ids)
        prompt, _, begun = text.rpartition(start)
        answer = self._script(prompt + start)
        if answer is None or not answer.startswith(begun):
            return None
        return [*self.tokenizer.encode(answer)[len(self.tokenizer.encode(begun)) :], EOS]

    def _constraint(self, request: GenerationRequest) -> Constraint | None:
        if request.grammar is None:
            return None
        return self._constraints.start(request.grammar, request.answer_token_ids)

    def _constrained(self, sequence: _Sequence, logits: FloatArray) -> FloatArray:
        """Removes tokens that the grammar forbids; guesses where no token of the model remains."""
        if sequence.constraint is None:
            return logits
        begin = len(sequence.request.prompt_token_ids)
        allowed = sequence.constraint.allowed(sequence.token_ids[begin:])
        kept = np.where(allowed, logits, -np.inf)
        if np.isfinite(kept).any() and sequence.scripted is not None:
            return kept
        digest = _digest(sequence.token_ids)
        return np.where(allowed, self._free_logits[digest[0] % _NUM_TABLES], -np.inf)

    def _logits(self, sequence: _Sequence) -> FloatArray:
        logits = np.full(VOCAB_SIZE, -np.inf)
        if sequence.scripted is not None:
            if sequence.num_new < len(sequence.scripted):
                logits[sequence.scripted[sequence.num_new]] = 0.0
            return logits
        previous = sequence.token_ids[-1] if sequence.token_ids else BLANK_LINE
        if previous >= FIRST_BOX:
            logits[EOS] = 0.0
            return logits
        digest = _digest(sequence.token_ids)
        logits[_LETTERS] = self._letter_logits[digest[0] % _NUM_TABLES]
        if chr(previous % 256).isalpha() and previous < EOS:
            self._offer_ends(logits, digest)
        return logits

    def _offer_ends(self, logits: FloatArray, digest: bytes) -> None:
        """Gives the ends of step and answer their odds against the letters.

        After one prefix in sixteen an end is all but certain, so that greedy decoding ends too.
        """
        letters = np.log(np.exp(logits[_LETTERS]).sum())
        odds = 10.0 if digest[2] < 16 else np.log(self._step_end / (1 - self._step_end))
        logits[BLANK_LINE] = letters + odds + np.log(1 - self._answer_end)
        logits[FIRST_BOX + digest[1] % 10] = letters + odds + np.log(self._answer_end)


@functools.cache
def vocabulary() -> "LLTokenizer":
    """Converts the tokens for llguidance."""
    from llguidance import LLTokenizer
    from llguidance._tokenizer import TokenizerWrapper

    return LLTokenizer(TokenizerWrapper(_Tokens()))


class _Tokens:
    """The tokenizer interface that llguidance expects."""

    eos_token_id, bos_token_id = EOS, None
    special_token_ids = (EOS, TURN)
    tokens = tuple(_PIECES[i] if i in _PIECES else bytes((i,)) for i in range(VOCAB_SIZE))

    def __call__(self, text: bytes) -> list[int]:
        return FakeTokenizer().encode(text.decode())


def _logprobs(logits: FloatArray, token_id: int, num: int | None) -> Sequence[TokenLogprobs]:
    """Log-probabilities of a new token and of the likeliest ones; empty where not asked for."""
    if num is None:
        return ()
    with np.errstate(invalid="ignore"):  # a script that has ended has no token at all
        shifted = logits - logits.max()
    logprobs = shifted - np.log(np.exp(shifted).sum())
    likeliest = np.argsort(-logprobs, kind="stable")[:num]
    pairs = [(int(each), float(logprobs[each])) for each in likeliest]
    whole = distribution(logprobs)
    return [TokenLogprobs(token_id, float(logprobs[token_id]), pairs, whole)]


def _digest(token_ids: Sequence[int]) -> bytes:
    return hashlib.blake2b(np.asarray(token_ids, dtype=np.int32).tobytes(), digest_size=4).digest()


ScoreFunction = Callable[[str, tuple[str, ...]], float]


def hashed_score(problem: str, steps: tuple[str, ...]) -> float:
    """Computes a score in [0, 1) from the text alone, correlated with the parent's score.

    Args:
        problem: The text the steps answer.
        steps: Steps of the path; the last one is scored.
    """
    score = 0.5
    for end in range(1, len(steps) + 1):
        digest = hashlib.blake2b(repr((problem, steps[:end])).encode(), digest_size=4).digest()
        score = 0.5 * score + 0.5 * int.from_bytes(digest, "big") / 2**32
    return score


class FakeVerifier:
    """Scores by a function of (problem, steps); counts a character as a token.

    Args:
        function: Returns the score of the last of `steps`; the default hashes the text.
    """

    name = "fake-verifier"
    numerics: Numerics = "deterministic"

    def __init__(self, function: ScoreFunction = hashed_score) -> None:
        self._function = function
        self._is_closed = False

    @property
    def fingerprint(self) -> str | None:
        """The function's fingerprint; None for a user's function without one."""
        if self._function is hashed_score:
            return "hashed_score"
        return fingerprint(self._function)

    def score(self, requests: Sequence[VerificationRequest]) -> list[Verification]:
        """Scores each request's unscored steps.

        Raises:
            BackendError: The verifier is closed.
        """
        if self._is_closed:
            raise BackendError("the verifier is closed", role="verifier")
        return [self._score(request) for request in requests]

    def close(self) -> None:
        """Refuses further work."""
        self._is_closed = True

    def _score(self, request: VerificationRequest) -> Verification:
        known = len(request.problem) + sum(map(len, request.steps[: request.num_scored]))
        new = sum(map(len, request.steps[request.num_scored :]))
        ends = range(request.num_scored + 1, len(request.steps) + 1)
        return Verification(
            scores=tuple(self._function(request.problem, request.steps[:end]) for end in ends),
            num_computed_tokens=new if request.num_scored else known + new,
            num_cached_tokens=known if request.num_scored else 0,
        )
