"""Cost of signals: log-probabilities in an iteration of vLLM, reading them, and how exact they are.

    python -m benchmarks.signal_costs

The demonstration generator decodes sequences without log-probabilities, with each token's own, and
with those of the 20 likeliest, each with the numbers of the whole distribution and without: another
engine, which reports the log-probabilities that sampling leaves, computes none. Arms take turns.
Then every signal reads the same tokens, and those that are of the whole vocabulary are compared
with transformers in float64.
"""

import argparse
import statistics
import time
from collections.abc import Mapping, Sequence
from typing import Any
from unittest.mock import patch

import numpy as np

from benchmarks.report import Report
from fasttts.backends.vllm import load_backends
from fasttts.config import SIGNALS, engine_config
from fasttts.decoding.distribution import FLOOR
from fasttts.decoding.sampling import Sampling
from fasttts.demo import generator_path
from fasttts.demo.problems import generate_problems
from fasttts.interfaces import GenerationRequest, Generator, VerificationRequest
from fasttts.types import TokenLogprobs
from fasttts.verifiers import Entropy, SelfCertainty
from fasttts.verifiers.resolve import as_verifier

_ARMS = (
    (None, "whole"),
    (0, "whole"),
    (0, "likeliest"),
    (20, "whole"),
    (20, "likeliest"),
)
"""Likeliest tokens that are asked for, and the engine that is asked."""

_REPORTS = "fasttts.backends.vllm.builder.report_distributions"
"""What has an engine compute numbers of whole distributions."""
_NUM_TOKENS = 60
_COLUMNS = {
    "what": "what",
    "arm": "arm",
    "sequences": "sequences",
    "ms": "ms/iteration",
    "us": "us/token",
    "error": "mean error",
    "correlation": "correlation",
}


def decoded(
    generator: Generator, number: int, num_logprobs: int | None, round_number: int
) -> tuple[float, list[tuple[list[int], list[int], list[TokenLogprobs]]]]:
    """Median seconds of an iteration; prompt, tokens and log-probabilities of each sequence."""
    problems = generate_problems("test", 5, number, min_operations=4, max_operations=6)
    found = {}
    for index, problem in enumerate(problems):
        prompt = generator.tokenizer.encode_chat([{"role": "user", "content": problem.text}])
        name = f"{num_logprobs}-{round_number}-{index}"
        found[name] = (prompt, list[int](), list[TokenLogprobs]())
        generator.add(
            GenerationRequest(
                request_id=name,
                prompt_token_ids=prompt,
                seed=index,
                sampling=Sampling(temperature=0.8),
                max_tokens=_NUM_TOKENS,
                num_logprobs=num_logprobs,
            )
        )
    seconds = []
    while generator.num_unfinished() == number or not seconds:
        started = time.perf_counter()
        outputs = generator.step()
        seconds.append(time.perf_counter() - started)
        for output in outputs:
            found[output.request_id][1].extend(output.token_ids)
            found[output.request_id][2].extend(output.logprobs)
    generator.abort(list(found))
    return statistics.median(seconds), list(found.values())


def iterations(generators: Mapping[str, Generator], num_rounds: int) -> list[dict[str, Any]]:
    """Milliseconds of an iteration, for each number of sequences and of log-probabilities."""
    rows = []
    for number in (1, 16, 64):
        times: dict[tuple[int | None, str], list[float]] = {arm: [] for arm in _ARMS}
        for round_number in range(num_rounds):
            for arm in _ARMS if round_number % 2 else reversed(_ARMS):
                num_logprobs, name = arm
                seconds, _ = decoded(generators[name], number, num_logprobs, round_number)
                times[arm].append(seconds)
        rows += [
            {
                "what": "iteration",
                "arm": f"{num_logprobs}, {name}",
                "sequences": number,
                "ms": 1e3 * min(found),
                "median_ms": 1e3 * statistics.median(found),
            }
            for (num_logprobs, name), found in times.items()
        ]
    return rows


def readings(tokens: Sequence[TokenLogprobs], num_rounds: int) -> list[dict[str, Any]]:
    """Microseconds that each signal takes for a token, in steps of 25."""
    steps = [tokens[i : i + 25] for i in range(0, len(tokens), 25)]
    request = VerificationRequest(problem="", steps=("",) * len(steps), logprobs=tuple(steps))
    rows = []
    for name in SIGNALS:
        times = []
        for _ in range(num_rounds):
            started = time.perf_counter()
            as_verifier(name).score([request])
            times.append(time.perf_counter() - started)
        rows.append({"what": "reading", "arm": name, "us": 1e6 * min(times) / len(tokens)})
    return rows


def misses(sequences: Sequence[tuple[list[int], list[int], list[TokenLogprobs]]]) -> list[Any]:
    """Scores by sequence against those of transformers' log-probabilities of all tokens."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(generator_path(), dtype=torch.float32)
    found: dict[str, list[tuple[float, float]]] = {"entropy": [], "self_certainty": []}
    num_below, num_all = 0, 0
    for prompt, token_ids, logprobs in sequences:
        with torch.no_grad():
            logits = model(torch.tensor([[*prompt, *token_ids]])).logits[0, len(prompt) - 1 : -1]
        all_TV = torch.log_softmax(logits.double(), dim=-1).numpy()
        num_below, num_all = num_below + int((all_TV < FLOOR).sum()), num_all + all_TV.size
        entropy = -(np.exp(all_TV) * all_TV).sum(axis=1).mean()
        certainty = -(all_TV + np.log(all_TV.shape[1])).mean()
        for signal, whole in ((Entropy(), np.exp(-entropy)), (SelfCertainty(), certainty / 40)):
            asked = VerificationRequest(problem="", steps=("",), logprobs=(logprobs,))
            score = signal.score([asked])[0].scores[0]
            found[signal.rule].append((score, float(whole)))
    return [
        {
            "what": "all tokens",
            "arm": name,
            "sequences": len(pairs),
            "error": statistics.mean(abs(a - b) for a, b in pairs),
            "correlation": float(np.corrcoef(np.array(pairs).T)[0, 1]),
            "share_below_floor": num_below / num_all,
        }
        for name, pairs in found.items()
    ]


def main() -> None:
    """Prints the costs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=5)
    arguments = parser.parse_args()
    generators: dict[str, Generator] = {}
    try:
        config = engine_config(verifier=None, max_num_seqs=64)
        generators["whole"], _ = load_backends(config)
        with patch(_REPORTS, lambda llm, *, is_second: False):
            generators["likeliest"], _ = load_backends(config)
        rows = iterations(generators, arguments.repetitions)
        _, sequences = decoded(generators["whole"], 64, 20, arguments.repetitions)
    finally:
        for generator in generators.values():
            generator.close()
    tokens = [one for *_, logprobs in sequences for one in logprobs]
    rows += readings(tokens, arguments.repetitions) + misses(sequences)
    report = Report(benchmark="signal-costs", config=vars(arguments), seed=0, columns=_COLUMNS)
    report.take(rows)
    report.print()


if __name__ == "__main__":
    main()
