"""Verifiers: prompt formats of reward models, functions as verifiers, and combinations."""

from fasttts.verifiers.ensemble import Mean, Minimum, Product
from fasttts.verifiers.function import FunctionVerifier
from fasttts.verifiers.gate import Gate
from fasttts.verifiers.model_ref import ModelVerifier

__all__ = ["FunctionVerifier", "Gate", "Mean", "Minimum", "ModelVerifier", "Product"]
