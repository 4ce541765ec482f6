"""Parts of written pages that come from the code, between a pair of comments that name them."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from website.plans import Pair, plans_table, printed

_EXAMPLE = Pair(
    "rtx-4090", "Qwen2.5-Math-1.5B-Instruct", "Skywork-o1-Open-PRM-Qwen-2.5-1.5B", num_beams=64
)


def plan_example() -> str:
    """One plan as a session of the terminal."""
    device, models = _EXAMPLE.arguments()[:4], _EXAMPLE.arguments()[4:]
    command = f"$ fasttts plan {' '.join(device)} \\\n      {' '.join(models)}\n"
    return f"```console\n{command}{printed(_EXAMPLE.arguments())}```\n"


FRAGMENTS: Mapping[str, Mapping[str, Callable[[], str]]] = {
    "README.md": {"plans": plans_table},
    "docs/memory.md": {"plan": plan_example},
}
"""By page and name."""


def filled(page: str, text: str) -> str:
    """A page with its parts as the code has them.

    Args:
        page: Its path from the root.
        text: What it says now.

    Raises:
        ValueError: The comments of a part are not there once.
    """
    for name, make in FRAGMENTS[page].items():
        begin, end = f"<!-- {name}: from the code -->\n", f"<!-- end of {name} -->\n"
        pattern = re.compile(f"(?<={re.escape(begin)}).*?(?={re.escape(end)})", re.DOTALL)
        if len(pattern.findall(text)) != 1:
            raise ValueError(f"{page} has not one part between {begin!r} and {end!r}")
        part = f"\n{make()}\n"
        text = pattern.sub(part.replace("\\", r"\\"), text)
    return text


def fill(root: Path) -> None:
    """Writes the parts of every page.

    Args:
        root: The folder of the repository.
    """
    for page in FRAGMENTS:
        path = root / page
        path.write_text(filled(page, path.read_text(encoding="utf-8")), encoding="utf-8")
