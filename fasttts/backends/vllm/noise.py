"""The noise and the filters of `fasttts.sampling` for many rows at once, with torch.

torch has no unsigned 64-bit arithmetic to speak of; int64 wraps around in the same way, and its
arithmetic shift becomes a logical one when the copies of the sign are masked off. Everything that
decides is computed in float64, row by row in an order that does not depend on the other rows.

Axes: B rows, V vocabulary.
"""

import torch

from fasttts import sampling as rule


def _signed(value: int) -> int:
    """The int64 with the bits of an unsigned 64-bit integer."""
    return value - (1 << 64) if value >= 1 << 63 else value


def token_terms(vocab_size: int, device: torch.device) -> torch.Tensor:
    """What each token adds to the noise counter, int64 [V]."""
    tokens = torch.arange(vocab_size, dtype=torch.int64, device=device)
    return tokens.mul_(_signed(rule.TOKEN_MULTIPLIER))


def gumbel_noise(keys_B: torch.Tensor, terms_V: torch.Tensor) -> torch.Tensor:
    """`fasttts.sampling.gumbel_noise` for each counter in `keys_B` ([B, 1]), float64 [B, V]."""
    x = keys_B + terms_V
    for shift, multiplier in rule.MIX:
        x ^= (x >> shift).bitwise_and_((1 << (64 - shift)) - 1)
        x *= _signed(multiplier)
    x ^= (x >> rule.LAST_SHIFT).bitwise_and_((1 << (64 - rule.LAST_SHIFT)) - 1)
    x = x.bitwise_right_shift_(64 - rule.UNIFORM_BITS).bitwise_and_((1 << rule.UNIFORM_BITS) - 1)
    uniform = x.to(torch.float64).add_(0.5).mul_(2.0**-rule.UNIFORM_BITS)
    return uniform.log_().neg_().log_().neg_()


def keep_min_p(scaled_BV: torch.Tensor, log_min_p_B: torch.Tensor) -> torch.Tensor:
    """Rows with the tokens below `min_p` times the largest probability removed."""
    threshold_B = scaled_BV.amax(dim=1, keepdim=True).to(torch.float64) + log_min_p_B
    return scaled_BV.masked_fill(scaled_BV < threshold_B, float("-inf"))


def keep_top_k(scaled_BV: torch.Tensor, top_k_B: torch.Tensor, largest_k: int) -> torch.Tensor:
    """Rows with all but the `top_k` largest logits and their ties removed; 0 keeps all.

    Args:
        scaled_BV: The rows.
        top_k_B: Tokens to keep for each row, int64 [B, 1].
        largest_k: The largest of them.
    """
    vocab_size = scaled_BV.shape[1]
    best = scaled_BV.topk(min(largest_k, vocab_size), dim=1).values
    is_on_B = (top_k_B > 0) & (top_k_B < vocab_size)
    kth_B = best.gather(1, (top_k_B - 1).clamp_(0, best.shape[1] - 1))
    kth_B = kth_B.masked_fill(~is_on_B, float("-inf"))
    return scaled_BV.masked_fill(scaled_BV < kth_B, float("-inf"))


def keep_top_p(scaled_BV: torch.Tensor, top_p_B: torch.Tensor) -> torch.Tensor:
    """Rows with what lies beyond the most likely tokens that reach `top_p` removed; 1 keeps all."""
    ordered, order = scaled_BV.sort(dim=1, descending=True, stable=True)
    weights = (ordered.to(torch.float64) - ordered[:, :1]).exp_()
    reached = weights.cumsum(dim=1)
    before = (reached - weights).div_(reached[:, -1:])
    removed = (before >= top_p_B) & (top_p_B < 1)
    return scaled_BV.masked_fill(removed.scatter(1, order, removed), float("-inf"))
