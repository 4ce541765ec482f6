"""Verifiers: prompt formats of reward models, functions, signals, combinations."""

from fasttts.verifiers.ensemble import Mean, Minimum, Product
from fasttts.verifiers.function import FunctionVerifier
from fasttts.verifiers.gate import Gate
from fasttts.verifiers.model_ref import ModelVerifier
from fasttts.verifiers.signals import (
    Entropy,
    LowestConfidence,
    MeanConfidence,
    Perplexity,
    SelfCertainty,
    Signal,
)

__all__ = [
    "Entropy",
    "FunctionVerifier",
    "Gate",
    "LowestConfidence",
    "Mean",
    "MeanConfidence",
    "Minimum",
    "ModelVerifier",
    "Perplexity",
    "Product",
    "SelfCertainty",
    "Signal",
]
