"""Loads the generator and the verifier of an engine."""

from dataclasses import dataclass

from fasttts.config import DEMO, JUDGE, EngineConfig
from fasttts.errors import ConfigurationError
from fasttts.interfaces import Generator, Verifier
from fasttts.memory import MemoryPlan
from fasttts.verifiers.ensemble import VerifierOption, resolve_verifier
from fasttts.verifiers.model_ref import ModelVerifier
from fasttts.verifiers.resolve import joint_num_logprobs, models_of, reads_any_distribution


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """The models of an engine.

    Attributes:
        generator: The generator; the engine closes it.
        verifier: The same; None where none is chosen.
        plan: How they share the device; None where memory is not planned.
    """

    generator: Generator
    verifier: Verifier | None
    plan: MemoryPlan | None


def load_chosen(config: EngineConfig, choice: VerifierOption | None) -> Loaded:
    """Loads models on vLLM, those that a combination of verifiers names among them.

    Args:
        config: The options of the engine.
        choice: Replaces the configuration's verifier; None keeps it.

    Raises:
        ConfigurationError: An option or a model cannot work; no memory was taken.
        BackendError: vLLM could not start.
    """
    choice = config.verifier if choice is None else choice
    verifier = None if choice is None else resolve_verifier(choice)
    try:
        return _load(config, verifier)
    except BaseException:
        if verifier is not None:
            verifier.close()
        raise


def check_conversations(config: EngineConfig) -> None:
    """Checks, before anything is loaded, that the generator can be asked in conversations.

    Raises:
        ConfigurationError: It is a directory without a chat template.
    """
    from fasttts.backends.vllm.checkpoint import check_chat_template

    if config.generator != DEMO:
        check_chat_template(config.generator)


def _load(config: EngineConfig, verifier: Verifier | None) -> Loaded:
    from fasttts.backends.vllm import load_planned

    named = [] if verifier is None else models_of(verifier)
    _check_named(named)
    if verifier is not None and any(part.model == JUDGE for part in named):
        _check_beside_judge(verifier)
    models = {part.model for part in named} - {JUDGE}
    loaded = load_planned(
        config.model_copy(update={"verifier": next(iter(models), None)}),
        judges=any(part.model == JUDGE for part in named),
        reads_distributions=verifier is not None and reads_any_distribution(verifier),
    )
    for part in named:
        found = loaded.judge if part.model == JUDGE else loaded.verifier
        assert found is not None, part.model
        if part is verifier:  # the model itself needs no reference around it
            verifier = found
        else:
            part.bind(found)
    return Loaded(generator=loaded.generator, verifier=verifier, plan=loaded.plan)


def _check_beside_judge(verifier: Verifier) -> None:
    """Refuses a judge beside a verifier that reads the likeliest tokens.

    In an iteration with a question that asks for given tokens, vLLM's first model runner (0.24 to
    0.32) reports the likeliest tokens of no request.
    """
    if joint_num_logprobs(verifier):
        raise ConfigurationError(
            f"verifier={verifier.name!r}: 'judge' goes with no signal that reads the likeliest "
            "tokens, as its questions run in the same batch: combine it with 'perplexity'"
        )


def _check_named(named: list[ModelVerifier]) -> None:
    models = sorted({part.model for part in named} - {JUDGE})
    if len(models) > 1:
        raise ConfigurationError(
            f"verifiers {', '.join(map(repr, models))} are two models: an engine loads one beside "
            "the generator; 'judge' and functions may join it"
        )
    for part in named:
        if part.is_loaded:
            raise ConfigurationError(
                f"verifier={part.model!r} is loaded by another engine: build a new one for this"
            )
