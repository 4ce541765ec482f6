"""Search policies: pure functions from scored beams to branches, and the choice of an answer."""

from collections.abc import Callable, Mapping
from dataclasses import asdict

from fasttts.config import SearchConfig, option_name
from fasttts.decoding.sampling import PublishedSampling
from fasttts.errors import ConfigurationError
from fasttts.search.beam import BeamSearch
from fasttts.search.consistency import SelfConsistency
from fasttts.search.deepconf import ConfidenceStop
from fasttts.search.dvts import DiverseTreeSearch
from fasttts.search.dynamic import DynamicBranching
from fasttts.search.granularity import VaryingGranularity
from fasttts.search.lookahead import Lookahead
from fasttts.search.named import make_named_policy
from fasttts.search.particles import ParticleFilter
from fasttts.search.policy import Branch, SearchPolicy
from fasttts.search.probing import Dynasor
from fasttts.search.step_policy import BestOfNPolicy, StepPolicy
from fasttts.tree import Beam

__all__ = [
    "Beam",
    "BeamSearch",
    "BestOfNPolicy",
    "Branch",
    "ConfidenceStop",
    "DiverseTreeSearch",
    "DynamicBranching",
    "Dynasor",
    "Lookahead",
    "ParticleFilter",
    "SearchPolicy",
    "SelfConsistency",
    "StepPolicy",
    "VaryingGranularity",
    "make_policy",
    "resolve",
    "uses_verifier",
]


POLICIES: Mapping[str, Callable[[SearchConfig], SearchPolicy]] = {
    "none": lambda config: BestOfNPolicy(n=1),
    "best_of_n": lambda config: BestOfNPolicy(n=config.n),
    "self_consistency": lambda config: SelfConsistency(
        n=config.n,
        wave_size=config.wave_size,
        stopping=config.stopping,
        confidence=config.confidence,
    ),
    "deepconf": lambda config: ConfidenceStop(
        n=config.n, warmup=config.warmup, keep=config.keep, stop_below=config.stop_below
    ),
    "dynasor": lambda config: Dynasor(
        n=config.n,
        interval=config.probe_interval,
        window=config.probe_window,
        probe=config.probe,
        probe_tokens=config.probe_tokens,
    ),
    "beam_search": lambda config: BeamSearch(n=config.n, beam_width=config.beam_width),
    "dvts": lambda config: DiverseTreeSearch(n=config.n, beam_width=config.beam_width),
    "dynamic_branching": lambda config: DynamicBranching(
        n=config.n, temperature=_score_temperature(config)
    ),
    "varying_granularity": lambda config: VaryingGranularity(
        n=config.n, beam_width=config.beam_width, granularity=config.granularity
    ),
    "particle_filtering": lambda config: ParticleFilter(
        n=config.n,
        temperature=_score_temperature(config),
        seed=config.seed,
    ),
    "lookahead": lambda config: Lookahead(
        n=config.n, beam_width=config.beam_width, num_steps=config.lookahead_steps
    ),
}
"""Makes each search method's policy from the options."""

_SCORE_TEMPERATURES: Mapping[str, float] = {
    "dynamic_branching": 0.1,
    "particle_filtering": 1.0,
}


def make_policy(config: SearchConfig) -> SearchPolicy:
    """Makes the policy that `config.search` names.

    Raises:
        ConfigurationError: It is a function that cannot be imported or makes no policy.
    """
    return POLICIES.get(config.search, make_named_policy)(config)


def _score_temperature(config: SearchConfig) -> float:
    return config.score_temperature or _SCORE_TEMPERATURES[config.search]


def _answer_rule(config: SearchConfig) -> str:
    """Where answers are looked for: a constrained answer is all of the text."""
    outputs = config.structured_outputs
    if config.answer != "auto" or outputs is None:
        return config.answer
    return "json" if outputs.is_json else "text"


def uses_verifier(config: SearchConfig) -> bool:
    """Whether a search with these resolved options scores its steps."""
    if config.search == "none":
        return False
    return make_policy(config).needs_scores or config.selection != "majority"


def resolve(
    config: SearchConfig,
    *,
    has_verifier: bool,
    published: PublishedSampling = PublishedSampling(),  # noqa: B008, immutable
) -> SearchConfig:
    """Spells out every default of a search configuration.

    Args:
        config: The options.
        has_verifier: Whether the engine has a verifier.
        published: The sampling that the generator's model comes with.

    Raises:
        ConfigurationError: The search needs a verifier and there is none.
    """
    by_majority = config.search == "self_consistency" or not has_verifier
    by_vote = "weighted" if config.search == "deepconf" else "best"
    selection = config.selection or ("majority" if by_majority else by_vote)
    resolved = config.model_copy(
        update={
            "selection": selection,
            **asdict(config.sampling_for(published)),
            "answer": _answer_rule(config),
            "score_temperature": config.score_temperature or _SCORE_TEMPERATURES.get(config.search),
        }
    )
    if uses_verifier(resolved) and not has_verifier:
        choice = "" if selection == "majority" else f" with selection='{selection}'"
        raise ConfigurationError(
            f"search='{config.search}'{choice} needs a verifier: load the engine with "
            f"{option_name('verifier')}, for example 'judge', the generator itself, or "
            "'mean_confidence', its log-probabilities; or use search='best_of_n' (--search) "
            "without a selection, which then takes the most frequent answer"
        )
    return resolved
