"""Search policies: pure functions from scored beams to branches, and the choice of an answer."""

from fasttts.config import SearchConfig
from fasttts.errors import ConfigurationError
from fasttts.search.beam import BeamSearch
from fasttts.search.policy import Branch, SearchPolicy
from fasttts.search.sampling import Samples
from fasttts.tree import Beam

__all__ = [
    "Beam",
    "BeamSearch",
    "Branch",
    "Samples",
    "SearchPolicy",
    "make_policy",
    "resolve",
    "uses_verifier",
]


def make_policy(config: SearchConfig) -> SearchPolicy:
    """The policy that `config.search` names."""
    if config.search == "beam_search":
        return BeamSearch(n=config.n, beam_width=config.beam_width)
    return Samples(n=1 if config.search == "none" else config.n)


def uses_verifier(config: SearchConfig) -> bool:
    """Whether a search with these resolved options scores its steps."""
    if config.search == "none":
        return False
    return make_policy(config).needs_scores or config.selection != "majority"


def resolve(config: SearchConfig, *, has_verifier: bool) -> SearchConfig:
    """`config` with every default spelled out.

    Raises:
        ConfigurationError: It needs a verifier and there is none.
    """
    selection = config.selection or ("best" if has_verifier else "majority")
    resolved = config.model_copy(
        update={"selection": selection, "temperature": config.sampling.temperature}
    )
    if uses_verifier(resolved) and not has_verifier:
        choice = "" if selection == "majority" else f" with selection='{selection}'"
        raise ConfigurationError(
            f"search='{config.search}'{choice} needs a verifier: load the engine with "
            "verifier=..., or use search='best_of_n' with selection='majority'"
        )
    return resolved
