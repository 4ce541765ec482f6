"""Calibration on the fake backend with a clock of its own, and the files it is kept in."""

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from fasttts.backends.fake import FakeGenerator, FakeVerifier
from fasttts.errors import BackendError, ConfigurationError
from fasttts.interfaces import (
    GenerationOutput,
    GenerationRequest,
    Verification,
    VerificationRequest,
)
from fasttts.memory import (
    DEVICES,
    MODELS,
    Calibration,
    Workload,
    calibrate_generator,
    calibrate_verifier,
    make_plan,
    save_calibration,
    try_calibration,
)
from fasttts.memory.curves import Curve, knee


class Clock:
    """Seconds that pass only while a model works."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class TimedGenerator(FakeGenerator):
    """Takes the longer of 8 ms and 0.25 ms a sequence for an iteration, 0.1 ms a prompt token."""

    def __init__(self, clock: Clock, *, max_num_seqs: int = 256, max_model_len: int = 2048) -> None:
        super().__init__(
            max_num_seqs=max_num_seqs,
            max_model_len=max_model_len,
            mean_step_tokens=50.0,
            num_blocks=65_536,
        )
        self.clock = clock
        self.num_new = 0

    def add(self, request: GenerationRequest) -> None:
        super().add(request)
        self.num_new += len(request.prompt_token_ids)

    def step(self) -> list[GenerationOutput]:
        outputs = super().step()
        cached = sum(output.num_cached_tokens for output in outputs) if self.num_new else 0
        new_s = 1e-4 * max(0, self.num_new - cached)
        self.clock.now_s += max(8e-3, 0.25e-3 * len(outputs)) + new_s
        self.num_new = 0
        return outputs


class TimedVerifier(FakeVerifier):
    """Takes 5 ms and 0.01 ms a character."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock = clock

    def score(self, requests: Sequence[VerificationRequest]) -> list[Verification]:
        found = super().score(requests)
        self.clock.now_s += 5e-3 + 1e-5 * sum(each.num_computed_tokens for each in found)
        return found


def test_decoding_is_measured_at_growing_batches() -> None:
    clock = Clock()
    generator = TimedGenerator(clock)
    found = calibrate_generator(generator, "a device", clock=clock, budget_s=100.0)
    assert (found.device, found.model, found.role) == ("a device", "fake-generator", "generator")
    assert generator.num_unfinished() == 0
    assert {1, 2, 4, 8, 16, 32, 64, 128, 256} <= {size for size, _ in found.decode}
    for size, seconds in found.decode:
        assert seconds == pytest.approx(max(8e-3, 0.25e-3 * size))
    assert knee(lambda batch: Curve.fit(found.decode).at(batch), 256, 0.5) == 32
    assert 20 < found.context_tokens < 200


def test_prefilling_is_measured_at_growing_prompts() -> None:
    clock = Clock()
    found = calibrate_generator(TimedGenerator(clock), "a device", clock=clock, budget_s=100.0)
    assert [size for size, _ in found.prefill] == [32, 64, 128, 256, 512, 1024]
    for size, seconds in found.prefill:
        assert seconds == pytest.approx(8e-3 + 1e-4 * size)


def test_a_second_calibration_finds_nothing_in_the_cache() -> None:
    clock = Clock()
    generator = TimedGenerator(clock)
    first = calibrate_generator(generator, "a device", clock=clock, budget_s=100.0)
    second = calibrate_generator(generator, "a device", clock=clock, budget_s=100.0)
    assert dict(second.prefill) == pytest.approx(dict(first.prefill))


def test_verifying_is_measured_at_growing_batches() -> None:
    clock = Clock()
    found = calibrate_verifier(TimedVerifier(clock), "a device", clock=clock, budget_s=100.0)
    assert (found.role, found.decode) == ("verifier", ())
    sizes = [size for size, _ in found.prefill]
    assert sizes == sorted(sizes)
    assert sizes[-1] >= 4096 > sizes[-2]
    for size, seconds in found.prefill:
        assert seconds == pytest.approx(5e-3 + 1e-5 * size, rel=0.02)


def test_the_budget_ends_a_calibration() -> None:
    clock = Clock()
    found = calibrate_generator(TimedGenerator(clock), "a device", clock=clock, budget_s=0.4)
    assert 1 < max(size for size, _ in found.decode) < 256
    assert len(found.prefill) < 6
    assert clock.now_s < 2.0
    clock = Clock()
    scored = calibrate_verifier(TimedVerifier(clock), "a device", clock=clock, budget_s=0.05)
    assert 1 <= len(scored.prefill) < 6


def test_a_small_generator_is_measured_as_far_as_it_goes() -> None:
    clock = Clock()
    generator = TimedGenerator(clock, max_num_seqs=3, max_model_len=200)
    found = calibrate_generator(generator, "a device", clock=clock, budget_s=100.0)
    assert {size for size, _ in found.decode} == {1, 2, 3}
    assert [size for size, _ in found.prefill] == [32, 64, 128]


