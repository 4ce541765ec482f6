"""The noise and the filters of `fasttts.decoding.sampling` for many rows at once, with torch.

torch has hardly any unsigned 64-bit arithmetic; int64 wraps around in the same way, and its
arithmetic shift becomes a logical one when the copies of the sign are masked off. Everything that
decides is computed in float64, row by row in an order that does not depend on the other rows.

Axes: B rows, V vocabulary.
"""

import torch

from fasttts.decoding import sampling as rule


def _signed(value: int) -> int:
    """The int64 with the bits of an unsigned 64-bit integer."""
    return value - (1 << 64) if value >= 1 << 63 else value


def token_terms(vocab_size: int, device: torch.device) -> torch.Tensor:
    """Terms that each token adds to the noise counter, int64 [V].

    Args:
        vocab_size: Number of tokens `V`.
        device: Device of the result.
    """
    tokens = torch.arange(vocab_size, dtype=torch.int64, device=device)
    return tokens.mul_(_signed(rule.TOKEN_MULTIPLIER))


def gumbel_noise(keys_B: torch.Tensor, terms_V: torch.Tensor) -> torch.Tensor:
    """Computes `decoding.sampling.gumbel_noise` for each row, float64 [B, V].

    Args:
        keys_B: Noise counters, int64 [B, 1].
        terms_V: The result of `token_terms`.
    """
    x = keys_B + terms_V
    for shift, multiplier in rule.MIX:
        x ^= (x >> shift).bitwise_and_((1 << (64 - shift)) - 1)
        x *= _signed(multiplier)
    x ^= (x >> rule.LAST_SHIFT).bitwise_and_((1 << (64 - rule.LAST_SHIFT)) - 1)
    x = x.bitwise_right_shift_(64 - rule.UNIFORM_BITS).bitwise_and_((1 << rule.UNIFORM_BITS) - 1)
    uniform = x.to(torch.float64).add_(0.5).mul_(2.0**-rule.UNIFORM_BITS)
    return uniform.log_().neg_().log_().neg_()


def pick(scaled_BV: torch.Tensor, keys_B: torch.Tensor, terms_V: torch.Tensor) -> torch.Tensor:
    """Draws the token with the largest sum of logit and noise in each row, int64 [B, 1].

    Args:
        scaled_BV: Filtered logits over temperature, [B, V].
        keys_B: Noise counters, int64 [B, 1].
        terms_V: The result of `token_terms`.
    """
    return gumbel_noise(keys_B, terms_V).add_(scaled_BV).argmax(dim=1, keepdim=True)


def keep_min_p(scaled_BV: torch.Tensor, log_min_p_B: torch.Tensor) -> torch.Tensor:
    """Removes the tokens below `min_p` times the largest probability.

    Args:
        scaled_BV: Logits over temperature, [B, V].
        log_min_p_B: Logarithms of `min_p`, float64 [B, 1]; minus infinity keeps all.
    """
    threshold_B = scaled_BV.amax(dim=1, keepdim=True).to(torch.float64) + log_min_p_B
    return scaled_BV.masked_fill(scaled_BV < threshold_B, float("-inf"))


def keep_top_k(scaled_BV: torch.Tensor, top_k_B: torch.Tensor, largest_k: int) -> torch.Tensor:
    """Removes all but the `top_k` largest logits and their ties; 0 keeps all.

    Args:
        scaled_BV: Logits over temperature, [B, V].
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
    """Removes the tokens beyond the most likely ones that reach `top_p`; 1 keeps all.

    Of tokens with equal logits at the end of that set, those with the lower index stay.

    Args:
        scaled_BV: Logits over temperature, [B, V].
        top_p_B: Probabilities to reach, float64 [B, 1].
    """
    weights = _weights(scaled_BV, scaled_BV.amax(dim=1, keepdim=True))
    total_B = weights.cumsum(dim=1)[:, -1:]
    k = _num_possible(weights, total_B, top_p_B)
    best = scaled_BV.topk(k, dim=1).values
    best_weights = _weights(best, best[:, :1])
    before = (best_weights.cumsum(dim=1) - best_weights).div_(total_B)
    num_kept_B = (before < top_p_B).sum(dim=1, keepdim=True)
    last_B = best.gather(1, num_kept_B - 1)
    num_ties_B = num_kept_B - (best > last_B).sum(dim=1, keepdim=True)
    is_tie = scaled_BV == last_B
    is_kept = (scaled_BV > last_B) | (is_tie & (is_tie.cumsum(dim=1) <= num_ties_B))
    return scaled_BV.masked_fill(~(is_kept | (top_p_B >= 1)), float("-inf"))


def _weights(scaled: torch.Tensor, largest_B: torch.Tensor) -> torch.Tensor:
    """Probabilities up to a factor, in float64."""
    return (scaled.to(torch.float64) - largest_B).exp_()


def _num_possible(weights_BV: torch.Tensor, total_B: torch.Tensor, top_p_B: torch.Tensor) -> int:
    """A number of tokens that is enough to reach `top_p` in every row.

    The tokens below the average share of the removable probability add up to less than that: the
    others reach `top_p` without them. Except on a CPU sorting all tokens costs less than waiting
    for the device to count.
    """
    vocab_size = weights_BV.shape[1]
    if weights_BV.device.type != "cpu":
        return vocab_size
    least_B = (1 - top_p_B) * total_B / vocab_size
    num_B = (weights_BV >= least_B).sum(dim=1, keepdim=True)
    largest = int(num_B.masked_fill(top_p_B >= 1, 1).max())
    return min(largest + 1, vocab_size)
