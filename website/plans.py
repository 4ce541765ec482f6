"""What `fasttts plan` says of some cards and models, as a table and as it is printed."""

import re
from dataclasses import dataclass

from typer.testing import CliRunner

from fasttts.cli import app
from fasttts.memory import MemoryPlan
from fasttts.memory.units import format_bytes
from website.tables import table

_WIDTH = "80"


@dataclass(frozen=True, slots=True)
class Pair:
    """Models that a reader may run on a card.

    Attributes:
        device: Name of the card in the planner's table.
        generator: Name of the generator there.
        verifier: Name of the verifier there.
        num_beams: Beams of the search.
    """

    device: str
    generator: str
    verifier: str
    num_beams: int

    def arguments(self) -> list[str]:
        """Arguments of `fasttts plan`."""
        models = ["--generator", self.generator, "--verifier", self.verifier]
        return ["--gpu", self.device, *models, "-n", str(self.num_beams)]


_QWEN_1_5B, _QWEN_7B = "Qwen2.5-Math-1.5B-Instruct", "Qwen2.5-Math-7B-Instruct"
_SKYWORK, _QWEN_PRM = "Skywork-o1-Open-PRM-Qwen-2.5-1.5B", "Qwen2.5-Math-PRM-7B"
PAIRS = (
    Pair("rtx-3070-ti", _QWEN_1_5B, _SKYWORK, 16),
    Pair("rtx-4070-ti", _QWEN_1_5B, _SKYWORK, 64),
    Pair("l4", _QWEN_1_5B, _QWEN_PRM, 64),
    Pair("rtx-4090", _QWEN_1_5B, _QWEN_PRM, 64),
    Pair("rtx-4090", _QWEN_7B, _QWEN_PRM, 64),
    Pair("a100-40gb", _QWEN_7B, _QWEN_PRM, 64),
    Pair("h100", _QWEN_7B, _QWEN_PRM, 256),
)


def printed(arguments: list[str]) -> str:
    """What `fasttts plan` prints, without blanks at the ends of lines.

    Args:
        arguments: Behind the command.

    Raises:
        ValueError: The command fails.
    """
    done = CliRunner().invoke(app, ["plan", *arguments], env={"COLUMNS": _WIDTH})
    if done.exit_code:
        raise ValueError(f"fasttts plan {' '.join(arguments)}: {done.output}")
    return "".join(f"{line.rstrip()}\n" for line in done.stdout.splitlines())


def plans_table() -> str:
    """The pairs, each with what the planner says."""
    return table(
        ("memory", "card", "generator", "verifier", "beams", "`fasttts plan`"), map(_row, PAIRS)
    )


def _row(pair: Pair) -> tuple[str, ...]:
    plan = MemoryPlan.from_json(printed([*pair.arguments(), "--json"]))
    headline = re.search(r"^.*(?=, predicted$)", printed(pair.arguments()), re.MULTILINE)
    if headline is None or plan.verifier is None:
        raise ValueError(f"no plan for two models: {pair}")
    held = plan.generator.num_resident_beams
    caches = (plan.generator.kv_cache_memory_bytes, plan.verifier.kv_cache_memory_bytes)
    return (
        format_bytes(plan.device.memory_bytes),
        f"`{pair.device}`",
        pair.generator,
        pair.verifier,
        str(pair.num_beams),
        f"{headline[0]}; KV {' and '.join(map(format_bytes, caches))}, {held:,} beams held",
    )
