"""A fake model that writes programs: for each problem one of several answers, by the seed."""

from collections.abc import Mapping, Sequence

from fasttts.backends.fake import FakeGenerator
from fasttts.interfaces import GenerationRequest


class ProgramWriter(FakeGenerator):
    """Writes answers, each sequence one that goes on as it has begun.

    Args:
        answers: The answers to each problem, by a text that its prompt alone has.
    """

    def __init__(self, answers: Mapping[str, Sequence[str]]) -> None:
        super().__init__(self._write, max_model_len=8192)
        self._answers = answers
        self._begun = ""
        self._seed = 0

    def add(self, request: GenerationRequest) -> None:
        """Takes a request; its seed chooses the answer."""
        text = self.tokenizer.decode(request.prompt_token_ids)
        self._begun = text.rpartition("assistant: ")[2]
        self._seed = request.seed
        super().add(request)

    def _write(self, prompt: str) -> str | None:
        answers = next(own for text, own in self._answers.items() if text in prompt)
        fitting = [answer for answer in answers if answer.startswith(self._begun)]
        return fitting[self._seed % len(fitting)] if fitting else None


def fenced(program: str) -> str:
    """An answer with a program in it."""
    return f"Here it is.\n\n```python\n{program.rstrip()}\n```\n\nThat is all."
