"""`fasttts plan`: the memory plan of two models on a device, without loading them."""

import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

import typer

from fasttts import demo
from fasttts.cli import memory_view, options, render, session
from fasttts.config import DEMO, EngineConfig, engine_config, search_config
from fasttts.errors import ConfigurationError, Role
from fasttts.memory import (
    Device,
    MemoryPlan,
    ModelShape,
    Workload,
    describe_device,
    find_shape,
    named_device,
    plan_on_gpus,
    read_shape,
    this_device,
)

TYPICAL = Workload()
"""Defaults of the workload options."""

_MOST_GPUS = 64

_WHOLE_DEVICE = {"memory", "bandwidth", "compute"}


def _number(text: str) -> Any:
    return typer.Option(metavar="N", help=text)


def _quantity(text: str) -> Any:
    return typer.Option(metavar="SIZE", help=text)


Gpu = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="A device of --list-gpus, or a JSON or TOML file; this machine by default.",
    ),
]
Gpus = Annotated[int, _number("GPUs of that kind in one machine, of which as few as fit are used.")]
GpuMemory = Annotated[str | None, _quantity("The device's memory, such as 24GiB.")]
Bandwidth = Annotated[str | None, _quantity("The rate of that memory, such as 1008GB/s.")]
Compute = Annotated[str | None, _quantity("The device's peak rate, such as 165TFLOPS.")]
Link = Annotated[str | None, _quantity("The rate to the host in one direction, such as 31.5GB/s.")]
HostMemory = Annotated[str | None, _quantity("The host's, for offloading, such as 32GiB.")]
Beams = Annotated[
    int | None, typer.Option("-n", metavar="N", help="Beams that run together; 64 by default.")
]
StepTokens = Annotated[int, _number("Expected tokens of a step.")]
Depth = Annotated[int, _number("Expected steps of an answer.")]
PromptTokens = Annotated[int, _number("Expected tokens of the prompt.")]
Context = Annotated[
    int | None,
    typer.Option(
        "--context",
        "--max-model-len",
        metavar="N",
        help="Longest prompt and answer; by default the model's, on a GPU up to 8192.",
    ),
]
OffloadingName = Annotated[
    str | None,
    typer.Option(
        metavar="WAY",
        help="'auto' whatever is faster, 'none', 'kv' blocks to the host, 'sleep' in turns.",
    ),
]
Utilization = Annotated[
    float | None, typer.Option(metavar="SHARE", help="Of the device's memory; 0.9 by default.")
]
ListGpus = Annotated[bool, typer.Option("--list-gpus", help="Show the known devices.")]
ListModels = Annotated[bool, typer.Option("--list-models", help="Show the known models.")]


def run(
    *,
    gpu: Gpu = None,
    gpus: Gpus = 1,
    generator: options.Generator = None,
    verifier: options.Verifier = None,
    n: Beams = None,
    beam_width: options.BeamWidth = TYPICAL.beam_width,
    step_tokens: StepTokens = TYPICAL.step_tokens,
    depth: Depth = TYPICAL.depth,
    prompt_tokens: PromptTokens = TYPICAL.prompt_tokens,
    context: Context = None,
    dtype: options.DtypeName = None,
    offloading: OffloadingName = None,
    gpu_memory_utilization: Utilization = None,
    gpu_memory: GpuMemory = None,
    bandwidth: Bandwidth = None,
    compute: Compute = None,
    link: Link = None,
    host_memory: HostMemory = None,
    as_json: options.AsJson = False,
    list_gpus: ListGpus = False,
    list_models: ListModels = False,
    debug: options.Debug = False,
) -> None:
    """Show how a generator and a verifier would share a device.

    Nothing is loaded or downloaded: shapes come from a table or from a model's directory, speeds
    from data sheets or from `fasttts calibrate`.
    """
    with session.reported_errors(debug=debug):
        if list_gpus or list_models:
            if as_json:
                raise ConfigurationError("--list-gpus and --list-models print tables, not --json")
            render.stdout().print(*memory_view.lists(devices=list_gpus, models=list_models))
            return
        settings = _settings(
            generator=generator,
            verifier=verifier,
            dtype=dtype,
            max_model_len=context,
            gpu_memory_utilization=gpu_memory_utilization,
            offloading=offloading,
            planned_beams=n,
        )
        _check_beams(settings.planned_beams, beam_width)
        workload = Workload(
            num_beams=settings.planned_beams,
            beam_width=beam_width,
            step_tokens=step_tokens,
            depth=depth,
            prompt_tokens=prompt_tokens,
        )
        given = {"memory": gpu_memory, "bandwidth": bandwidth, "compute": compute}
        given |= {"link": link, "host_memory": host_memory}
        device = _device(gpu, given, settings)
        _print(_plan(settings, device, workload, _checked(gpus)), as_json=as_json)


def _settings(**named: object) -> EngineConfig:
    """The engine's options: the given ones, over the environment's and the defaults."""
    return engine_config(**{name: value for name, value in named.items() if value is not None})


def _check_beams(num_beams: int, beam_width: int) -> None:
    """Refuses beams that no search would take, with the words of the search."""
    try:
        search_config(search="beam_search", n=num_beams, beam_width=beam_width)
    except ConfigurationError as error:
        raise ConfigurationError(
            f"{error}; --beam-width 1 plans for searches without it, such as best_of_n"
        ) from error


def _checked(gpus: int) -> int:
    if not 1 <= gpus <= _MOST_GPUS:
        raise ConfigurationError(f"--gpus {gpus}: one machine has from 1 to {_MOST_GPUS}")
    return gpus


def _device(gpu: str | None, given: Mapping[str, str | None], settings: EngineConfig) -> Device:
    """The named device, or this machine, with the given values on top."""
    values = {key: value for key, value in given.items() if value is not None}
    if gpu is None and values.keys() >= _WHOLE_DEVICE:
        return describe_device({"name": "the described device", **values})
    base = this_device(settings.planned_device) if gpu is None else named_device(gpu)
    return describe_device(values, base) if values else base


def _plan(settings: EngineConfig, device: Device, workload: Workload, gpus: int) -> MemoryPlan:
    generator, verifier = _shape(settings.generator, "generator"), None
    if settings.verifier_model is not None:
        verifier = _shape(settings.verifier_model, "verifier")
    return plan_on_gpus(settings, device, generator, verifier, workload, num_gpus=gpus)


def _shape(name: str, role: Role) -> ModelShape:
    if name != DEMO:
        return find_shape(name)
    folder = demo.generator_path() if role == "generator" else demo.verifier_path()
    return replace(read_shape(folder), name=DEMO)


def _print(plan: MemoryPlan, *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(plan.to_json() + "\n")
    else:
        render.stdout().print(memory_view.plan_view(plan))
