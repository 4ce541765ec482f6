"""Tokenizers and chat templates of several kinds, built in memory, for tests of control tokens."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import fasttts.demo
from fasttts.verifiers.generative import SHEPHERD_TAG

QWEN_TEMPLATE = (
    "{%- macro call(c) %}\n<tool_call>\n"
    "{{ {'name': c.function.name, 'arguments': c.function.arguments} | tojson }}\n</tool_call>"
    "{%- endmacro %}"
    "{%- if tools %}<|im_start|>system\n{% for tool in tools %}{{ tool | tojson }}\n{% endfor %}"
    "<|im_end|>\n{% endif %}"
    "{%- for m in messages %}"
    "{%- if m.role == 'tool' %}<|im_start|>user\n<tool_response>\n{{ m.content }}"
    "\n</tool_response><|im_end|>\n"
    "{%- elif m.role == 'assistant' %}"
    "{%- set thoughts = m.reasoning_content or '' %}{%- set said = m.content %}"
    "{%- if '</think>' in m.content %}"
    "{%- set thoughts = m.content.split('</think>')[0].split('<think>')[-1].strip('\n') %}"
    "{%- set said = m.content.split('</think>')[-1].lstrip('\n') %}{%- endif %}"
    "<|im_start|>assistant\n{% if loop.last and thoughts %}<think>\n{{ thoughts }}\n</think>\n\n"
    "{% endif %}{{ said }}{% for c in m.tool_calls or [] %}{{ call(c) }}{% endfor %}<|im_end|>\n"
    "{%- else %}<|im_start|>{{ m.role }}\n{{ m.name or '' }}{{ m.content | trim }}<|im_end|>\n"
    "{%- endif %}{%- endfor %}"
    "{%- if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
INST_TEMPLATE = (
    "{{ bos_token }}{% for tool in tools or [] %}[TOOL] {{ tool }}{% endfor %}"
    "{%- for m in messages %}"
    "{%- if m.role == 'assistant' %}{{ m.reasoning_content }}{{ m.content | trim }}"
    "{% for c in m.tool_calls or [] %}{{ c.function.name }}{{ c.function.arguments }}"
    "{% endfor %}{{ eos_token }}"
    "{%- elif m.role == 'system' %}<<SYS>>{{ m.content }}"
    "{%- else %}{{ m.name }}[INST] {{ m.content | trim }} [/INST]{% endif %}{% endfor %}"
)
HEADER_TEMPLATE = (
    "{% for tool in tools or [] %}<|start_header_id|>tools<|end_header_id|>"
    "{{ tool | tojson(indent=1) }}<|eot_id|>{% endfor %}"
    "{% for m in messages %}{{ '<|start_header_id|>' + m.role + '<|end_header_id|>\n\n' }}"
    "{{ m.reasoning_content or '' }}{{ m.content | trim }}"
    "{% for c in m.tool_calls or [] %}{{ c.function }}{% endfor %}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
_TEXT = (
    "Ann has 3 apples and buys 4 more. Step 1: 3 + 4 = 7 - 2 <b>end</b> [INST] s> <| |> "
    'im_end im_start Yes No {"name": "add", "arguments": {}} _id eot header extra_0 [/ <<SYS>>\n'
)
_LETTERS = sorted({*_TEXT, *map(chr, range(32, 127)), "к", "и", "н", "о"})
_CONTENTS = ("system", "user", "assistant", "tool", "last")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A tokenizer as transformers loads it.

    Attributes:
        make: Makes the tokenizer.
        controls: The texts of its control tokens.
        shows: The messages and the fields of messages whose texts the template shows.
        is_exact: Whether decoding gives back every text.
    """

    make: Callable[[], Any]
    controls: tuple[str, ...]
    shows: tuple[str, ...] = _CONTENTS
    is_exact: bool = True


def demo() -> Any:
    """The bundled generator's."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(fasttts.demo.generator_path())


def demo_verifier() -> Any:
    """The bundled verifier's."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(fasttts.demo.verifier_path())


def qwen() -> Any:
    """Merged bytes; markup and step tag are added tokens, but no special ones."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    _train_merges(tokenizer, pre_tokenizers.ByteLevel.alphabet(), ["<|endoftext|>"])
    tokenizer.add_special_tokens(["<|im_start|>", "<|im_end|>"])
    tags = ["think", "/think", "tool_call", "/tool_call", "tool_response", "/tool_response"]
    names = [*(f"<{tag}>" for tag in tags), "<|fim_prefix|>", "<extra_0>", "\n\n", ": ", "system"]
    tokenizer.add_tokens([AddedToken(name, normalized=False) for name in names])
    return _fast(tokenizer, QWEN_TEMPLATE, eos_token="<|im_end|>", pad_token="<|endoftext|>")


def inst() -> Any:
    """SentencePiece's kind of merges, whose control tokens are in the vocabulary."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split("\n", "isolated"), pre_tokenizers.Metaspace(prepend_scheme="first")]
    )
    tokenizer.decoder = decoders.Metaspace()
    special = ["<unk>", "<s>", "</s>", "[INST]", "[/INST]", "[TOOL]", "<<SYS>>"]
    _train_merges(tokenizer, [*_LETTERS, "▁"], special)
    return _fast(tokenizer, INST_TEMPLATE, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


def header() -> Any:
    """Unigrams over normalised text, with control tokens that are normalised and not special."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers

    names = ["<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
    pieces = [("<unk>", 0.0), ("<s>", 0.0), *((name, 0.0) for name in names)]
    pieces += [(letter, -4.0) for letter in [*_LETTERS, "▁"]]
    pieces += [("▁the", -2.0), ("eot", -3.0), ("<|", -3.0), ("|>", -3.0), ("<s", -3.0)]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=0))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.add_tokens(
        [AddedToken(name, normalized=True, rstrip=name == "<|eot_id|>") for name in names]
    )
    return _fast(tokenizer, HEADER_TEMPLATE, eos_token="<s>")


def _train_merges(tokenizer: Any, alphabet: Iterable[str], special: list[str]) -> None:
    from tokenizers import trainers

    trainer = trainers.BpeTrainer(
        vocab_size=480,
        special_tokens=special,
        initial_alphabet=sorted(alphabet),
        show_progress=False,
    )
    texts = [_TEXT, f" {SHEPHERD_TAG} + - \n" * 50, "<s></s>" * 50]
    tokenizer.train_from_iterator(texts, trainer)


def _fast(tokenizer: Any, template: str, **named: str) -> Any:
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, chat_template=template, **named)


_CHATML = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<extra_0>")
_RESPONSE = ("<tool_response>", "</tool_response>")
KINDS = {
    "demo": Kind(make=demo, controls=(*_CHATML, *_RESPONSE)),
    "demo-verifier": Kind(make=demo_verifier, controls=(*_CHATML, *_RESPONSE)),
    "qwen": Kind(
        make=qwen,
        controls=(*_CHATML, *_RESPONSE, "<|fim_prefix|>"),
        shows=(*_CONTENTS, "name"),
    ),
    "inst": Kind(
        make=inst,
        controls=("<s>", "</s>", "[INST]", "[/INST]", "[TOOL]", "<<SYS>>", "<unk>"),
        shows=(*_CONTENTS, "name", "reasoning"),
        is_exact=False,
    ),
    "header": Kind(
        make=header,
        controls=("<s>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
        shows=(*_CONTENTS, "reasoning"),
        is_exact=False,
    ),
}
