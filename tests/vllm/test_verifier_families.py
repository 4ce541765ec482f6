"""Each family of verifiers against the same score computed by plain transformers.

Tiny random models of each architecture, float32, on a CPU: scores agree within `TOLERANCE`, for
whole texts and step by step, and a new step costs its own tokens and at most one block.
"""

import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fasttts.backends.vllm.loader import load_planned
from fasttts.backends.vllm.tokenizer import ChatTokenizer
from fasttts.config import PLAIN, SchedulingConfig, engine_config, search_config
from fasttts.errors import BackendError, CapacityError
from fasttts.interfaces import VerificationRequest
from fasttts.scheduling.loop import Loop
from fasttts.verifiers.critiques import (
    GENPRM_CRITIQUE,
    GENPRM_CRITIQUE_SYSTEM,
    GENPRM_DIRECT_SYSTEM,
    THINKPRM_PROMPT,
)
from fasttts.verifiers.generative import SHEPHERD_TAG
from fasttts.verifiers.judge_formats import (
    CONTINUE_PROMPT,
    JUDGE_PROMPT,
    MISTAKE_PROMPT,
    SOUND_PROMPT,
)
from fasttts.verifiers.prompt_formats import SYSTEM_PROMPT
from fasttts.verifiers.registry import FAMILIES
from tests.searches import Recorder, Snapshot, drive, make_run, same_tree, snapshot

pytestmark = pytest.mark.vllm

TOLERANCE = 1e-5
BLOCK = 32
PROBLEM = "Ann has 3 apples and buys 4 more, then gives 2 to Tom. How many apples does she have?"
STEPS = (
    "Ann starts with 3 apples and buys 4 more, so she has 3 + 4 = 7 apples now.",
    "She gives 2 of them to Tom: 7 - 2 = 5.",
    "Two lines in one step:\n5 is what is left at the end of the day.",
    "So the answer is \\boxed{5}.",
)
LLAMA_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<|start_header_id|>{{ message.role }}"
    "<|end_header_id|>\n\n{{ message.content }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
LLAMA_WORDS = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+"
SIZES = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 2048,
    "initializer_range": 0.2,
    "tie_word_embeddings": False,
}


def byte_tokenizer(folder: Path) -> int:
    """Llama 3's kind: bytes merged, chat markers, a token that begins texts; its size."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(LLAMA_WORDS), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|bos|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>", "<pad>"]
    special += ["<extra_0>", "</think>"]
    trainer = trainers.BpeTrainer(
        vocab_size=384,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    words = "Yes No A B C D E \\boxed{Yes} \\boxed{No}"
    tokenizer.train_from_iterator([f"{PROBLEM} {' '.join(STEPS)} {words}\n\n"] * 3, trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<|bos|>",
        eos_token="<|eot_id|>",
        pad_token="<pad>",
        chat_template=LLAMA_TEMPLATE,
    )
    fast.save_pretrained(folder)
    return len(fast)


def piece_tokenizer(folder: Path) -> int:
    """Mistral's kind: SentencePiece's mark before words, the step tag a piece; its size."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split("\n", "isolated"),
            pre_tokenizers.Metaspace(prepend_scheme="first"),
        ]
    )
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.BpeTrainer(
        vocab_size=384, special_tokens=["<unk>", "<s>", "</s>"], show_progress=False
    )
    text = f"{PROBLEM} Step 1: {' '.join(STEPS)} + - = {SHEPHERD_TAG}\nStep 2:"
    tokenizer.train_from_iterator([text, f" {SHEPHERD_TAG} + -\n" * 50], trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", tokenizer.token_to_id("<s>"))]
    )
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")
    fast.save_pretrained(folder)
    return len(fast)


def save(model: Any, folder: Path, **changes: object) -> Any:
    """The model's tokenizer as users load it: by the model's type."""
    from transformers import AutoTokenizer

    model.save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))
    return AutoTokenizer.from_pretrained(folder)


