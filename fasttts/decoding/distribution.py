"""Two numbers of a whole distribution: its self-certainty and its entropy.

With the probabilities `p` of `V` tokens, and `l = max(log p, FLOOR)`, in nats:

    self-certainty   KL(U || p) = -mean(l) - log(V)
    entropy          -sum(exp(l) * l)

Sources: self-certainty, Kang et al. 2025, "Scalable best-of-N selection for large language models
    via self-certainty", arXiv 2502.18581, equation of its section 3, which has no floor: a token
    that is impossible would make it infinite.

This file is the reference (NumPy); `backends/vllm/distributions.py` computes the same with torch.
"""

import numpy as np

from fasttts.decoding.sampling import FloatArray
from fasttts.types import Distribution

FLOOR = -40.0
"""Every lower log-probability counts as this one: forbidden tokens have minus infinity."""


def distribution(logprobs_V: FloatArray) -> Distribution:
    """Computes both numbers of one position.

    Args:
        logprobs_V: Log-probabilities of all tokens.
    """
    kept = np.maximum(logprobs_V, FLOOR)
    return Distribution(
        self_certainty=float(-kept.mean() - np.log(len(kept))),
        entropy=float(-(np.exp(kept) * kept).sum()),
    )
