"""The generator as its own verifier: one model in memory."""

from collections.abc import Mapping, Sequence

from fasttts.backends.vllm.generator import VLLMGenerator
from fasttts.backends.vllm.score_outputs import NextToken
from fasttts.errors import BackendError
from fasttts.interfaces import Verification, VerificationRequest
from fasttts.types import Numerics
from fasttts.verifiers.registry import Family, judge_family
from fasttts.verifiers.step_reader import Place, Reading, StepReader


class GeneratorJudge:
    """Asks the generator whether the steps so far are right.

    Questions join the generator's batch, in sequences that are reserved for them, ahead of the
    queue; sequences go on decoding beside them. Tokens sampled meanwhile are returned by the
    generator's next step.

    Args:
        generator: Built with `num_reserved_seqs`; not closed by this object.
        family: Which question is asked; one of `verifiers.registry` that suits any instruct model.
    """

    def __init__(self, generator: VLLMGenerator, family: Family | None = None) -> None:
        self._generator = generator
        self._family = family or judge_family("judge")
        prompt_format = self._family.build(generator.tokenizer, generator.name)
        assert prompt_format.choices is not None, "judges compare replies"
        self._score_query = NextToken(prompt_format.choices)
        self._reader = StepReader(
            name=self.name,
            prompt_format=prompt_format,
            max_prompt_tokens=generator.max_model_len - self._score_query.num_new_tokens,
        )
        self._is_closed = False

    @property
    def name(self) -> str:
        """The generator's name, marked as a judge."""
        return f"{self._family.name}({self._generator.name})"

    @property
    def fingerprint(self) -> str | None:
        """The generator's fingerprint, marked as a judge; None where it has none."""
        own = self._generator.fingerprint
        return None if own is None else f"{self._family.name}({own})"

    @property
    def numerics(self) -> Numerics:
        """What the generator gives."""
        return self._generator.numerics

    def score(self, requests: Sequence[VerificationRequest]) -> list[Verification]:
        """Scores each request's unscored steps; see `interfaces.Verifier.score`.

        Raises:
            BackendError: The judge is closed, or the generator's engine failed.
            CapacityError: A question is longer than the context; nothing has been computed then.
        """
        if self._is_closed:
            raise BackendError("the verifier is closed", role="verifier")
        return self._reader.score(requests, self._read)

    def reset_prefix_cache(self) -> None:
        """Empties the generator's prefix cache; has no effect while a sequence is in flight."""
        self._generator.reset_prefix_cache()

    def close(self) -> None:
        """Refuses further work; the generator stays open."""
        self._is_closed = True

    def _read(self, prompts: Mapping[Place, Sequence[int]]) -> dict[Place, Reading]:
        params = self._score_query.params(reads_prefix_cache=True)
        outputs = self._generator.ask(list(prompts.values()), params)
        lengths = [len(token_ids) for token_ids in prompts.values()]
        readings = self._score_query.readings(lengths, outputs)
        return dict(zip(prompts, readings, strict=True))