def make_model(kind: str, vocab_size: int, **options: Any) -> Any:
    import torch
    import transformers

    torch.manual_seed(7)
    family, _, head = kind.partition(":")
    config = getattr(transformers, f"{family}Config")(vocab_size=vocab_size, **{**SIZES, **options})
    return getattr(transformers, f"{family}For{head}")(config).eval()


def logits_of(model: Any, token_ids: Sequence[int]) -> Any:
    import torch

    with torch.no_grad():
        return model(torch.tensor([list(token_ids)])).logits[0]


def save_skywork(folder: Path) -> Callable[..., list[float]]:
    import torch
    from safetensors.torch import load_file, save_file

    model = make_model("Qwen2:CausalLM", byte_tokenizer(folder))
    tokenizer = save(model, folder, architectures=["Qwen2ForPrmModel"])
    head = torch.nn.Linear(64, 1)
    weights = load_file(folder / "model.safetensors")
    weights |= {f"v_head.summary.{name}": w.detach() for name, w in head.state_dict().items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})

    def scores(problem: str, steps: Sequence[str]) -> list[float]:
        """As `prepare_input` and `SkyworkPRMModel.forward` of the authors do."""
        token_ids = tokenizer.encode(f"<|bos|>{problem}\n", add_special_tokens=False)
        newline = tokenizer.encode("\n", add_special_tokens=False)[-1]
        flags = [0] * len(token_ids)
        for step in steps:
            own = [*tokenizer.encode(step, add_special_tokens=False), newline]
            token_ids += own
            flags += [0] * (len(own) - 1) + [1]
        with torch.no_grad():
            hidden = model.model(torch.tensor([token_ids])).last_hidden_state
            value = torch.sigmoid(head(hidden))[0, :, 0]
        return [v for v, flag in zip(value.tolist(), flags, strict=True) if flag]

    return scores


def save_shepherd(folder: Path) -> Callable[..., list[float]]:
    model = make_model("Mistral:CausalLM", piece_tokenizer(folder))
    tokenizer = save(model, folder)

    def scores(problem: str, steps: Sequence[str]) -> list[float]:
        """As the model card does: the whole text, read where the tag is."""
        import torch

        good, bad = tokenizer.encode("+ -", add_special_tokens=False)
        tag = tokenizer.encode(SHEPHERD_TAG)[-1]
        lines = [f"Step {i}: {step} {SHEPHERD_TAG}" for i, step in enumerate(steps, 1)]
        token_ids = tokenizer.encode(f"{problem} " + "\n".join(lines))
        found = logits_of(model, token_ids)[:, [good, bad]].softmax(dim=-1)[:, 0]
        return found[torch.tensor(token_ids) == tag].tolist()

    return scores


def save_rlhflow(folder: Path) -> Callable[..., list[float]]:
    model = make_model("Llama:CausalLM", byte_tokenizer(folder))
    tokenizer = save(model, folder)

    def scores(problem: str, steps: Sequence[str]) -> list[float]:
        """As `prm_evaluate.py` does: + or - is predicted by the third token from the end."""
        plus, minus = tokenizer.encode("+")[-1], tokenizer.encode("-")[-1]
        conversation: list[dict[str, str]] = []
        found = []
        for step in steps:
            text = step if conversation else f"{problem} {step}"
            conversation.append({"content": text, "role": "user"})
            conversation.append({"content": "+", "role": "assistant"})
            token_ids = tokenizer.encode(
                tokenizer.apply_chat_template(conversation, tokenize=False),
                add_special_tokens=False,
            )
            found.append(logits_of(model, token_ids)[-3, [plus, minus]].softmax(-1)[0].item())
        return found

    return scores


def conversation_of(problem: str, steps: Sequence[str], system: str | None = None) -> Any:
    """A problem and the steps as the answer to it."""
    said = [
        {"role": "user", "content": problem},
        {"role": "assistant", "content": "\n\n".join(steps)},
    ]
    return said if system is None else [{"role": "system", "content": system}, *said]


