"""Where the thought of an answer begins and ends, and the tokens that end it.

A model thinks between two markers, at the beginning of its answer. The first may be the last of its
prompt, as many chat templates have it. A marker is a token of its own, special or not, or a text.
What is known of thoughts in finished texts is in `fasttts.answers.thoughts`.
"""

from collections.abc import Sequence
from typing import NamedTuple

from fasttts.decoding.tokenizer import INCOMPLETE, Tokenizer, text_behind_control

MAX_LATER_TOKENS = 3
"""Tokens by which the end of a thought is late at most, where it would fall into a character."""

_CONTEXT_TOKENS = 8
_MAX_BEGIN_TOKENS = 32
"""Tokens at the beginning of an answer, or at the end of a prompt, in which a thought begins."""


class Markers(NamedTuple):
    """The texts of a pair of markers.

    Attributes:
        begin: What a thought begins behind.
        end: What ends it.
    """

    begin: str
    end: str


THINK = Markers("<think>", "</think>")
"""DeepSeek-R1, Qwen and most others."""

MARKERS = (
    THINK,
    *(Markers(f"<{name}>", f"</{name}>") for name in ("thinking", "thought", "reasoning")),
    Markers("<seed:think>", "</seed:think>"),
    Markers("[THINK]", "[/THINK]"),  # Magistral
    Markers("◁think▷", "◁/think▷"),  # Kimi-VL
    Markers("<|START_THINKING|>", "<|END_THINKING|>"),  # Cohere
    Markers("<|begin_of_thought|>", "<|end_of_thought|>"),  # LLaMA-o1, Sky-T1
    Markers("<|inner_prefix|>", "<|inner_suffix|>"),  # Apertus
)
"""The markers that are known, in the order in which they are looked for."""


class Beginning(NamedTuple):
    """Where a thought begins.

    Attributes:
        num_tokens: Tokens of the answer before it, its marker included.
        markers: What it stands between.
    """

    num_tokens: int
    markers: Markers


class ThoughtReader:
    """Finds the thought of an answer to one prompt.

    Args:
        tokenizer: The generator's.
        prompt_token_ids: The prompt; its end tells whether it opens the thought.

    Attributes:
        opened: The beginning that the prompt gives every answer; None where it opens no thought.
    """

    def __init__(self, tokenizer: Tokenizer, prompt_token_ids: Sequence[int]) -> None:
        self._tokenizer = tokenizer
        find = getattr(tokenizer, "token_id", None)
        self._token_ids: dict[str, int] = {
            marker: token_id
            for marker in (marker for pair in MARKERS for marker in pair)
            if find is not None and isinstance(token_id := find(marker), int)
        }
        """The markers that are tokens of their own."""
        self._ends: dict[Markers, list[int]] = {}
        tail = prompt_token_ids[-_MAX_BEGIN_TOKENS:]
        text = text_behind_control(tokenizer, tail).rstrip()
        self.opened: Beginning | None = None
        for markers in MARKERS:
            if text.endswith(markers.begin) or self._ends_with(tail, markers.begin):
                self.opened = Beginning(0, markers)
                break

    def find_begin(self, token_ids: Sequence[int]) -> Beginning | None:
        """Finds where the thought begins; None where the answer does not begin with one.

        Args:
            token_ids: The answer; of a long one the first tokens are read.
        """
        if self.opened is not None:
            return self.opened
        for num in range(1, min(len(token_ids), _MAX_BEGIN_TOKENS) + 1):
            text = self._tokenizer.decode(token_ids[:num]).lstrip()
            for markers in MARKERS:
                if text.startswith(markers.begin) or (
                    not text and self._token_ids.get(markers.begin) == token_ids[num - 1]
                ):
                    return Beginning(num, markers)
        return None

    def may_begin(self, num_tokens: int) -> bool:
        """Whether the thought of an answer of so many tokens may begin with the newest one."""
        return self.opened is None and num_tokens <= _MAX_BEGIN_TOKENS

    def has_end(self, token_ids: Sequence[int], markers: Markers) -> bool:
        """Whether tokens behind the beginning of a thought hold its end.

        Args:
            token_ids: The tokens.
            markers: What the thought stands between.
        """
        if self._token_ids.get(markers.end) in token_ids:
            return True
        return markers.end in self._tokenizer.decode(token_ids)

    def place_of_end(self, token_ids: Sequence[int], at: int) -> int | None:
        """Where a thought can be ended from a place on: not inside a character.

        Args:
            token_ids: The answer so far.
            at: Tokens before the place.

        Returns:
            Tokens before the end: `at`, or up to `MAX_LATER_TOKENS` more; None where the answer has
            not got there.
        """
        for end in range(at, at + MAX_LATER_TOKENS + 1):
            if end > len(token_ids):
                return None
            tail = self._tokenizer.decode(token_ids[max(0, end - _CONTEXT_TOKENS) : end])
            if not tail.endswith(INCOMPLETE):
                return end
        return at + MAX_LATER_TOKENS

    def end_token_ids(self, markers: Markers) -> list[int]:
        """The tokens that end a thought: a line break and the marker.

        Args:
            markers: What the thought stands between.
        """
        if markers not in self._ends:
            token_id = self._token_ids.get(markers.end)
            token_ids = self._tokenizer.encode("\n" + markers.end)
            if token_id is not None and token_id not in token_ids:
                # It is a special token, which no text spells.
                token_ids = [*self._tokenizer.encode("\n"), token_id]
            self._ends[markers] = token_ids
        return self._ends[markers]

    def _ends_with(self, token_ids: Sequence[int], marker: str) -> bool:
        """Whether the last token that is not blank is a marker which decoding leaves out."""
        token_id = self._token_ids.get(marker)
        if token_id is None or token_id not in token_ids:
            return False
        at = len(token_ids) - 1 - list(reversed(token_ids)).index(token_id)
        rest = token_ids[at + 1 :]
        is_marked = not set(self._token_ids.values()).isdisjoint(rest)
        return not is_marked and not self._tokenizer.decode(rest).strip()


class ThoughtMask:
    """Blanks the thought of a growing text, each character by a space, its markers included.

    Only `THINK` is known to it, as to the other rules of steps.

    Args:
        is_inside: Whether the text begins inside the thought.
    """

    def __init__(self, *, is_inside: bool) -> None:
        self._is_inside = is_inside
        self._is_over = False
        self._held = ""
        """What may become the opening marker."""
        self._tail = ""
        """The end of the thought so far, in which its end may have begun."""

    def push(self, text: str, *, is_last: bool = False) -> str:
        """Returns the text, blanked; its end is held back while it may begin the thought.

        Args:
            text: What follows the text before.
            is_last: Whether nothing follows, so that nothing is held back.
        """
        if self._is_over:
            return text
        if not self._is_inside:
            text, self._held = self._held + text, ""
            begun = text.lstrip()
            if not is_last and len(begun) < len(THINK.begin) and THINK.begin.startswith(begun):
                self._held = text
                return ""
            self._is_inside = begun.startswith(THINK.begin)
            self._is_over = not self._is_inside
        return text if self._is_over else self._blanked(text)

    def _blanked(self, text: str) -> str:
        window = self._tail + text
        at = window.find(THINK.end)
        if at < 0:
            self._tail = window[-len(THINK.end) + 1 :]
            return " " * len(text)
        self._is_over = True
        rest = window[at + len(THINK.end) :]
        return " " * (len(text) - len(rest)) + rest
