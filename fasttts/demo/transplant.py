"""How the verifier begins: a trained generator inside it, and room to compare.

The generator's layers are copied into the first layers of a wider model and keep computing what
they did: which token comes next. Beside them, 64 channels that no such layer reads or writes carry
the token itself. So the layers above find both at each position: what came, and, one position
earlier, what was expected.
"""

import math

import torch
from torch import nn

from fasttts.demo.models import HEAD_DIM, NUM_LAYERS, RewardModel

NARROW = 3 * HEAD_DIM
"""Channels of the generator."""
CODE = 0.3
"""Size of the channels that carry the token: small, so that the generator's norms hardly notice."""
GAIN = 40.0
"""What makes them as large as the others behind the norms of the layers above."""
PEAK = 5.5
LOGIT_SCALE = 0.15
_NUM_DIGITS = 10

Weights = dict[str, torch.Tensor]


@torch.no_grad()
def transplant(
    model: RewardModel, given: Weights, *, digits: list[int], tag: int, separator: int
) -> None:
    """Puts a generator's weights into `model`.

    Args:
        model: The wider model, freshly built.
        given: `Qwen2ForCausalLM` weights of the generator.
        digits: Ids of the tokens 0 to 9.
        tag: Id of the step tag, which becomes what the separator was to the generator.
        separator: Id of the separator.
    """
    own = model.model.state_dict()
    for name, tensor in own.items():
        own[name] = _placed(name, tensor, given)
    own["embed_tokens.weight"] = _embeddings(own["embed_tokens.weight"], given, digits)
    own["embed_tokens.weight"][tag, :NARROW] = given["model.embed_tokens.weight"][separator]
    _compare(own, given, digits)
    model.model.load_state_dict(own)


def _placed(name: str, tensor: torch.Tensor, given: Weights) -> torch.Tensor:
    source = given.get(f"model.{name}")
    if source is None:
        is_output = name.endswith(("o_proj.weight", "down_proj.weight"))
        return torch.zeros_like(tensor) if is_output else tensor
    if ".mlp." in name:
        source = _narrowed(name, source, given, _width(tensor, name))
    if name.endswith("norm.weight"):
        source = source * math.sqrt(NARROW / len(tensor))
    placed = torch.zeros_like(tensor)
    placed[tuple(slice(0, size) for size in source.shape)] = source
    return placed


def _width(tensor: torch.Tensor, name: str) -> int:
    return tensor.shape[1] if "down_proj" in name else tensor.shape[0]


def _narrowed(name: str, source: torch.Tensor, given: Weights, width: int) -> torch.Tensor:
    """The neurons of a feed-forward part with the largest weights."""
    prefix = f"model.{name.split('.mlp.', maxsplit=1)[0]}.mlp"
    gate, up, down = (given[f"{prefix}.{part}_proj.weight"] for part in ("gate", "up", "down"))
    strength = gate.norm(dim=1) * up.norm(dim=1) * down.norm(dim=0)
    kept = strength.topk(width).indices.sort().values
    return source[:, kept] if "down_proj" in name else source[kept]


def _embeddings(own: torch.Tensor, given: Weights, digits: list[int]) -> torch.Tensor:
    """The generator's embeddings with the token's code beside them: one-hot for digits."""
    signs = torch.where(torch.rand(len(own), HEAD_DIM - _NUM_DIGITS) < 0.5, -1.0, 1.0)
    codes = torch.cat([torch.zeros(len(own), _NUM_DIGITS), signs / signs.shape[1] ** 0.5], 1)
    codes[digits] = torch.eye(_NUM_DIGITS, HEAD_DIM)
    return torch.cat([given["model.embed_tokens.weight"], CODE * codes], 1)


def _compare(own: Weights, given: Weights, digits: list[int]) -> None:
    """The first layer above: two heads bring what was expected one token back beside what came."""
    layer = f"layers.{NUM_LAYERS}"
    for norm in ("input_layernorm", "post_attention_layernorm"):
        own[f"{layer}.{norm}.weight"][NARROW:] = GAIN
    for part in ("q", "k"):
        own[f"{layer}.self_attn.{part}_proj.weight"][: 2 * HEAD_DIM] = 0
        own[f"{layer}.self_attn.{part}_proj.bias"][: 2 * HEAD_DIM] = _towards_previous(part)
    values = own[f"{layer}.self_attn.v_proj.weight"]
    expected = given["model.embed_tokens.weight"][digits] * given["model.norm.weight"]
    values[:_NUM_DIGITS] = 0
    values[:_NUM_DIGITS, :NARROW] = LOGIT_SCALE * math.sqrt(NARROW / values.shape[1]) * expected
    for digit in range(_NUM_DIGITS):
        own[f"{layer}.self_attn.o_proj.weight"][digit - _NUM_DIGITS, digit] = CODE


def _towards_previous(part: str) -> torch.Tensor:
    """Bias of queries or keys of two heads that makes rotary attention peak one token back."""
    half = HEAD_DIM // 2
    angles = 10_000.0 ** (-torch.arange(half) / half)
    offset = angles if part == "k" else torch.zeros(half)
    return PEAK * torch.cat([offset.cos(), offset.sin()]).repeat(2)


class Expectation(nn.Module):
    """How likely the generator found each token, from its last layer's output.

    Args:
        given: `Qwen2ForCausalLM` weights of the generator.
    """

    def __init__(self, given: Weights) -> None:
        super().__init__()
        self._norm = given["model.norm.weight"]
        self._vocabulary = given["model.embed_tokens.weight"].T

    @torch.no_grad()
    def forward(self, hidden: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        """Probability of `ids` (N,) after positions with output `hidden` (N, channels)."""
        own = hidden[:, :NARROW].float()
        own = own * torch.rsqrt(own.pow(2).mean(-1, keepdim=True) + 1e-6) * self._norm
        chance = torch.softmax(own @ self._vocabulary, -1)
        return chance.gather(1, ids[:, None]).squeeze(-1)
