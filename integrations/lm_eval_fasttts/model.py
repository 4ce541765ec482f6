"""`FastTTSLM`: a FastTTS engine as a model of lm-evaluation-harness."""

import json
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, NoReturn, Self, TypeGuard

from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from tqdm import tqdm

from fasttts import FastTTS
from fasttts.chat import ReplyFormat
from fasttts.config import EngineConfig, SearchConfig, engine_config, search_config
from fasttts.decoding.sampling import derive_seed
from fasttts.decoding.structured_outputs import THINK_START
from fasttts.engine.registry import EngineLease
from fasttts.engine.request import Prompt, is_thinking
from fasttts.errors import ConfigurationError, SearchError
from fasttts.evaluation import MAX_IN_FLIGHT, ProblemOutcome
from fasttts.evaluation.harness import split_options
from fasttts.search import resolve
from fasttts.types import SearchResult
from lm_eval_fasttts.requests import TaskOptions, chat_context, make_prompt, task_options

logger = logging.getLogger("fasttts.lm_eval")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What the search of one request ended with.

    Attributes:
        task: The task's name.
        doc_id: The number of its document.
        repeat: How often the same request was made before; above 0 for tasks with repeats.
        ended: The result; the error where there is no text, or the prompt does not fit.
    """

    task: str | None
    doc_id: int
    repeat: int
    ended: ProblemOutcome


@dataclass(slots=True, kw_only=True)
class _Totals:
    """What all requests of a model cost."""

    num_requests: int = 0
    num_errors: int = 0
    tokens: Counter[str] = field(default_factory=Counter)

    def add(self, ended: ProblemOutcome) -> None:
        self.num_requests += 1
        if isinstance(ended, SearchResult):
            self.spend(ended)
        else:
            self.num_errors += 1

    def spend(self, result: SearchResult) -> None:
        self.tokens["prompt_tokens"] += result.usage.prompt_tokens
        self.tokens["generated_tokens"] += result.usage.generated_tokens
        self.tokens["verifier_tokens"] += result.usage.verifier_computed_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """One request that can be searched."""

    index: int
    request: Instance
    prompt: Prompt
    seed: int
    repeat: int


class FastTTSLM(LM):  # type: ignore[misc]  # lm-eval ships no types
    """A small local model that can search before it answers, for `lm_eval.simple_evaluate`.

    It answers the requests of tasks that generate (`generate_until`); tasks that compare the
    likelihood of given texts need a model without a search.

    Args:
        model: "demo", a local model directory, or a hub name; None takes the environment's.
        engine: An engine to use as it is, instead of `model` and options of an engine; None loads
            one on first use.
        config: Options of the search; `options` override it. None takes the defaults.
        max_in_flight: Most requests that are in work, or wait for a place, at a time.
        on_outcome: Called with the outcome of each request, as it ends; None for no calls.
        options: Fields of `SearchConfig` and `EngineConfig`.

    Raises:
        ConfigurationError: An option is unknown, or its value cannot work.
    """

    def __init__(
        self,
        model: str | None = None,
        *,
        engine: FastTTS | None = None,
        config: SearchConfig | None = None,
        max_in_flight: int = MAX_IN_FLIGHT,
        on_outcome: Callable[[Outcome], None] | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        search, of_engine = split_options(options)
        if engine is not None and (of_engine or model is not None):
            names = ", ".join([*(["model"] if model is not None else []), *of_engine])
            raise ConfigurationError(f"{names} beside an engine, which has its models already")
        named = {} if model is None else {"generator": model}
        self._given = engine
        self._engine_config = None if engine is not None else engine_config(**named, **of_engine)
        self._config = search_config(config, **search)
        verifier = self._runs[1]
        resolve(self._config, has_verifier=verifier is not None)
        self._max_in_flight = max_in_flight
        self._on_outcome = on_outcome
        self._lease = EngineLease()
        self._totals = _Totals()

    @property
    def engine(self) -> FastTTS:
        """The engine, loaded on first use; models with equal options share one."""
        if self._given is not None:
            return self._given
        assert isinstance(self._engine_config, EngineConfig), "there is an engine or its options"
        return self._lease.take(self._engine_config)

    @property
    def tokenizer_name(self) -> str:
        """A part of the key under which the harness caches requests."""
        return f"fasttts-messages-{self._runs[0].replace('/', '__')}"

    @property
    def _runs(self) -> tuple[str, str | None]:
        """The generator and the verifier."""
        if self._given is not None:
            return self._given.generator_name, self._given.verifier_name
        assert isinstance(self._engine_config, EngineConfig), "there is an engine or its options"
        return self._engine_config.generator, self._engine_config.verifier

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> str:
        """Keeps a conversation for the engine, which renders it with the model's own template.

        Args:
            chat_history: The messages.
            add_generation_prompt: False where the last message begins the answer.
        """
        return chat_context(chat_history)

    def chat_template(self, chat_template: bool | str = False) -> str | None:
        """Returns the template for the harness's log: the model's own, which has no name.

        Args:
            chat_template: Whether there is one; a name is refused.

        Raises:
            ConfigurationError: A template is named.
        """
        if isinstance(chat_template, str):
            raise ConfigurationError(
                f"apply_chat_template={chat_template!r}: a model's own template is the only one, "
                "so say True"
            )
        return "the model's own" if chat_template else ""

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """Answers requests, many at once, each by one search.

        The seed of a search follows from the model's, the number of the document and of the repeat.
        A request without a text has an empty answer, and a warning says why.

        Args:
            requests: Contexts with their options.
            disable_tqdm: Whether no progress is shown.

        Raises:
            ConfigurationError: A task's options cannot work.
        """
        options = _by_options(self._config, requests)
        answers = [""] * len(requests)
        repeats: Counter[int] = Counter()
        with tqdm(total=len(requests), disable=disable_tqdm or None, desc="searches") as bar:
            for each, indices in options:
                jobs = []
                for index in indices:
                    request = requests[index]
                    repeat = repeats[id(request)]
                    repeats[id(request)] += 1
                    job = self._try_job(index, request, repeat)
                    if job is None:
                        bar.update()
                    else:
                        jobs.append(job)
                for job, ended in self._searched(jobs, each):
                    self._tell(job.request, job.repeat, ended)
                    if isinstance(ended, SearchResult):
                        answers[job.index] = self._answer(ended, job.prompt, each)
                        context = job.request.args
                        self.cache_hook.add_partial("generate_until", context, answers[job.index])
                    bar.update()
        return answers

    def loglikelihood(self, requests: list[Instance], disable_tqdm: bool = False) -> NoReturn:
        """Refuses tasks of type `loglikelihood` and `multiple_choice`.

        Args:
            requests: Their requests.
            disable_tqdm: Has no effect.

        Raises:
            ConfigurationError: Always.
        """
        raise _no_likelihood(requests, "loglikelihood")

    def loglikelihood_rolling(
        self, requests: list[Instance], disable_tqdm: bool = False
    ) -> NoReturn:
        """Refuses tasks that measure perplexity.

        Args:
            requests: Their requests.
            disable_tqdm: Has no effect.

        Raises:
            ConfigurationError: Always.
        """
        raise _no_likelihood(requests, "loglikelihood_rolling")

    def get_model_info(self) -> dict[str, Any]:
        """Describes the model and its costs so far, for the `config` of the harness's results."""
        generator, verifier = self._runs
        return {
            "model": f"fasttts/{generator}",
            "fasttts": {
                "generator": generator,
                "verifier": verifier,
                "search": self._config.model_dump(mode="json"),
                "num_requests": self._totals.num_requests,
                "num_errors": self._totals.num_errors,
                **self._totals.tokens,
            },
        }

    def close(self) -> None:
        """Releases the engine: its last user closes it. One that was given stays open."""
        self._lease.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _try_job(self, index: int, request: Instance, repeat: int) -> _Job | None:
        """Makes the search of a request; None where its prompt cannot work."""
        key = (self._config.seed, request.doc_id or 0, repeat)
        try:
            switches = self._config.chat_template_kwargs
            prompt = make_prompt(self.engine, request.args[0], switches)
        except ConfigurationError as error:
            self._tell(request, repeat, error)
            return None
        return _Job(
            index=index, request=request, prompt=prompt, seed=derive_seed(*key), repeat=repeat
        )

    def _searched(
        self, jobs: Sequence[_Job], options: TaskOptions
    ) -> Iterator[tuple[_Job, SearchResult | SearchError]]:
        """Searches; where a stop of the task has cut a thought, once more without these."""
        cut = []
        for job, ended in self._ended(jobs, options.config):
            if options.config is not options.unstopped and self._has_cut_thought(ended, job.prompt):
                self._totals.spend(ended)
                cut.append(job)
            else:
                yield job, ended
        if cut:
            yield from self._ended(cut, options.unstopped)

    def _ended(
        self, jobs: Sequence[_Job], config: SearchConfig
    ) -> Iterator[tuple[_Job, SearchResult | SearchError]]:
        ended = self.engine.search_each(
            [job.prompt for job in jobs],
            config=config,
            seeds=[job.seed for job in jobs],
            max_in_flight=self._max_in_flight,
        )
        with closing(ended):
            for position, outcome in ended:
                yield jobs[position], outcome

    def _tell(self, request: Instance, repeat: int, ended: ProblemOutcome) -> None:
        self._totals.add(ended)
        if not isinstance(ended, SearchResult):
            logger.warning("%s, document %s: %s", request.task_name, request.doc_id, ended)
        if self._on_outcome is not None:
            doc_id = request.doc_id or 0
            self._on_outcome(
                Outcome(task=request.task_name, doc_id=doc_id, repeat=repeat, ended=ended)
            )

    def _answer(self, result: SearchResult, prompt: Prompt, options: TaskOptions) -> str:
        """The text without thoughts, up to the first stop of the task."""
        text = self._format(prompt).read(result.text, result.finish_reason).content
        for end in options.until:
            text = text.partition(end)[0]
        return text

    def _has_cut_thought(
        self, ended: SearchResult | SearchError, prompt: Prompt
    ) -> TypeGuard[SearchResult]:
        """Whether a candidate ends inside its thought, or right behind it."""
        reply_format = self._format(prompt)
        return isinstance(ended, SearchResult) and any(
            each.finish_reason == "stop"
            and (reply_format.is_thinking or each.text.lstrip().startswith(THINK_START))
            and not reply_format.read(each.text, "stop").content
            for each in ended.candidates
        )

    def _format(self, prompt: Prompt) -> ReplyFormat:
        return ReplyFormat(is_thinking=is_thinking(prompt, self.engine.tokenizer))


def _by_options(
    own: SearchConfig, requests: Sequence[Instance]
) -> list[tuple[TaskOptions, list[int]]]:
    """Requests of equal options, by position; all options are checked before the first search."""
    grouped: dict[str, tuple[Mapping[str, Any], list[int]]] = {}
    for index, request in enumerate(requests):
        asked = request.args[1]
        key = json.dumps(asked, sort_keys=True, default=str)
        grouped.setdefault(key, (asked, []))[1].append(index)
    return [(task_options(own, asked), indices) for asked, indices in grouped.values()]


def _no_likelihood(requests: Sequence[Instance], kind: str) -> ConfigurationError:
    tasks = sorted({str(request.task_name) for request in requests})
    return ConfigurationError(
        f"{', '.join(tasks)} compare likelihoods ({kind}), which a search does not give: take "
        "tasks of output_type generate_until, such as gsm8k, or lm-eval's own model 'vllm'"
    )
