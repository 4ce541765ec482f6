"""Memory plans and calibrations for the terminal."""

from collections.abc import Iterator, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from fasttts.memory import (
    DEVICES,
    MODELS,
    Calibration,
    Device,
    EnginePlan,
    Kind,
    MemoryPlan,
)
from fasttts.memory.units import format_bytes, format_rate, format_seconds

_KINDS: dict[Kind, str] = {
    "alone": "The generator has the device for itself",
    "side_by_side": "Both models stay on the device",
    "kv_offload": "Both models stay, KV blocks overflow to the host",
    "time_shared": "The models take turns on the device",
    "apart": "Each model has a device for itself",
}


def plan_view(plan: MemoryPlan) -> RenderableType:
    """Shows the device, the share of each engine, the predicted time, and the reasons."""
    predicted = format_seconds(plan.predicted_s)
    headline = Text(f"{_kind(plan)}: {predicted} a search, predicted", "bold")
    return Group(
        _facts(plan),
        "",
        headline,
        "",
        _shares(plan),
        "",
        *(_listed(reason) for reason in plan.reasons),
    )


def lists(*, devices: bool, models: bool) -> Iterator[RenderableType]:
    """The tables of known devices and of known models.

    Args:
        devices: Whether to show the devices.
        models: Whether to show the models.
    """
    if devices:
        yield _device_table()
    if devices and models:
        yield ""
    if models:
        yield _model_table()


def calibration_view(calibrations: Sequence[Calibration]) -> RenderableType:
    """Tabulates each model's times against sizes."""
    tables: list[RenderableType] = [Text(calibrations[0].device, "bold")]
    for calibration in calibrations:
        for kind, unit in (("decode", "sequences"), ("prefill", "new tokens")):
            points = calibration.decode if kind == "decode" else calibration.prefill
            if points:
                tables += "", _curve_table(f"{calibration.role}, {kind}", unit, points)
    return Group(*tables)


def _kind(plan: MemoryPlan) -> str:
    num_gpus = plan.generator.tensor_parallel_size
    if num_gpus == 1:
        return _KINDS[plan.kind]
    spread = f"The generator is spread over {num_gpus} devices"
    if plan.verifier is None:
        return spread
    place = "on one of its own" if plan.kind == "apart" else "on the first of them"
    return f"{spread}, the verifier {place}"


def _facts(plan: MemoryPlan) -> RenderableType:
    work, grid = plan.workload, Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column()
    grid.add_row("device", _device_line(plan.device))
    for engine in _engines(plan):
        weights = f"{format_bytes(engine.weight_bytes)} in {engine.dtype}"
        each = (
            f" on each of {engine.tensor_parallel_size}" if engine.tensor_parallel_size > 1 else ""
        )
        grid.add_row(engine.role, f"{engine.model} ({weights}{each})")
    grid.add_row(
        "search",
        f"{work.num_beams:,} beams, {work.beam_width} children each; {work.depth} steps of "
        f"{work.step_tokens} tokens after {work.prompt_tokens}",
    )
    return grid


def _device_line(device: Device) -> str:
    parts = [
        format_bytes(device.memory_bytes),
        format_rate(device.bandwidth_bytes_per_s, "B/s"),
        format_rate(device.compute_flops, "FLOPS"),
    ]
    if device.link_bytes_per_s is not None:
        parts.append(f"{format_rate(device.link_bytes_per_s, 'B/s')} to the host")
    return f"{device.name} ({', '.join(parts)})"


def _engines(plan: MemoryPlan) -> list[EnginePlan]:
    return [engine for engine in (plan.generator, plan.verifier) if engine is not None]


def _shares(plan: MemoryPlan) -> Table:
    engines, times = _engines(plan), plan.times
    table = _table("", *(engine.role for engine in engines))
    table.add_row("KV cache", *(format_bytes(each.kv_cache_memory_bytes) for each in engines))
    table.add_row("blocks", *(f"{e.num_blocks:,} of {e.block_size} tokens" for e in engines))
    table.add_row("beams it holds", *(f"{each.num_resident_beams:,}" for each in engines))
    table.add_row("max_num_seqs", *(f"{each.max_num_seqs:,}" for each in engines))
    table.add_row("max_model_len", *(f"{each.max_model_len:,}" for each in engines))
    if any(engine.offload_bytes for engine in engines):
        offloaded = (format_bytes(e.offload_bytes) if e.offload_bytes else "" for e in engines)
        table.add_row("host memory for blocks", *offloaded)
    reserved = (each.activation_bytes + each.runtime_bytes for each in engines)
    table.add_row("activations and graphs", *map(format_bytes, reserved))
    seconds = (times.generation_s, times.verification_s)[: len(engines)]
    table.add_row("predicted time", *map(format_seconds, seconds))
    if times.recompute_s:
        table.add_row("computing prefixes again", format_seconds(times.recompute_s))
    if times.transfer_s:
        table.add_row("transfers", format_seconds(times.transfer_s))
    return table


def _listed(reason: str) -> RenderableType:
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_row("-", Text(reason))
    return Padding(grid, (0, 0, 0, 1))


def _device_table() -> Table:
    table = _table("device", "memory", "bandwidth", "bfloat16", "host link")
    for device in DEVICES.values():
        link = device.link_bytes_per_s
        table.add_row(
            device.name,
            format_bytes(device.memory_bytes),
            format_rate(device.bandwidth_bytes_per_s, "B/s"),
            format_rate(device.compute_flops, "FLOPS"),
            "" if link is None else format_rate(link, "B/s"),
        )
    return table


def _model_table() -> Table:
    table = _table("model", "params", "weights", "KV a token", "context")
    for name, shape in MODELS.items():
        table.add_row(
            name,
            f"{shape.num_parameters / 1e9:.2f} B",
            format_bytes(shape.weight_bytes),
            format_bytes(shape.kv_bytes_per_token),
            f"{shape.max_model_len:,}",
        )
    return table


def _curve_table(title: str, unit: str, points: Sequence[tuple[int, float]]) -> Table:
    table = _table(unit, "time", "tokens a second")
    table.title, table.title_justify = Text(title), "left"
    for size, seconds in points:
        table.add_row(f"{size:,}", format_seconds(seconds), f"{size / seconds:,.0f}")
    return table


def _table(first: str, *others: str) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column(first)
    for name in others:
        table.add_column(name, justify="right")
    return table
