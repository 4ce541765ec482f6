"""Streams of the bundled generator with drafts of every kind: `python -m tests.gpu.draft_streams`.

Prints, as one JSON line, which kinds gave other streams than no drafts did, and how many tokens
each kind gave for each sequence and iteration.
"""

import json
from collections.abc import Callable
from typing import Any

import torch

from fasttts.backends.vllm import load_backends
from fasttts.config import engine_config
from fasttts.decoding.sampling import Sampling
from fasttts.interfaces import GenerationRequest
from tests.vllm.inside import runner_of

NUM_SEQUENCES = 24
MAX_MODEL_LEN = 256
QUESTION = "Tom has 10 pens. Tom buys 5 bags of 8 pens. How many pens does Tom have now?"
SAMPLINGS = (
    Sampling(temperature=0.8),
    Sampling(temperature=1.0, top_p=0.9),
    Sampling(temperature=0.7, top_k=5, min_p=0.02),
    Sampling(),
    Sampling(temperature=0.8, repetition_penalty=1.2),
)

Streams = dict[str, list[int]]
Numbers = tuple[int, dict[str, int]]
"""Drafted tokens of all sequences but some, and of these."""

CHANGES: dict[str, Callable[[int], Numbers]] = {
    "switching": lambda iteration: (4 if iteration % 2 else 0, {}),
    "lengths": lambda iteration: ((0, 1, 2, 4)[iteration // 3 % 4], {}),
    "ragged": lambda iteration: (4, {f"stream{n}": (n + iteration) % 5 for n in range(1, 24)}),
}
"""What is told every third iteration of it."""


class Drafts:
    """Replaces what the engine's speculator drafts.

    Args:
        generator: The engine's.
    """

    def __init__(self, generator: Any) -> None:
        self._runner = runner_of(generator)
        self._propose = self._runner.speculator.propose
        self._known: Streams = {}
        self.change: str | None = None
        self._runner.speculator.propose = self.propose

    def know(self, streams: Streams) -> None:
        """Takes all tokens of each sequence, by vLLM's slot once it runs."""
        self._known = streams

    def propose(self, input_batch: Any, *others: Any, **options: Any) -> torch.Tensor:
        found = self._propose(input_batch, *others, **options)
        if self.change is None or options.get("dummy_run"):
            return found
        right = self._right(input_batch, found)
        if self.change == "right":
            return right
        if self.change == "wrong":
            return (right + 1) % 500
        shown = torch.rand(right.shape, device=right.device)
        return torch.where(shown < 0.7, right, (right + 7) % 500)

    def _right(self, input_batch: Any, found: torch.Tensor) -> torch.Tensor:
        states = self._runner.req_states
        lengths = states.total_len.gpu[input_batch.idx_mapping].tolist()
        rows = []
        for core_id, length in zip(input_batch.req_ids, lengths, strict=True):
            known = next(v for k, v in self._known.items() if core_id.startswith(f"{k}-"))
            ahead = known[length : length + found.shape[1]]
            rows.append(ahead + [0] * (found.shape[1] - len(ahead)))
        return torch.tensor(rows, dtype=found.dtype, device=found.device)


def main() -> None:
    """Prints the outcome."""
    config = engine_config(
        verifier=None,
        numerics="deterministic",
        max_num_seqs=16,
        max_model_len=MAX_MODEL_LEN,
        kv_cache_memory_bytes=1 << 28,
    )
    generator = load_backends(config)[0]
    drafts = Drafts(generator)
    reference, _ = streams(generator, 0)
    drafts.know(reference)
    outcome = {}
    for kind in ("looked up", "wrong", "right", "mixed"):
        drafts.change = None if kind == "looked up" else kind
        found, rate = streams(generator, generator.max_draft_tokens)
        outcome[kind] = {
            "differing": sorted(k for k in reference if found[k] != reference[k]),
            "tokens_a_pass": round(rate, 2),
        }
    for kind, changes in CHANGES.items():
        found, rate = streams(generator, generator.max_draft_tokens, changes)
        outcome[kind] = {
            "differing": sorted(k for k in reference if found[k] != reference[k]),
            "tokens_a_pass": round(rate, 2),
        }
    print(json.dumps({"most": generator.max_draft_tokens, "outcome": outcome}))
    generator.close()


def streams(
    generator: Any, number: int, changes: Callable[[int], Numbers] | None = None
) -> tuple[Streams, float]:
    """All tokens of each sequence, and how many a sequence gained in an iteration.

    More sequences than slots, of every sampling; some are preempted on the way.
    """
    prompt = generator.tokenizer.encode_chat([{"role": "user", "content": QUESTION}])
    generator.reset_prefix_cache()
    generator.set_draft_tokens(number)
    found: Streams = {}
    for each in range(NUM_SEQUENCES):
        request_id = f"stream{each}"
        found[request_id] = prompt[: len(prompt) - each % 3]
        generator.add(
            GenerationRequest(
                request_id=request_id,
                prompt_token_ids=list(found[request_id]),
                seed=each,
                sampling=SAMPLINGS[each % len(SAMPLINGS)],
                max_tokens=180 - each,
                draft_group=each % 2,
                may_start_late=each > 2,
                num_logprobs=2 if each % 7 == 3 else None,
            )
        )
    num_tokens = num_passes = iteration = 0
    while generator.num_unfinished():
        iteration += 1
        if iteration == 20:
            generator.preempt_all()
        if changes is not None and iteration % 3 == 0:
            generator.set_draft_tokens(*changes(iteration))
        for output in generator.step():
            found[output.request_id] += output.token_ids
            num_tokens += len(output.token_ids)
            num_passes += bool(output.token_ids)
    return found, num_tokens / max(1, num_passes)


if __name__ == "__main__":
    main()