def save_outcome(folder: Path) -> Callable[..., list[float]]:
    vocab_size = byte_tokenizer(folder)
    model = make_model("Llama:SequenceClassification", vocab_size, num_labels=1, pad_token_id=4)
    tokenizer = save(model, folder)

    def scores(problem: str, steps: Sequence[str]) -> list[float]:
        """The pooled logit of the conversation up to each step."""
        found = []
        for end in range(1, len(steps) + 1):
            conversation = conversation_of(problem, steps[:end])
            text = tokenizer.apply_chat_template(conversation, tokenize=False)
            token_ids = tokenizer.encode(text, add_special_tokens=False)
            found.append(logits_of(model, token_ids).sigmoid().item())
        return found

    return scores


def save_headed(folder: Path, architecture: str, num_labels: int) -> tuple[Any, Any]:
    """A Qwen2 with Qwen's head of two layers at each token; its tokenizer, and its values."""
    import torch
    from safetensors.torch import load_file, save_file

    model = make_model("Qwen2:CausalLM", byte_tokenizer(folder))
    tokenizer = save(model, folder, architectures=[architecture])
    torch.manual_seed(11)
    head = torch.nn.Sequential(
        torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, num_labels)
    )
    weights = load_file(folder / "model.safetensors")
    weights |= {f"score.{name}": weight.detach() for name, weight in head.state_dict().items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})

    def values(token_ids: Sequence[int]) -> Any:
        with torch.no_grad():
            return head(model.model(torch.tensor([token_ids])).last_hidden_state)[0]

    return tokenizer, values


def save_qwen_reward(folder: Path) -> Callable[..., list[float]]:
    tokenizer, values = save_headed(folder, "Qwen2ForRewardModel", 1)

    def scores(problem: str, steps: Sequence[str]) -> list[float]:
        """As the model card does: the value of the conversation's last token."""
        found = []
        for end in range(1, len(steps) + 1):
            conversation = conversation_of(problem, steps[:end], SYSTEM_PROMPT)
            text = tokenizer.apply_chat_template(conversation, tokenize=False)
            token_ids = tokenizer.encode(text, add_special_tokens=False)
            found.append(values(token_ids)[-1, 0].sigmoid().item())
        return found

    return scores


def save_reasonflux(folder: Path) -> Callable[..., list[float]]:
    tokenizer, values = save_headed(folder, "Qwen2ForProcessRewardModel", 2)

    def scores(problem: str, steps: Sequence[str]) -> list[float]:
        """As the README does: the second class of each step's tag."""
        import torch

        conversation = conversation_of(problem, ["".join(f"{step}<extra_0>" for step in steps)])
        text = tokenizer.apply_chat_template(conversation, tokenize=False)
        token_ids = tokenizer.encode(text, add_special_tokens=False)
        tag = torch.tensor(token_ids) == tokenizer.encode("<extra_0>")[0]
        return values(token_ids).softmax(dim=-1)[tag, 1].tolist()

    return scores


def save_trl(folder: Path) -> Callable[..., list[float]]:
    model = make_model("Qwen2:TokenClassification", byte_tokenizer(folder), num_labels=2)
    tokenizer = save(model, folder)

    def scores(problem: str, steps: Sequence[str]) -> list[float]:
        """As `PRMTrainer.tokenize_row` does, read where that has labels."""
        import torch

        token_ids = tokenizer(problem, add_special_tokens=False)["input_ids"]
        token_ids = [tokenizer.bos_token_id, *token_ids]
        separator = tokenizer.encode("\n", add_special_tokens=False)
        is_labelled = [False] * len(token_ids)
        for step in steps:
            own = tokenizer(step, add_special_tokens=False)["input_ids"] + separator
            token_ids += own
            is_labelled += [False] * (len(own) - 1) + [True]
        found = logits_of(model, token_ids).softmax(dim=-1)[:, 1]
        return found[torch.tensor(is_labelled)].tolist()

    return scores