class Silent(FakeGenerator):
    """Ends every answer with its first token."""

    def __init__(self) -> None:
        super().__init__(script=lambda prompt: "")


def test_a_generator_that_says_nothing_cannot_be_timed() -> None:
    with pytest.raises(BackendError, match="no iteration"):
        calibrate_generator(Silent(), "a device")


class Forgetful(FakeVerifier):
    def score(self, requests: Sequence[VerificationRequest]) -> list[Verification]:
        return [Verification(scores=(0.5,)) for _ in requests]


def test_a_verifier_without_tokens_cannot_be_timed() -> None:
    with pytest.raises(BackendError, match="no computed tokens"):
        calibrate_verifier(Forgetful(), "a device")


FOUND = Calibration(
    device="NVIDIA GeForce RTX 4090",
    model="Qwen/Qwen2.5-Math-1.5B",
    role="generator",
    decode=((1, 0.004), (64, 0.006), (256, 0.02)),
    prefill=((64, 0.004), (2048, 0.06)),
    context_tokens=64,
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "fasttts" / "calibrations"


def test_a_calibration_is_kept(cache: Path) -> None:
    path = save_calibration(FOUND)
    assert path.parent == cache
    assert try_calibration(FOUND.device, FOUND.model, "generator") == FOUND
    assert try_calibration(FOUND.device, "qwen2.5-math-1.5b", "generator") == FOUND
    assert [file.suffix for file in cache.iterdir()] == [".json"]
    save_calibration(FOUND)
    assert len(list(cache.iterdir())) == 1


def test_a_calibration_is_kept_for_each_device_model_and_role() -> None:
    save_calibration(FOUND)
    assert try_calibration("another", FOUND.model, "generator") is None
    assert try_calibration(FOUND.device, "another", "generator") is None
    assert try_calibration(FOUND.device, FOUND.model, "verifier") is None


def test_a_model_directory_is_known_by_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model").mkdir()
    monkeypatch.chdir(tmp_path)
    save_calibration(Calibration(device="d", model="./model", role="verifier"))
    assert try_calibration("d", str(tmp_path / "model"), "verifier") is not None


def test_the_demonstration_models_are_the_same_in_every_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_calibration(Calibration(device="d", model="demo", role="generator"))
    (tmp_path / "demo").mkdir()
    monkeypatch.chdir(tmp_path)
    assert try_calibration("d", "demo", "generator") is not None


def broken(change: Callable[[dict[str, object]], object]) -> str:
    document = json.loads(save_calibration(FOUND).read_text())
    return json.dumps(change(document) or document)


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.update(version=1),
        lambda d: d.pop("version"),
        lambda d: d.pop("calibration"),
        lambda d: d["calibration"].pop("device"),
        lambda d: d["calibration"].update(decode=[[1]]),
        lambda d: d["calibration"].update(decode=[[1, -0.1]]),
        lambda d: d["calibration"].update(prefill=[[0, 0.1]]),
        lambda d: d["calibration"].update(prefill=[[1, float("nan")]]),
        lambda d: d.update(key=["another", "model", "generator"]),
        lambda d: [d],
    ],
)
def test_a_file_that_is_not_ours_is_ignored(
    change: Callable[[dict[str, object]], object], caplog: pytest.LogCaptureFixture
) -> None:
    path = save_calibration(FOUND)
    path.write_text(broken(change))
    with caplog.at_level(logging.WARNING):
        assert try_calibration(FOUND.device, FOUND.model, "generator") is None
    assert "fasttts calibrate" in caplog.text
    path.write_bytes(b"\xff{")
    assert try_calibration(FOUND.device, FOUND.model, "generator") is None


def test_a_cache_that_cannot_be_written_is_an_error(cache: Path) -> None:
    cache.parent.mkdir(parents=True)
    cache.write_text("a file, not a folder")
    with pytest.raises(ConfigurationError, match="cannot be written"):
        save_calibration(FOUND)


def test_a_write_that_fails_leaves_nothing_behind(cache: Path) -> None:
    path = save_calibration(FOUND)
    path.unlink()
    path.mkdir()  # no file can take its place
    with pytest.raises(ConfigurationError, match=r"cannot be written: .*Is a directory"):
        save_calibration(FOUND)
    assert list(cache.iterdir()) == [path]


def test_a_plan_uses_what_was_measured() -> None:
    device, math = DEVICES["rtx-4090"], MODELS["Qwen2.5-Math-1.5B"]
    plan = make_plan(device, math, None, Workload(num_beams=16), calibrations=[FOUND])
    assert plan.is_measured
    slower = replace(FOUND, decode=tuple((size, 2 * seconds) for size, seconds in FOUND.decode))
    doubled = make_plan(device, math, None, Workload(num_beams=16), calibrations=[slower])
    assert plan.predicted_s < doubled.predicted_s < 2 * plan.predicted_s
    # Measured flat up to 64 sequences, and steep from there on.
    assert plan.generator.max_num_seqs == 64
