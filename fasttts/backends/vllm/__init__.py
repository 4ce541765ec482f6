"""Generator and verifier on vLLM, the only package that imports it.

Importing this package imports neither vllm nor torch; `load_planned` does, after everything that
can be checked without them has been checked.
"""

from fasttts.backends.vllm.checkpoint import Checkpoint, check_checkpoint
from fasttts.backends.vllm.loader import Backends, load_backends, load_planned

__all__ = ["Backends", "Checkpoint", "check_checkpoint", "load_backends", "load_planned"]