def rendered(tokenizer: Any, *spoken: tuple[str, str]) -> str:
    """A conversation in the chat template, with the next reply opened."""
    messages = [{"role": role, "content": content} for role, content in spoken]
    return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))


def greedy(model: Any, token_ids: list[int], max_tokens: int, is_over: Any) -> list[int]:
    """What the model writes behind a prompt, token by token."""
    written: list[int] = []
    while len(written) < max_tokens and not (written and is_over(written)):
        written.append(int(logits_of(model, [*token_ids, *written])[-1].argmax()))
    return written


def verdict(tokenizer: Any, model: Any, token_ids: Sequence[int], yes: str, no: str) -> float:
    good, bad = (tokenizer.encode(word, add_special_tokens=False)[-1] for word in (yes, no))
    return float(logits_of(model, token_ids)[-1, [good, bad]].softmax(-1)[0])


def save_genprm(folder: Path, is_direct: bool = True) -> Callable[..., list[float]]:
    model = make_model("Qwen2:CausalLM", byte_tokenizer(folder))
    tokenizer = save(model, folder)

    def encode(text: str) -> list[int]:
        return list(tokenizer.encode(text, add_special_tokens=False))

    def scores(problem: str, steps: Sequence[str]) -> list[float]:
        r"""As `_single_inference` does without code: the verdict behind `\\boxed{`."""
        found = []
        spoken = [("system", GENPRM_DIRECT_SYSTEM if is_direct else GENPRM_CRITIQUE_SYSTEM)]
        verdict_start = "<output>\n**Judgement**: $\\boxed{"
        for number, step in enumerate(steps, 1):
            spoken.append(("user", step if number > 1 else f"Question: {problem}\n\n{step}"))
            text = rendered(tokenizer, *spoken)
            if is_direct:
                token_ids = encode(text + verdict_start)
            else:
                token_ids = encode(text + GENPRM_CRITIQUE.format(number=number))
                token_ids += thought_of(token_ids) + encode(f"</analyze>\n{verdict_start}")
            found.append(verdict(tokenizer, model, token_ids, "Yes", "No"))
            spoken.append(("assistant", f"{verdict_start}Yes}}$\n</output>\n"))
        return found

    def thought_of(token_ids: list[int]) -> list[int]:
        eos = tokenizer.eos_token_id
        written = greedy(model, token_ids, THOUGHT_TOKENS, lambda own: own[-1] == eos)
        return [token_id for token_id in written if token_id != eos]

    return scores


def save_genprm_thinking(folder: Path) -> Callable[..., list[float]]:
    return save_genprm(folder, is_direct=False)


def save_thinkprm(folder: Path) -> Callable[..., list[float]]:
    model = make_model("Qwen2:CausalLM", byte_tokenizer(folder))
    tokenizer = save(model, folder)
    ends = {tokenizer.eos_token_id, tokenizer.encode("</think>", add_special_tokens=False)[0]}

    def scores(problem: str, steps: Sequence[str]) -> list[float]:
        """As `format_verification_cot_for_thinkprm` does; then the question of its training."""
        found = []
        for end in range(1, len(steps) + 1):
            numbered = "\n".join(f"Step {i}: {step}" for i, step in enumerate(steps[:end], 1))
            question = THINKPRM_PROMPT.format(problem=problem, steps=numbered)
            text = rendered(tokenizer, ("user", question)) + "\nLet's verify step by step:"
            token_ids = tokenizer.encode(text, add_special_tokens=False)
            own = greedy(model, token_ids, THOUGHT_TOKENS, lambda own: own[-1] in ends)
            token_ids += [token_id for token_id in own if token_id not in ends]
            closing = "</think>\nIs the solution correct?"
            token_ids += tokenizer.encode(closing, add_special_tokens=False)
            found.append(verdict(tokenizer, model, token_ids, " Yes", " No"))
        return found

    return scores


