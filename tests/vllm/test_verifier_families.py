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
from fasttts.config import engine_config
from fasttts.errors import BackendError, CapacityError
from fasttts.interfaces import VerificationRequest
from fasttts.verifiers.generative import JUDGE_PROMPT, SHEPHERD_TAG
from fasttts.verifiers.registry import FAMILIES

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
    trainer = trainers.BpeTrainer(
        vocab_size=384,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([f"{PROBLEM} {' '.join(STEPS)} Yes No\n\n"] * 3, trainer)
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


def save_outcome(folder: Path) -> Callable[..., list[float]]:
    vocab_size = byte_tokenizer(folder)
    model = make_model("Llama:SequenceClassification", vocab_size, num_labels=1, pad_token_id=4)
    tokenizer = save(model, folder)

    def scores(problem: str, steps: Sequence[str]) -> list[float]:
        """The pooled logit of the conversation up to each step."""
        found = []
        for end in range(1, len(steps) + 1):
            conversation = [
                {"role": "user", "content": problem},
                {"role": "assistant", "content": "\n\n".join(steps[:end])},
            ]
            text = tokenizer.apply_chat_template(conversation, tokenize=False)
            token_ids = tokenizer.encode(text, add_special_tokens=False)
            found.append(logits_of(model, token_ids).sigmoid().item())
        return found

    return scores


def save_judge(folder: Path) -> Callable[..., list[float]]:
    model = make_model("Qwen2:CausalLM", byte_tokenizer(folder))
    tokenizer = save(model, folder)

    def scores(problem: str, steps: Sequence[str]) -> list[float]:
        """The odds of the first token of Yes against that of No."""
        yes, no = (tokenizer.encode(word, add_special_tokens=False)[0] for word in ("Yes", "No"))
        found = []
        for end in range(1, len(steps) + 1):
            asked = JUDGE_PROMPT.format(problem=problem, steps="\n\n".join(steps[:end]))
            text = tokenizer.apply_chat_template(
                [{"role": "user", "content": asked}], tokenize=False, add_generation_prompt=True
            )
            token_ids = tokenizer.encode(text, add_special_tokens=False)
            found.append(logits_of(model, token_ids)[-1, [yes, no]].softmax(-1)[0].item())
        return found

    return scores


SAVERS: dict[str, Callable[[Path], Callable[..., list[float]]]] = {
    "skywork-prm": save_skywork,
    "math-shepherd": save_shepherd,
    "rlhflow": save_rlhflow,
    "outcome": save_outcome,
    "judge": save_judge,
}
NAMED = {"math-shepherd", "rlhflow", "judge"}


@dataclass(frozen=True, kw_only=True)
class Case:
    """A family's verifier on vLLM, and the same scores from elsewhere."""

    family: str
    verifier: Any
    expected: Callable[..., list[float]]
    layout: Any


@pytest.fixture(scope="module", params=SAVERS)
def case(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, tiny_generator: Path
) -> Iterator[Case]:
    from transformers import AutoTokenizer

    family = request.param
    folder = tmp_path_factory.mktemp(family)
    expected = SAVERS[family](folder)
    config = engine_config(
        generator=str(tiny_generator),
        verifier=str(folder),
        verifier_format=family if family in NAMED else "auto",
    )
    loaded = load_planned(config)
    assert loaded.verifier is not None
    tokenizer = ChatTokenizer(AutoTokenizer.from_pretrained(folder), family)
    yield Case(
        family=family,
        verifier=loaded.verifier,
        expected=expected,
        layout=FAMILIES[family].build(tokenizer, family),
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
        prompt = case.layout.prompt(problem, STEPS[:end]).token_ids
        assert found.num_computed_tokens + found.num_cached_tokens == len(prompt)
        pairs = zip(before, prompt, strict=False)
        num_new = len(prompt) - len(
            list(itertools.takewhile(lambda pair: len({*pair}) == 1, pairs))
        )
        assert 0 < found.num_computed_tokens <= num_new + BLOCK
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


def test_a_prompt_longer_than_the_context_is_refused(case: Case) -> None:
    with pytest.raises(CapacityError, match="make a verifier prompt of"):
        ask(case.verifier, PROBLEM, STEPS * 60)
    assert len(ask(case.verifier, PROBLEM, STEPS).scores) == len(STEPS)


def test_after_close_everything_is_refused(case: Case) -> None:
    """Last in this file: the verifier is of no use afterwards."""
    case.verifier.close()
    with pytest.raises(BackendError, match="closed"):
        ask(case.verifier, PROBLEM, STEPS)
