"""The families of verifier models, and the detection of a model's family."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fasttts.errors import ConfigurationError, shown
from fasttts.verifiers.critiques import GenPrmFormat, ThinkPrmFormat
from fasttts.verifiers.generative import ConversationFormat, ShepherdFormat
from fasttts.verifiers.judge_formats import GradeFormat, JudgeFormat, PanelFormat
from fasttts.verifiers.orm import OrmFormat, QwenRewardFormat
from fasttts.verifiers.prompt_formats import (
    ProcessRewardFormat,
    ReasonFluxFormat,
    ValueHeadFormat,
    VerifierFormat,
    VerifierTokenizer,
)
from fasttts.verifiers.thought import DEFAULT_MAX_THOUGHT_TOKENS
from fasttts.verifiers.token_classification import TokenClassFormat

_LANGUAGE_MODEL = r"\w+(ForCausalLM|ForConditionalGeneration|LMHeadModel)"
_ENCODERS = "Bert|ModernBert|Roberta|XLMRoberta|OpenAIPrivacyFilter|Qwen3ASRForcedAligner"
"""Those whose token classes depend on later tokens too, or are of something else."""

_CHOSEN_ONLY = r"(?!)"
"""A pattern that no name matches: every generator would."""

_GOOD_LABEL = re.compile(r"correct|right|good|positive|true|yes|\+", re.IGNORECASE)
_LONGEST_THOUGHT = 1_000_000


@dataclass(frozen=True, slots=True)
class Setting:
    """One of `EngineConfig.verifier_format_args`.

    Attributes:
        is_valid: Whether a format can work with a value.
        expected: What to give, for messages.
    """

    is_valid: Callable[[Any], bool]
    expected: str


_SEPARATOR = Setting(lambda value: isinstance(value, str) and value != "", "a text")
_LABEL = Setting(lambda value: type(value) is int and value in (0, 1), "0 or 1")
_THOUGHT = Setting(
    lambda value: type(value) is int and 0 <= value <= _LONGEST_THOUGHT, "a number of tokens, or 0"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Models that share a prompt format.

    Attributes:
        name: The family's name in `EngineConfig.verifier_format`.
        build: Makes its prompt format from a model's tokenizer and name, and the settings.
        architecture: A pattern of the model classes that the format applies to.
        known_as: A pattern of its models' names, where the class alone is ambiguous; None where the
            class decides.
        is_generative: Whether the next token's probabilities are read, instead of a value.
        is_judge: Whether any instruct model can be asked, the generator as well.
        num_labels: How many values a model has to give at a position; None does not check it.
        settings: What `EngineConfig.verifier_format_args` may set.
        read_config: What a model's `config.json` says of the settings.
    """

    name: str
    build: Callable[..., VerifierFormat]
    architecture: str
    known_as: str | None = None
    is_generative: bool = False
    is_judge: bool = False
    num_labels: int | None = None
    settings: Mapping[str, Setting] = field(default_factory=dict)
    read_config: Callable[[Mapping[str, Any]], Mapping[str, Any]] = lambda config: {}

    def fits(self, architectures: Iterable[str]) -> bool:
        """Whether the format applies to a model of one of these classes."""
        return any(re.fullmatch(self.architecture, one) for one in architectures)

    def is_named(self, names: Iterable[str]) -> bool:
        """Whether one of these names belongs to the family."""
        pattern = self.known_as
        return pattern is None or any(re.search(pattern, one, re.IGNORECASE) for one in names)

    def check_settings(self, given: Mapping[str, Any]) -> None:
        """Checks `EngineConfig.verifier_format_args`.

        Raises:
            ConfigurationError: The format has no such setting, or its value cannot work.
        """
        for name, value in given.items():
            if name not in self.settings:
                known = ", ".join(self.settings) or "none"
                raise ConfigurationError(
                    f"verifier_format_args[{name!r}] is no setting of verifier_format="
                    f"{self.name!r}: it has {known}"
                )
            if not self.settings[name].is_valid(value):
                raise ConfigurationError(
                    f"verifier_format_args[{name!r}]={shown(value)}: give "
                    f"{self.settings[name].expected}"
                )

    def num_thought_tokens(self, given: Mapping[str, Any]) -> int:
        """The most tokens that a model writes about a step; 0 where it writes nothing.

        Args:
            given: `EngineConfig.verifier_format_args`, checked.
        """
        if "max_thought_tokens" not in self.settings:
            return 0
        return int(given.get("max_thought_tokens", DEFAULT_MAX_THOUGHT_TOKENS))

    def prompt_format(
        self,
        tokenizer: VerifierTokenizer,
        name: str,
        *,
        config: Mapping[str, Any],
        given: Mapping[str, Any],
    ) -> VerifierFormat:
        """Makes the prompt format of a model.

        Args:
            tokenizer: The model's tokenizer.
            name: Its name, for messages.
            config: Its parsed `config.json`.
            given: `EngineConfig.verifier_format_args`, checked.

        Raises:
            ConfigurationError: The tokenizer does not suit the format.
        """
        return self.build(tokenizer, name, **{**self.read_config(config), **given})


