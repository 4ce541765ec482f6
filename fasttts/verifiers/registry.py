"""The families of verifier models, and the detection of a model's family."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from fasttts.errors import ConfigurationError
from fasttts.verifiers.generative import ConversationFormat, JudgeFormat, ShepherdFormat
from fasttts.verifiers.orm import OrmFormat
from fasttts.verifiers.prompt_formats import (
    ProcessRewardFormat,
    ValueHeadFormat,
    VerifierFormat,
    VerifierTokenizer,
)

_LANGUAGE_MODEL = r"\w+(ForCausalLM|ForConditionalGeneration|LMHeadModel)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Models that share a prompt format.

    Attributes:
        name: The family's name in `EngineConfig.verifier_format`.
        build: Makes its prompt format from a model's tokenizer and name.
        architecture: A pattern of the model classes that the format applies to.
        known_as: A pattern of its models' names, where the class alone is ambiguous; None where the
            class decides.
        is_generative: Whether the next token's probabilities are read, instead of a value.
    """

    name: str
    build: Callable[[VerifierTokenizer, str], VerifierFormat]
    architecture: str
    known_as: str | None = None
    is_generative: bool = False

    def fits(self, architectures: Iterable[str]) -> bool:
        """Whether the format applies to a model of one of these classes."""
        return any(re.fullmatch(self.architecture, one) for one in architectures)

    def is_named(self, names: Iterable[str]) -> bool:
        """Whether one of these names belongs to the family."""
        pattern = self.known_as
        return pattern is None or any(re.search(pattern, one, re.IGNORECASE) for one in names)


FAMILIES: Mapping[str, Family] = {
    family.name: family
    for family in (
        Family(
            name="qwen-prm",
            build=ProcessRewardFormat,
            architecture="Qwen2ForProcessRewardModel",
        ),
        Family(name="skywork-prm", build=ValueHeadFormat, architecture="Qwen2ForPrmModel"),
        Family(
            name="math-shepherd",
            build=ShepherdFormat,
            architecture=_LANGUAGE_MODEL,
            known_as="math-?shepherd",
            is_generative=True,
        ),
        Family(
            name="rlhflow",
            build=ConversationFormat,
            architecture=_LANGUAGE_MODEL,
            known_as=r"rlhflow|llama-?3\.1-8b-prm",
            is_generative=True,
        ),
        Family(name="outcome", build=OrmFormat, architecture=r"\w+ForSequenceClassification"),
        Family(
            name="judge",
            build=JudgeFormat,
            architecture=_LANGUAGE_MODEL,
            known_as=r"(?!)",  # only if chosen: every generator would match
            is_generative=True,
        ),
    )
}
"""Families by name; the first one that fits a model applies."""


def find_family(name: str, config: Mapping[str, Any], chosen: str = "auto") -> Family:
    """Finds the family of a model.

    Args:
        name: The model's name or path.
        config: Its parsed `config.json`.
        chosen: `EngineConfig.verifier_format`.

    Raises:
        ConfigurationError: No family applies to the model, or not the chosen one.
    """
    architectures = [str(one) for one in config.get("architectures") or ()]
    found = ", ".join(architectures) or "none"
    if chosen != "auto":
        family = FAMILIES[chosen]
        if not family.fits(architectures):
            raise ConfigurationError(
                f"verifier={name!r}: architecture {found} cannot be read as "
                f"verifier_format={chosen!r}: leave that out, or choose another model"
            )
        return _checked(family, name, config)
    names = (name, str(config.get("_name_or_path") or ""))
    for family in FAMILIES.values():
        if family.fits(architectures) and family.is_named(names):
            return _checked(family, name, config)
    if FAMILIES["judge"].fits(architectures):
        raise ConfigurationError(
            f"verifier={name!r}: {found} is a language model, which can be read in several ways: "
            "say verifier_format='math-shepherd', 'rlhflow', or 'judge' for an instruct model"
        )
    raise ConfigurationError(
        f"verifier={name!r}: architecture {found} cannot be read as a verifier; supported: "
        "Qwen2ForProcessRewardModel, Qwen2ForPrmModel, *ForSequenceClassification with one label, "
        "and *ForCausalLM with verifier_format"
    )


def _checked(family: Family, name: str, config: Mapping[str, Any]) -> Family:
    """Returns the family; raises where the model has several labels instead of one value."""
    labels = config.get("num_labels") or len(config.get("id2label") or (0, 1))
    if family.name == "outcome" and labels != 1:
        raise ConfigurationError(
            f"verifier={name!r}: it tells {labels} labels apart where an outcome reward model has "
            "one: choose a model with num_labels=1"
        )
    return family
