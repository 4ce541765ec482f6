"""Skywork-o1-Open-PRM for vLLM, which has no such model: Qwen2 with a value head.

vLLM finds it through the entry point `vllm.general_plugins` of this distribution.
"""

from collections.abc import Iterable

import torch
from vllm.config import VllmConfig
from vllm.model_executor.models.interfaces_base import default_pooling_type
from vllm.model_executor.models.qwen2_rm import Qwen2ForRewardModel


@default_pooling_type(tok_pooling_type="ALL")
class Qwen2ForPrmModel(Qwen2ForRewardModel):
    """One value at each position: a linear layer with a bias on the last hidden state.

    Source: `ValueHead` in the repository SkyworkAI/skywork-o1-prm-inference; its dropout is for
    training.
    """

    def __init__(self, *, vllm_config: VllmConfig, prefix: str = "") -> None:
        super().__init__(vllm_config=vllm_config, prefix=prefix)
        size = vllm_config.model_config.hf_config.hidden_size
        self.score = torch.nn.Sequential()  # the base's own head, which has a hidden layer
        self.score.append(torch.nn.Linear(size, 1, dtype=self.head_dtype))

    def load_weights(self, weights: Iterable[tuple[str, torch.Tensor]]) -> set[str]:
        """Loads the checkpoint, whose head is `v_head.summary` there and `score.0` here."""
        renamed = (
            (name.replace("v_head.summary.", "score.0."), weight) for name, weight in weights
        )
        return super().load_weights(renamed)