def save_judge(folder: Path) -> Callable[..., list[float]]:
    """The odds of the first token of Yes against that of No."""
    return save_asked(folder, [(JUDGE_PROMPT, {"Yes": 1.0, "No": 0.0})])


def save_panel(folder: Path) -> Callable[..., list[float]]:
    """The mean of three questions' odds, one of which asks for the opposite."""
    good_and_bad = {"Yes": 1.0, "No": 0.0}
    questions = [(prompt, good_and_bad) for prompt in (SOUND_PROMPT, CONTINUE_PROMPT)]
    return save_asked(folder, [*questions, (MISTAKE_PROMPT, {"Yes": 0.0, "No": 1.0})])


def save_asked(
    folder: Path, questions: Sequence[tuple[str, dict[str, float]]]
) -> Callable[..., list[float]]:
    model = make_model("Qwen2:CausalLM", byte_tokenizer(folder))
    tokenizer = save(model, folder)

    def worth(asked: str, replies: dict[str, float]) -> float:
        import torch

        first = [tokenizer.encode(reply, add_special_tokens=False)[0] for reply in replies]
        token_ids = tokenizer.encode(rendered(tokenizer, ("user", asked)), add_special_tokens=False)
        shares = logits_of(model, token_ids)[-1, first].softmax(-1)
        return float(shares @ torch.tensor(list(replies.values())))

    def scores(problem: str, steps: Sequence[str]) -> list[float]:
        texts = ("\n\n".join(steps[:end]) for end in range(1, len(steps) + 1))
        return [
            sum(worth(q.format(problem=problem, steps=text), r) for q, r in questions)
            / len(questions)
            for text in texts
        ]

    return scores


SAVERS: dict[str, Callable[[Path], Callable[..., list[float]]]] = {
    "skywork-prm": save_skywork,
    "qwen-rm": save_qwen_reward,
    "reasonflux": save_reasonflux,
    "trl": save_trl,
    "math-shepherd": save_shepherd,
    "rlhflow": save_rlhflow,
    "genprm": save_genprm,
    "genprm thinking": save_genprm_thinking,
    "thinkprm": save_thinkprm,
    "outcome": save_outcome,
    "judge": save_judge,
    "judge-panel": save_panel,
}
FOUND_BY_CLASS = {"skywork-prm", "qwen-rm", "trl", "outcome"}
THOUGHT_TOKENS = 12
SETTINGS = {
    "genprm": {"max_thought_tokens": 0},
    "genprm thinking": {"max_thought_tokens": THOUGHT_TOKENS},
    "thinkprm": {"max_thought_tokens": THOUGHT_TOKENS},
}


@dataclass(frozen=True, kw_only=True)
class Case:
    """A family's verifier on vLLM, and the same scores from elsewhere."""

    family: str
    generator: Any
    verifier: Any
    expected: Callable[..., list[float]]
    layout: Any


@pytest.fixture(scope="module", params=SAVERS)
def case(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, tiny_generator: Path
) -> Iterator[Case]:
    from transformers import AutoTokenizer

    family, _, _ = request.param.partition(" ")
    settings = SETTINGS.get(request.param, {})
    folder = tmp_path_factory.mktemp(family)
    expected = SAVERS[request.param](folder)
    config = engine_config(
        generator=str(tiny_generator),
        verifier=str(folder),
        verifier_format="auto" if family in FOUND_BY_CLASS else family,
        verifier_format_args=settings,
    )
    loaded = load_planned(config)
    assert loaded.verifier is not None
    tokenizer = ChatTokenizer(AutoTokenizer.from_pretrained(folder), family)
    yield Case(
        family=family,
        generator=loaded.generator,
        verifier=loaded.verifier,
        expected=expected,
        layout=FAMILIES[family].build(tokenizer, family, **settings),
    )
    loaded.verifier.close()
    loaded.generator.close()


