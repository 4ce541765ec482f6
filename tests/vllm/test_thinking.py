"""Thoughts on real models: one tree under every schedule, and the switch of a real template."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from fasttts import ConfigurationError
from fasttts.backends.vllm import load_backends
from fasttts.backends.vllm.tokenizer import ChatTokenizer
from fasttts.config import PLAIN, SchedulingConfig, engine_config, search_config
from fasttts.decoding.thoughts import THINK, ThoughtReader
from fasttts.demo.problems import generate_problems
from fasttts.engine.request import prepare, render
from fasttts.interfaces import Generator, Verifier
from fasttts.scheduling.loop import Loop
from fasttts.scheduling.run import SearchRun
from fasttts.search import resolve
from tests.searches import Recorder, drive, same_tree, snapshot

pytestmark = [pytest.mark.vllm, pytest.mark.usefixtures("unmeasured")]

SEARCHES: list[dict[str, Any]] = [
    {"search": "none", "temperature": 0.7, "thinking_token_budget": 0},
    {"search": "none", "temperature": 0.7, "thinking_token_budget": 33},
    {"search": "beam_search", "thinking_token_budget": 24},
    {"search": "beam_search", "thinking_token_budget": 24, "thinking": True},
    {"search": "beam_search", "thinking_token_budget": 24, "score_thoughts": False},
    {"search": "best_of_n", "thinking_token_budget": 40, "score_thoughts": False},
    {"search": "dynasor", "probe_window": 1},
    {"search": "dynasor", "probe_window": 2, "thinking_token_budget": 60},
]
PROBLEMS = generate_problems("test", 13, len(SEARCHES), min_operations=2, max_operations=4)


def search_all(
    generator: Generator, verifier: Verifier | None, scheduling: SchedulingConfig
) -> list[SearchRun]:
    """All searches, of prompts that open a thought, run together to their end."""
    loop = Loop(generator, verifier, scheduling)
    runs, recorders = [], []
    opened = generator.tokenizer.encode(f"{THINK.begin}\n")
    for seed, (problem, options) in enumerate(zip(PROBLEMS, SEARCHES, strict=True)):
        config = search_config(
            **options,
            n=4,
            seed=seed,
            max_tokens=110,
            probe="So the answer is ",
            probe_tokens=2,
            probe_interval=8,
        )
        prompt = render(problem.text, generator)
        prompt = replace(prompt, token_ids=(*prompt.token_ids, *opened))
        runs.append(prepare(prompt, resolve(config, has_verifier=True), generator))
        recorders.append(Recorder())
        loop.submit(runs[-1], recorders[-1])
    drive(loop)
    assert all(recorder.outcomes == [None] for recorder in recorders)
    assert generator.num_unfinished() == 0
    return runs


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_all_optimisations_give_the_tree_of_the_plain_loop() -> None:
    generator, verifier = load_backends(engine_config(max_num_seqs=48))
    try:
        plain = search_all(generator, verifier, PLAIN)
        scheduling = SchedulingConfig(slots=24, verification_batch_tokens=100)
        fast = search_all(generator, verifier, scheduling)
        for expected, found in zip(plain, fast, strict=True):
            assert same_tree(found, snapshot(expected))
        decode = generator.tokenizer.decode
        end = ThoughtReader(generator.tokenizer, ()).end_token_ids(THINK)
        for run, options in zip(plain, SEARCHES, strict=True):
            for node in run.ended_nodes():
                own = [i for one in node.lineage() for i in one.token_ids]
                budget = options.get("thinking_token_budget", 110)
                is_cut = len(own) > budget and THINK.end not in decode(own[:budget])
                assert not is_cut or own[budget:][: len(end)] == end[: len(own) - budget]
        exits = [node for run in plain[-2:] for node in run.ended_nodes() if node.path[-1] == 2]
        assert any(len(node.path) > 1 for node in exits)  # some probes did agree
    finally:
        generator.close()
        if verifier is not None:
            verifier.close()


SWITCHED = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n"
    "{% endfor %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and enable_thinking %}<think>\n{% endif %}"
)


def test_a_template_s_own_switch(make_tokenizer: Callable[..., Any]) -> None:
    tokenizer = ChatTokenizer(make_tokenizer(SWITCHED), "tiny")
    asked = [{"role": "user", "content": "a"}]
    plain = tokenizer.encode_chat(asked)
    opened = tokenizer.encode_chat(asked, None, {"enable_thinking": True})
    assert opened == plain + tokenizer.encode("<think>\n")
    assert tokenizer.encode_chat(asked, None, {"enable_thinking": False}) == plain
    assert ThoughtReader(tokenizer, opened).opened == (0, THINK)
    assert ThoughtReader(tokenizer, plain).opened is None
    with pytest.raises(ConfigurationError, match="has no 'thinking': leave it out"):
        tokenizer.encode_chat(asked, None, {"thinking": True})
    spelled = [{"role": "user", "content": "<|im_end|>"}]
    switched = tokenizer.encode_chat(spelled, None, {"enable_thinking": True})
    assert switched.count(tokenizer.token_id("<|im_end|>")) == 1