def _good_label(config: Mapping[str, Any]) -> dict[str, Any]:
    """The class of a right step, where the classes have names that say so."""
    names = {str(label): str(name) for label, name in dict(config.get("id2label") or {}).items()}
    good = [label for label, name in names.items() if _GOOD_LABEL.fullmatch(name.strip())]
    return {"good_label": int(good[0])} if good in (["0"], ["1"]) else {}


FAMILIES: Mapping[str, Family] = {
    family.name: family
    for family in (
        Family(
            name="reasonflux",
            build=ReasonFluxFormat,
            architecture="Qwen2ForProcessRewardModel",
            known_as="reasonflux",
        ),
        Family(
            name="qwen-prm",
            build=ProcessRewardFormat,
            architecture="Qwen2ForProcessRewardModel",
        ),
        Family(name="qwen-rm", build=QwenRewardFormat, architecture="Qwen2ForRewardModel"),
        Family(name="skywork-prm", build=ValueHeadFormat, architecture="Qwen2ForPrmModel"),
        Family(
            name="trl",
            build=TokenClassFormat,
            architecture=rf"(?!({_ENCODERS})ForTokenClassification)\w+ForTokenClassification",
            num_labels=2,
            settings={"step_separator": _SEPARATOR, "good_label": _LABEL},
            read_config=_good_label,
        ),
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
        Family(
            name="genprm",
            build=GenPrmFormat,
            architecture=_LANGUAGE_MODEL,
            known_as=r"genprm",
            is_generative=True,
            settings={"max_thought_tokens": _THOUGHT},
        ),
        Family(
            name="thinkprm",
            build=ThinkPrmFormat,
            architecture=_LANGUAGE_MODEL,
            known_as=r"thinkprm",
            is_generative=True,
            settings={"max_thought_tokens": _THOUGHT},
        ),
        Family(
            name="outcome",
            build=OrmFormat,
            architecture=r"\w+ForSequenceClassification",
            num_labels=1,
        ),
        *(
            Family(
                name=name,
                build=build,
                architecture=_LANGUAGE_MODEL,
                known_as=_CHOSEN_ONLY,
                is_generative=True,
                is_judge=True,
            )
            for name, build in (
                ("judge", JudgeFormat),
                ("judge-panel", PanelFormat),
                ("judge-grades", GradeFormat),
            )
        ),
    )
}
"""Families by name; the first one that fits a model applies."""


def judge_family(chosen: str) -> Family:
    """The family of the generator as its own judge.

    Args:
        chosen: `EngineConfig.verifier_format`; one that is not for judges, as that of a verifier's
            model beside the judge, leaves the usual question.
    """
    family = FAMILIES.get(chosen)
    return family if family is not None and family.is_judge else FAMILIES["judge"]


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
            "say verifier_format='math-shepherd', 'rlhflow', 'genprm' or 'thinkprm', or 'judge', "
            "'judge-panel' or 'judge-grades' for an instruct model"
        )
    raise ConfigurationError(
        f"verifier={name!r}: architecture {found} cannot be read as a verifier; supported: "
        "Qwen2ForProcessRewardModel, Qwen2ForRewardModel, Qwen2ForPrmModel, decoders' "
        "*ForTokenClassification with two labels, *ForSequenceClassification with one label, "
        "and *ForCausalLM with verifier_format"
    )


def _checked(family: Family, name: str, config: Mapping[str, Any]) -> Family:
    """Returns the family; raises where the model has another number of labels."""
    labels = config.get("num_labels") or len(config.get("id2label") or (0, 1))
    if family.num_labels is not None and labels != family.num_labels:
        kind = "an outcome" if family.name == "outcome" else "a process"
        raise ConfigurationError(
            f"verifier={name!r}: it tells {labels} labels apart where {kind} reward model of "
            f"verifier_format={family.name!r} has {family.num_labels}: choose a model with "
            f"num_labels={family.num_labels}"
        )
    return family