def ask(verifier: Any, problem: str, steps: tuple[str, ...], num_scored: int = 0) -> Any:
    request = VerificationRequest(problem=problem, steps=steps, num_scored=num_scored)
    (found,) = verifier.score([request])
    return found


@pytest.mark.parametrize("num_steps", [1, 2, 4])
def test_whole_texts_have_the_scores_of_transformers(case: Case, num_steps: int) -> None:
    problem, steps = f"{num_steps} steps. {PROBLEM}", STEPS[:num_steps]
    expected = case.expected(problem, steps)
    assert len(expected) == num_steps
    assert num_steps == 1 or max(expected) - min(expected) > 1e-3
    for attempt in ("cold", "warm"):
        found = ask(case.verifier, problem, steps)
        assert list(found.scores) == pytest.approx(expected, abs=TOLERANCE), attempt


def test_step_by_step_has_the_same_scores_and_computes_only_what_is_new(case: Case) -> None:
    problem = f"Step by step. {PROBLEM}"
    expected = case.expected(problem, STEPS)
    before: tuple[int, ...] = ()
    for end in range(1, len(STEPS) + 1):
        found = ask(case.verifier, problem, STEPS[:end], end - 1)
        assert found.scores == (pytest.approx(expected[end - 1], abs=TOLERANCE),)
        prompts = [one.prompt(problem, STEPS[:end]).token_ids for one in case.layout.variants]
        prompt = prompts[0]
        num_tokens = found.num_computed_tokens + found.num_cached_tokens
        if case.layout.thought is not None:
            longest = THOUGHT_TOKENS + case.layout.num_reserved_tokens + BLOCK
            assert len(prompt) < num_tokens <= len(prompt) + longest
            continue
        assert num_tokens == sum(map(len, prompts))
        pairs = zip(before, prompt, strict=False)
        num_new = len(prompt) - len(
            list(itertools.takewhile(lambda pair: len({*pair}) == 1, pairs))
        )
        most = (num_new + BLOCK) if len(prompts) == 1 else num_tokens
        assert 0 < found.num_computed_tokens <= most
        before = prompt
    assert case.verifier.block_size == BLOCK


def test_many_paths_at_once(case: Case) -> None:
    requests = [
        VerificationRequest(
            problem=f"{i % 3}: {PROBLEM}", steps=STEPS[: 1 + i % 4], num_scored=i % 2
        )
        for i in range(24)
    ]
    for request, found in zip(requests, case.verifier.score(requests), strict=True):
        expected = case.expected(request.problem, request.steps)[request.num_scored :]
        assert list(found.scores) == pytest.approx(expected, abs=TOLERANCE)


def test_a_search_finds_one_tree_in_every_schedule(case: Case) -> None:
    config = search_config(search="beam_search", n=4, beam_width=2, max_tokens=24, max_depth=3)
    expected: Snapshot | None = None
    for scheduling in (PLAIN, SchedulingConfig(), SchedulingConfig(slots=2)):
        loop, recorder = Loop(case.generator, case.verifier, scheduling), Recorder()
        run = make_run(case.generator, PROBLEM, config)
        loop.submit(run, recorder)
        drive(loop)
        assert recorder.outcomes == [None]
        expected = expected or snapshot(run)
        assert same_tree(run, expected)


def test_a_prompt_longer_than_the_context_is_refused(case: Case) -> None:
    with pytest.raises(CapacityError, match="make a verifier prompt of"):
        ask(case.verifier, PROBLEM, STEPS * 60)
    assert len(ask(case.verifier, PROBLEM, STEPS).scores) == len(STEPS)


def test_after_close_everything_is_refused(case: Case) -> None:
    """Last in this file: the verifier is of no use afterwards."""
    case.verifier.close()
    with pytest.raises(BackendError, match="closed"):
        ask(case.verifier, PROBLEM, STEPS)
