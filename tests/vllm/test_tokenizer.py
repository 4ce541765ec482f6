"""Chat templates and text, through the generator's tokenizer."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tokenizers.processors import TemplateProcessing

import fasttts.demo
from fasttts.backends.vllm.tokenizer import ChatTokenizer, check_tokenizer_file
from fasttts.decoding.grammar import Constraints
from fasttts.decoding.structured_outputs import StructuredOutputs
from fasttts.errors import BackendError, ConfigurationError

pytestmark = pytest.mark.vllm

MakeTokenizer = Callable[..., Any]
ARGUMENTS_TEMPLATE = (
    "{% for m in messages %}{{ m.content }}{% for c in m.tool_calls or [] %}"
    "{{ c.function.arguments is mapping }} {{ c.function.arguments }}{% endfor %}{% endfor %}"
)


@pytest.fixture
def tokenizer(make_tokenizer: MakeTokenizer) -> ChatTokenizer:
    return ChatTokenizer(make_tokenizer(), "tiny", (7,))


def shown(tokenizer: ChatTokenizer, token_ids: list[int]) -> str:
    text: str = tokenizer.backend.decode(token_ids)
    return text


def test_messages_go_through_the_template(tokenizer: ChatTokenizer) -> None:
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "1 + 2?"}]
    assert shown(tokenizer, tokenizer.encode_chat(messages)) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n1 + 2?<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


def test_markers_become_single_tokens(tokenizer: ChatTokenizer) -> None:
    token_ids = tokenizer.encode_chat([{"role": "user", "content": "x"}])
    assert token_ids.count(tokenizer.backend.convert_tokens_to_ids("<|im_start|>")) == 2


def test_texts_begin_as_the_models_own_tokenizer_begins_them(
    make_tokenizer: MakeTokenizer, tokenizer: ChatTokenizer
) -> None:
    assert tokenizer.text_start_ids == ()
    own = make_tokenizer()
    own.bos_token = "<|im_start|>"
    bos = own.convert_tokens_to_ids("<|im_start|>")
    assert ChatTokenizer(own, "tiny").text_start_ids == (), "it has one, and puts it nowhere"
    own.backend_tokenizer.post_processor = TemplateProcessing(
        single="<|im_start|> $A", special_tokens=[("<|im_start|>", bos)]
    )
    assert ChatTokenizer(own, "tiny").text_start_ids == (bos,)


def test_tools_reach_the_template(tokenizer: ChatTokenizer) -> None:
    tool = {"type": "function", "function": {"name": "add", "parameters": {}}}
    text = shown(tokenizer, tokenizer.encode_chat([{"role": "user", "content": "x"}], [tool]))
    assert '"name": "add"' in text
    assert "system" not in shown(tokenizer, tokenizer.encode_chat([{"role": "user"}], []))


def call(arguments: object) -> dict[str, Any]:
    function = {"name": "add", "arguments": arguments}
    return {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "1", "type": "function", "function": function}],
    }


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ('{"a": 1}', "True {'a': 1}"),
        ({"a": 1}, "True {'a': 1}"),
        ("{broken", "False {broken"),
    ],
)
def test_arguments_of_calls_are_objects_for_the_template(
    make_tokenizer: MakeTokenizer, arguments: object, expected: str
) -> None:
    tokenizer = ChatTokenizer(make_tokenizer(ARGUMENTS_TEMPLATE), "tiny")
    message = call(arguments)
    assert shown(tokenizer, tokenizer.encode_chat([message])) == expected
    assert message == call(arguments), "the caller's message is unchanged"


def test_a_call_in_another_form_is_left_alone(make_tokenizer: MakeTokenizer) -> None:
    tokenizer = ChatTokenizer(make_tokenizer("{{ messages[0].tool_calls }}"), "tiny")
    message = {"role": "assistant", "content": None, "tool_calls": [{"name": "add"}]}
    assert shown(tokenizer, tokenizer.encode_chat([message])) == "[{'name': 'add'}]"


def test_no_content_is_empty_content(tokenizer: ChatTokenizer) -> None:
    text = shown(tokenizer, tokenizer.encode_chat([{"role": "user", "content": None}]))
    assert "None" not in text


def test_a_model_without_template_is_refused(make_tokenizer: MakeTokenizer) -> None:
    with pytest.raises(ConfigurationError, match="'base' has no chat template"):
        ChatTokenizer(make_tokenizer(None), "base").encode_chat([{"role": "user", "content": "x"}])


def test_a_template_may_reject_messages(make_tokenizer: MakeTokenizer) -> None:
    strict = "{{ raise_exception('roles must alternate') }}"
    with pytest.raises(ConfigurationError, match=r"'strict' rejects.*roles must alternate"):
        ChatTokenizer(make_tokenizer(strict), "strict").encode_chat([{"role": "user"}])


@pytest.mark.parametrize("text", ["So 1 + 2 = 3.\n\nNext", "  spaces  kept ", "äß→\n", ""])
def test_text_survives(tokenizer: ChatTokenizer, text: str) -> None:
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_decoding_leaves_special_tokens_out(tokenizer: ChatTokenizer) -> None:
    end = tokenizer.backend.convert_tokens_to_ids("<|im_end|>")
    assert tokenizer.decode((*tokenizer.encode("done"), end)) == "done"


def test_end_tokens_come_from_three_places(tokenizer: ChatTokenizer) -> None:
    names = ["<|endoftext|>", "<|im_end|>"]
    assert tokenizer.eos_token_ids == {7, *tokenizer.backend.convert_tokens_to_ids(names)}


@pytest.mark.parametrize("content", ["{}", "{", '{"model": {}, "added_tokens": []}'])
def test_a_file_that_holds_no_tokenizer_is_named(tmp_path: Path, content: str) -> None:
    check_tokenizer_file("generator", tmp_path)
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(
        ConfigurationError, match=r"verifier='.*tokenizer\.json' describes no token"
    ):
        check_tokenizer_file("verifier", tmp_path)


def test_texts_that_look_like_tags_are_written_with_their_tokens() -> None:
    """The demonstration models have a token for `<tool_call>` that is no special one."""
    from transformers import AutoTokenizer

    folder = Path(fasttts.demo.__file__).parent / "generator"
    tokenizer = ChatTokenizer(AutoTokenizer.from_pretrained(folder), "demo")
    size = len(tokenizer.backend)
    text = "<tool_call>\n12 + 30\n\n</tool_call>\u00e9"
    token_ids = [*tokenizer.encode(text), *tokenizer.eos_token_ids]
    outputs = StructuredOutputs(choice=(text, "no"))
    constraint = Constraints(lambda: tokenizer.vocabulary(size + 40), size + 40).start(
        outputs.decoding_grammar(), ()
    )
    assert tokenizer.backend.convert_tokens_to_ids("<tool_call>") == token_ids[0]
    for number, token_id in enumerate(token_ids[: -len(tokenizer.eos_token_ids)]):
        assert constraint.allowed(token_ids[:number])[token_id]
    written = token_ids[: -len(tokenizer.eos_token_ids)]
    ends = constraint.allowed(written).nonzero()[0]
    assert set(ends.tolist()) == set(tokenizer.eos_token_ids)


def test_a_tokenizer_that_cannot_be_read_is_refused(tokenizer: ChatTokenizer) -> None:
    with pytest.raises(BackendError, match="tokenizer of 'tiny'"):
        tokenizer.vocabulary(3)
