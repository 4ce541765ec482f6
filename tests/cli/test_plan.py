"""`fasttts plan` and `fasttts calibrate`."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from fasttts import EngineConfig, FastTTS
from fasttts.backends.fake import FakeGenerator
from fasttts.errors import ConfigurationError
from fasttts.memory import (
    DEVICES,
    MODELS,
    Calibration,
    MemoryPlan,
    Workload,
    make_plan,
    try_calibration,
)
from fasttts.memory.detect import this_device_name
from tests.engines import OpenWith

Run = Callable[..., Result]

PAIR = (
    "--generator",
    "Qwen2.5-Math-1.5B-Instruct",
    "--verifier",
    "Skywork-o1-Open-PRM-Qwen-2.5-1.5B",
)
LARGE_PAIR = ("--generator", "Qwen2.5-Math-7B-Instruct", "--verifier", "Qwen2.5-Math-PRM-7B")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_the_plan_of_the_issue_works_offline(run: Run) -> None:
    done = run("plan", "--gpu", "rtx-4090", *PAIR, "-n", "64")
    assert done.exit_code == 0, done.stderr
    assert done.stderr == ""
    assert max(map(len, done.stdout.splitlines())) <= 80
    for words in (
        "rtx-4090 (24.0 GiB, 1,008 GB/s, 165 TFLOPS, 31.5 GB/s to the host)",
        "Skywork-o1-Open-PRM-Qwen-2.5-1.5B (2.88 GiB in bfloat16)",
        "Both models stay on the device: ",
        "KV cache",
        "max_num_seqs",
        "predicted time",
        "80 % of its peak",
    ):
        assert words in done.stdout, done.stdout


def test_json_is_the_plan_and_nothing_else(run: Run) -> None:
    done = run("plan", "--gpu", "rtx-4090", *PAIR, "-n", "64", "--json")
    assert done.exit_code == 0, done.stderr
    plan = MemoryPlan.from_json(done.stdout)
    assert done.stdout == plan.to_json() + "\n"
    assert plan.workload.num_beams == 64
    assert plan.kind == "side_by_side"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--gpus", "0", *PAIR], "one machine has from 1 to 64"),
        (["--gpus", "2", *LARGE_PAIR, "--gpu-memory", "7GiB"], "too little memory"),
        (
            ["--gpus", "2", *PAIR[:2], *LARGE_PAIR[2:], "--gpu-memory", "10GiB"],
            "too little memory on a second rtx-4090",
        ),
    ],
)
def test_gpus_that_cannot_be_planned(run: Run, arguments: list[str], words: str) -> None:
    done = run("plan", "--gpu", "RTX 4090", *arguments)
    assert done.exit_code == 2
    assert words in " ".join(done.stderr.split())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([*LARGE_PAIR], ["The models take turns on the device", "transfers", "computing prefixes"]),
        (["--generator", "Qwen3-4B"], ["The generator has the device for itself"]),
        (
            [*PAIR, "--gpu-memory", "9GiB", "-n", "512", "--offloading", "kv"],
            ["KV blocks overflow to the host", "host memory for blocks"],
        ),
        (["--generator", "demo", "--dtype", "float32"], ["demo (", " MiB in float32)"]),
        ([*LARGE_PAIR, "--gpus", "2"], ["Each model has a device for itself", "adds both times"]),
        (["--generator", "Qwen3-4B", "--gpus", "2"], ["One GPU is enough; the other is"]),
        (
            ["--generator", "Qwen2.5-14B-Instruct", *PAIR[2:], "--gpus", "2"],
            [
                "The generator is spread over 2 devices, the verifier on the first of",
                "on each of 2)",
                "opened so with tensor_parallel_size=2.",
            ],
        ),
        (
            ["--generator", "Qwen2.5-14B-Instruct", *LARGE_PAIR[2:], "--gpus", "4"],
            [
                "the verifier on one of its own",
                "tensor_parallel_size=2 and verifier_device=2;",
            ],
        ),
    ],
)
def test_other_plans(run: Run, arguments: list[str], words: list[str]) -> None:
    done = run("plan", "--gpu", "RTX 4090", *arguments)
    assert done.exit_code == 0, done.stderr
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert [word for word in words if word not in done.stdout] == []


@pytest.mark.parametrize(
    ("variable", "words"),
    [
        ("VERIFIER_DEVICE=5", "FASTTTS_VERIFIER_DEVICE)=5: --gpus says 2 GPUs"),
        ("TENSOR_PARALLEL_SIZE=4", "FASTTTS_TENSOR_PARALLEL_SIZE)=4 from GPU 0 on: --gpus says 2"),
        ("GENERATOR_DEVICE=3", "FASTTTS_GENERATOR_DEVICE)=3: --gpus says 2 GPUs"),
    ],
)
def test_no_plan_has_gpus_that_are_not_there(
    run: Run, monkeypatch: pytest.MonkeyPatch, variable: str, words: str
) -> None:
    name, _, value = variable.partition("=")
    monkeypatch.setenv(f"FASTTTS_{name}", value)
    done = run("plan", "--gpu", "rtx-4090", "--gpus", "2", *PAIR)
    assert (done.exit_code, done.stdout) == (2, "")
    assert words in " ".join(done.stderr.split())


def test_a_cpu_is_not_several_gpus(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "host.toml"
    file.write_text('memory = "64GiB"\nbandwidth = "50GB/s"\ncompute = "1TFLOPS"\nis_cpu = true\n')
    done = run("plan", "--gpu", file, "--gpus", "2", *PAIR)
    assert done.exit_code == 2
    assert done.stderr.startswith("fasttts: --gpus 2: host is no GPU; leave it out")
    monkeypatch.setenv("FASTTTS_GENERATOR_DEVICE", "3")
    done = run("plan", "--gpu", file, *PAIR)
    assert done.exit_code == 2
    assert "GENERATOR_DEVICE)=3: host is no GPU" in done.stderr


def test_models_take_turns_though_there_are_two_gpus(run: Run) -> None:
    asked = ("--gpu", "rtx-4090", "--gpus", "2", *LARGE_PAIR, "--offloading", "sleep")
    done = run("plan", *asked)
    assert done.exit_code == 0, done.stderr
    assert "The models take turns on the device" in done.stdout
    assert "One GPU is enough; the other is" in done.stdout


def test_every_option_reaches_the_plan(run: Run) -> None:
    done = run(
        *("plan", "--json", "--gpu", "rtx-4090", *PAIR, "-n", "32", "--beam-width", "8"),
        *("--step-tokens", "50", "--depth", "6", "--prompt-tokens", "100", "--context", "1024"),
        *("--dtype", "float16", "--offloading", "sleep", "--gpu-memory-utilization", "0.8"),
        *("--gpu-memory", "20GiB", "--bandwidth", "1TB/s", "--compute", "100TFLOPS"),
        *("--link", "16GB/s", "--host-memory", "64GiB"),
    )
    assert done.exit_code == 0, done.stderr
    plan = MemoryPlan.from_json(done.stdout)
    work, device = plan.workload, plan.device
    assert (work.num_beams, work.beam_width, work.step_tokens) == (32, 8, 50)
    assert (work.depth, work.prompt_tokens, work.max_model_len) == (6, 100, 1024)
    assert (plan.generator.dtype, plan.kind) == ("float16", "time_shared")
    assert plan.usable_bytes == 16 << 30
    assert (device.memory_bytes, device.bandwidth_bytes_per_s) == (20 << 30, 1e12)
    assert (device.compute_flops, device.link_bytes_per_s) == (1e14, 16e9)
    assert device.host_memory_bytes == 64 << 30


def test_a_device_may_be_described(run: Run, tmp_path: Path) -> None:
    values = ("--gpu-memory", "16GiB", "--bandwidth", "500GB/s", "--compute", "50TFLOPS")
    described = run("plan", *PAIR, *values)
    assert "the described device (16.0 GiB, 500 GB/s, 50.0 TFLOPS)" in described.stdout
    file = tmp_path / "mine.toml"
    file.write_text('memory = "16GiB"\nbandwidth = "500GB/s"\ncompute = "50TFLOPS"\n')
    assert "mine (16.0 GiB, 500 GB/s, 50.0 TFLOPS)" in run("plan", *PAIR, "--gpu", file).stdout
    on_gpu = MemoryPlan.from_json(run("plan", *PAIR, "--gpu", file, "--json").stdout)
    file.write_text(file.read_text() + "is_cpu = true\n")
    on_cpu = MemoryPlan.from_json(run("plan", *PAIR, "--gpu", file, "--json").stdout)
    assert (on_gpu.device.is_cpu, on_cpu.device.is_cpu) == (False, True)
    assert (on_gpu.generator.dtype, on_cpu.generator.dtype) == ("bfloat16", "float32")


def test_this_machine_and_its_models_are_the_default(run: Run) -> None:
    done = run("plan", "--json")
    assert done.exit_code == 0, done.stderr
    plan = MemoryPlan.from_json(done.stdout)
    assert plan.device.name == this_device_name()
    assert plan.generator.model == "demo"
    assert plan.verifier is not None
    assert plan.verifier.model == "demo"


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("--list-gpus", ["rtx-3070-ti", "8.00 GiB", "h200", "4,800 GB/s", "63.0 GB/s"]),
        ("--list-models", ["Skywork-o1-Open-PRM-Qwen-2.5-1.5B ", "1.54 B", "28.0 KiB", "131,072"]),
    ],
)
def test_lists(run: Run, option: str, words: list[str]) -> None:
    done = run("plan", option)
    assert done.exit_code == 0
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert [word for word in words if word not in done.stdout] == []
    assert done.stdout in run("plan", "--list-gpus", "--list-models").stdout
    refused = run("plan", option, "--json")
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "print tables, not --json" in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--gpu", "rtx-4900"], "did you mean 'rtx-4090'?"),
        (["--gpu", "none.json"], "device file 'none.json' cannot be read"),
        (["--generator", "Qwen2.5-Math-1.5"], "did you mean 'Qwen2.5-Math-1.5B'?"),
        (["--verifier", "nobody/knows-it"], "--list-models"),
        (["-n", "0"], "planned_beams=0"),
        (["-n", "10"], "n=10 is not a multiple of beam_width=4: try n=8; --beam-width 1"),
        (["-n", "3"], "n=3 is not a multiple of beam_width=4: try n=4"),
        (["-n", "64", "--beam-width", "7"], "n=64 is not a multiple of beam_width=7: try n=63"),
        (["--depth", "1000"], "64,256 tokens is more than the 4,096"),
        (["--context", "64"], "the context is 64"),
        (["--dtype", "int4"], "dtype='int4'"),
        (["--offloading", "disk"], "offloading='disk'"),
        (["--gpu-memory", "lots"], "memory='lots'"),
        (["--gpu-memory-utilization", "2"], "gpu_memory_utilization=2.0"),
        ([*LARGE_PAIR, "--offloading", "none"], "too little memory on rtx-4090"),
    ],
)
def test_a_bad_input_is_one_line(run: Run, arguments: list[str], message: str) -> None:
    done = run("plan", "--gpu", "rtx-4090", *arguments)
    assert done.exit_code == 2
    assert done.stdout == ""
    assert done.stderr.startswith("fasttts: ")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_calibrating_prints_and_keeps_what_was_measured(
    run: Run, engines: list[FastTTS], named: list[tuple[str, str | None]]
) -> None:
    done = run("calibrate")
    assert done.exit_code == 0, done.stderr
    assert named == [("demo", "demo")]
    assert [engine.is_closed for engine in engines] == [True]
    assert max(map(len, done.stdout.splitlines())) <= 80
    for title in ("generator, decode", "generator, prefill", "verifier, prefill"):
        assert title in done.stdout
    assert "calibrations" in done.stderr
    found = try_calibration(this_device_name(), "fake-generator", "generator")
    assert found is not None
    assert found.decode[0][0] == 1
    assert try_calibration(this_device_name(), "fake-verifier", "verifier") is not None


@pytest.mark.parametrize(("planned_beams", "expected"), [(None, 256), ("8", 8)])
def test_a_planned_engine_is_measured_with_room_and_filed_under_its_device(
    run: Run,
    open_with: OpenWith,
    monkeypatch: pytest.MonkeyPatch,
    planned_beams: str | None,
    expected: int,
) -> None:
    if planned_beams is not None:
        monkeypatch.setenv("FASTTTS_PLANNED_BEAMS", planned_beams)
    opened: list[EngineConfig] = []

    def open_engine(settings: EngineConfig) -> FastTTS:
        opened.append(settings)
        plan = make_plan(DEVICES["l4"], MODELS["Qwen3-0.6B"], None, Workload())
        return FastTTS(FakeGenerator(), plan=plan)

    open_with(open_engine)
    done = run("calibrate")
    assert done.exit_code == 0, done.stderr
    assert opened[0].planned_beams == expected
    assert try_calibration("l4", "fake-generator", "generator") is not None
    assert try_calibration(this_device_name(), "fake-generator", "generator") is None


def test_a_calibration_as_json(run: Run, engines: list[FastTTS]) -> None:
    done = run("calibrate", "--json")
    assert [each["role"] for each in json.loads(done.stdout)] == ["generator", "verifier"]


def test_a_cache_that_cannot_be_written_is_told_before_anything_is_loaded(
    run: Run, engines: list[FastTTS], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    done = run("calibrate")
    assert done.exit_code == 2
    assert done.stdout == ""
    message = " ".join(done.stderr.split())
    assert "calibrations cannot be written" in message
    assert "XDG_CACHE_HOME" in message
    assert engines == []


@pytest.mark.parametrize("arguments", [(), ("--json",)])
def test_what_was_measured_is_printed_where_it_can_be_kept_no_longer(
    run: Run, engines: list[FastTTS], monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    def full(calibration: Calibration) -> Path:
        raise ConfigurationError("the disk is full")

    monkeypatch.setattr("fasttts.cli.calibrate.save_calibration", full)
    done = run("calibrate", *arguments)
    assert done.exit_code == 2
    assert "decode" in done.stdout
    assert done.stderr == "fasttts: the disk is full\n"


def test_a_calibration_leaves_nothing_else_behind(
    run: Run, engines: list[FastTTS], tmp_path: Path
) -> None:
    assert run("calibrate").exit_code == 0
    kept = [path.suffix for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert kept == [".json", ".json"]


def test_a_generator_over_several_gpus_is_not_measured(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FASTTTS_TENSOR_PARALLEL_SIZE", "2")
    done = run("calibrate")
    assert done.exit_code == 2
    assert "one GPU is measured; leave it out" in " ".join(done.stderr.split())
