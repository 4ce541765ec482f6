"""`fasttts check` on fake models."""

import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from fasttts import EngineConfig, FastTTS, SearchResult
from fasttts.backends.fake import FakeGenerator, FakeTokenizer, FakeVerifier
from fasttts.check import Report, word_problems
from fasttts.cli.check_view import Asked, command_lines, python_lines
from fasttts.config import engine_config
from fasttts.demo.problems import generate_problems
from fasttts.prm import LabelCost, LabeledRollout, LabeledStep, LabelRecord
from fasttts.types import Message
from tests.engines import OpenWith
from tests.searches import UNTIMED

Run = Callable[..., Result]
KNOWN = {p.text: p.answer for p in word_problems(0, 32)}
KNOWN |= {p.text: str(p.answer) for p in generate_problems("dev", 0, 32)}


def says(prompt: str) -> str | None:
    """Solves the built-in problems at once; others are up to the random model."""
    return next((f"\\boxed{{{KNOWN[text]}}}" for text in KNOWN if text in prompt), None)


def knows(problem: str, steps: tuple[str, ...]) -> float:
    """Scores what ends in the digit that the problem asks for above everything else."""
    return 0.9 if steps[-1].endswith(f"{{{problem[-1]}}}") else 0.2


@pytest.fixture(autouse=True)
def models(run: Run, open_with: OpenWith) -> list[EngineConfig]:
    """Lets the command load fake models; the configurations that it loaded."""
    loaded: list[EngineConfig] = []

    def open_engine(settings: EngineConfig) -> FastTTS:
        loaded.append(settings)
        verifier = None if settings.verifier is None else FakeVerifier(knows)
        return FastTTS(FakeGenerator(says, mean_steps=6.0), verifier, scheduling=UNTIMED)

    open_with(open_engine)
    return loaded


@pytest.fixture
def digits(tmp_path: Path) -> Path:
    """Problems that the random model solves now and then."""
    file = tmp_path / "digits.jsonl"
    problems = [{"problem": f"Say the digit {n}", "answer": n} for n in range(10)]
    file.write_text("\n".join(map(json.dumps, problems)), encoding="utf-8")
    return file


def test_the_findings_fit_a_terminal(run: Run) -> None:
    done = run("check")
    assert done.exit_code == 0, done.output
    findings, _, code = done.stdout.partition("fasttts solve")
    assert max(map(len, findings.splitlines())) <= 80
    for section in ("Memory", "Speed", "Template", "Steps", "Answers", "Accuracy", "Verifier"):
        assert f"\n{section}\n" in findings
    assert "Suggestion for 10 s an answer" in findings
    assert "loading took" in findings
    assert code
    assert done.stderr == ""


def test_the_suggestion_can_be_run(run: Run, digits: Path) -> None:
    """As a command and as a program: both make the same search with the measured models."""
    models = ("--generator", "my/model", "--verifier", "judge")
    done = run("check", *models, "--problems", str(digits), "--latency", "60")
    assert done.exit_code == 0, done.output
    code = done.stdout[done.stdout.index("fasttts solve") :].splitlines()
    command, program = code[0], code[code.index("from fasttts import FastTTS, SearchConfig") :]
    arguments = shlex.split(command.removesuffix(" < problem.txt"))[1:]
    solved = run(*arguments, "--json", stdin="How much is 2 + 2?")
    assert solved.exit_code == 0, solved.output
    found = SearchResult.from_json(solved.stdout)
    names: dict[str, object] = {"problem": "How much is 2 + 2?"}
    exec("\n".join(program).replace("router.search", "engine.search"), names)
    result, engine = names["result"], names["engine"]
    assert isinstance(result, SearchResult)
    assert isinstance(engine, FastTTS)
    engine.close()
    assert result.config == found.config
    assert (result.config["search"], result.config["n"]) == ("beam_search", 64)
    assert "the verifier separates right from wrong" in done.stdout


def test_a_verifier_without_use_is_not_suggested(run: Run) -> None:
    """All answers are right, so nothing is to be scored."""
    done = run("check", "--generator", "my/model", "--verifier", "judge")
    assert done.exit_code == 0, done.output
    assert "100% of single answers are right already" in done.stdout
    assert "\nfasttts solve - --generator my/model --search none" in done.stdout
    assert "\nengine = FastTTS.load('my/model')\n" in done.stdout


def test_the_router_is_part_of_the_code(run: Run) -> None:
    report = Report.from_json(run("check", "--json").stdout)
    options = {"search": "beam_search", "n": 8}
    suggestion = replace(
        report.suggestion, threshold=0.25, uses_verifier=True, options=options, system=None
    )
    report = replace(report, suggestion=suggestion)
    settings = engine_config(generator="my/model", verifier="judge")
    asked = Asked(settings=settings, system="Be brief.", problems=Path("my problems.jsonl"))
    models = "--generator my/model --verifier judge"
    assert command_lines(report, asked) == [
        f"fasttts solve - {models} --search beam_search -n 8 --system 'Be brief.' < problem.txt",
        f"fasttts calibrate-router 'my problems.jsonl' {models} -n 8  # for search='auto', chat",
    ]
    assert python_lines(report, asked)[-4:] == [
        "engine = FastTTS.load('my/model', verifier='judge')",
        "config = SearchConfig(search='beam_search', n=8)",
        "router = Router(engine, Cascade(threshold=0.25))",
        "result = router.search(problem, config=config, system='Be brief.')",
    ]


def test_a_terminal_shows_the_seconds_left(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert " s left)" in run("check").stderr
    monkeypatch.delenv("FORCE_COLOR")
    assert run("check").stderr == ""


def test_json_is_one_document(run: Run) -> None:
    done = run("check", "--json", "--latency", "3", "--seed", "2")
    assert done.exit_code == 0, done.output
    report = Report.from_json(done.stdout)
    assert report.suggestion.latency_s == 3.0
    assert report.summary.num_ended == 256
    assert json.loads(done.stdout).keys() >= {"findings", "suggestion", "speeds", "summary"}


@pytest.mark.parametrize(
    ("arguments", "verifier"),
    [
        ((), "demo"),
        (("--verifier", "none"), None),
        (("--generator", "my/model"), None),
        (("--generator", "my/model", "--verifier", "judge"), "judge"),
    ],
)
def test_the_verifier_is_the_named_one(
    run: Run, models: list[EngineConfig], arguments: tuple[str, ...], verifier: str | None
) -> None:
    done = run("check", *arguments)
    assert done.exit_code == 0, done.output
    assert models[0].verifier == verifier
    assert ("--verifier judge lets" in done.stdout) == (verifier is None)


def test_problems_come_from_a_file(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "problems.jsonl"
    lines = ['{"problem": "How much is 1 + 1?", "answer": 2}', "", '{"problem": "And 2 + 2?"}']
    file.write_text("\n".join(lines), encoding="utf-8")
    report = Report.from_json(run("check", "--problems", str(file), "--json").stdout)
    assert report.summary.num_ended == 16
    assert report.summary.num_graded == 8


def test_the_preset_is_suggested_by_name(run: Run) -> None:
    done = run("check", "--system", "preset:math", "--verifier", "none")
    assert "--system preset:math" in done.stdout
    assert "system=SYSTEM_PRESETS['math'])" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--latency", "0"), "--latency 0.0: a number of seconds above 0"),
        (("--time-limit", "nan"), "--time-limit nan: a number of seconds above 0"),
        (("--max-tokens", "0"), "max_tokens=0"),
        (("--system", "preset:maths"), "there is no such preset"),
        (("--problems", "nowhere.jsonl"), "cannot be read"),
    ],
)
def test_mistakes_are_one_line_before_models_are_loaded(
    run: Run, models: list[EngineConfig], arguments: tuple[str, ...], message: str
) -> None:
    done = run("check", *arguments)
    assert done.exit_code == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert models == []


def test_lines_without_a_problem_are_named(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "problems.jsonl"
    file.write_text('{"answer": 2}', encoding="utf-8")
    done = run("check", "--problems", str(file))
    assert done.exit_code == 2
    assert "line 1: the field 'problem' is missing, not a text" in done.stderr


class Interrupted(FakeTokenizer):
    """Somebody presses Ctrl-C while the hundredth prompt of a built-in problem is rendered."""

    def __init__(self) -> None:
        self._num_prompts = 0

    def encode_chat(
        self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] | None = None
    ) -> list[int]:
        self._num_prompts += messages[-1]["content"] in KNOWN
        if self._num_prompts == 100:
            raise KeyboardInterrupt
        return super().encode_chat(messages, tools)


def test_ctrl_c_shows_what_is_known(run: Run, open_with: OpenWith) -> None:
    generator = FakeGenerator(says)
    generator.tokenizer = Interrupted()
    open_with(lambda settings: FastTTS(generator, FakeVerifier(knows), scheduling=UNTIMED))
    done = run("check")
    assert done.exit_code == 130
    assert "interrupted after" in done.stdout
    assert " of 256 planned *" in done.stdout
    assert "Suggestion for 10 s" in done.stdout
    assert done.stderr == "fasttts: interrupted\n"


def labelled_step(text: str, *, num_right: int) -> LabeledStep:
    return LabeledStep(
        text=text, num_right=num_right, num_continuations=4, soft=num_right / 4, hard=num_right > 0
    )


def labels_of(file: Path, *, num_right: Sequence[int]) -> Path:
    """Labels of answers to ten problems; the verifier knows the right digit, and no other."""
    with file.open("w", encoding="utf-8") as lines:
        for number in range(10):
            rollouts = [
                LabeledRollout(
                    steps=(labelled_step(f"\\boxed{{{number + index}}}", num_right=right),),
                    answer=None,
                    is_right=index == 0,
                )
                for index, right in enumerate(num_right)
            ]
            record = LabelRecord(
                index=number,
                problem=str(number),
                text=f"Say the digit {number}",
                rollouts=tuple(rollouts),
                num_prefixes=len(rollouts),
                error=None,
                run=LabelCost(elapsed_s=0.0, generated_tokens=0),
            )
            lines.write(record.to_json() + "\n")
    return file


def test_a_verifier_is_judged_by_labels(run: Run, tmp_path: Path) -> None:
    """Scores are 0.9 and 0.2 where labels are 3/4 and 0: ranked rightly, off by 0.175."""
    file = labels_of(tmp_path / "labels.jsonl", num_right=(3, 0))
    done = run("check", "--labels", str(file), "--verifier", "some/model", "--json")
    assert done.exit_code == 0, done.output
    report = Report.from_json(done.stdout)
    assert report.labelled is not None
    quality = report.labelled.quality
    assert (report.labelled.num_rollouts, report.labelled.num_scored) == (20, 20)
    assert (quality.num_steps, quality.num_problems, quality.base_rate) == (20, 10, 0.375)
    # Of the pairs of a right and a wrong continuation, one in five has the same step twice.
    assert quality.auc == pytest.approx(0.8 + 0.2 / 2)
    assert quality.brier == pytest.approx((0.15**2 + 0.2**2) / 2)
    assert quality.calibration_error == pytest.approx(0.175)
    findings = {found.name: found for found in report.findings}
    assert findings["labelled steps"].verdict == "fine"
    assert "AUC 0.90" in findings["labelled steps"].value
    assert findings["calibration"].verdict == "note"


def test_a_verifier_that_labels_speak_against_is_told(run: Run, tmp_path: Path) -> None:
    file = labels_of(tmp_path / "labels.jsonl", num_right=(0, 4))
    done = run("check", "--labels", str(file), "--verifier", "some/model")
    assert done.exit_code == 0, done.output
    assert "AUC 0.00" in done.stdout
    assert "do not tell good steps from bad ones" in " ".join(done.stdout.split())
    alike = labels_of(tmp_path / "alike.jsonl", num_right=(4, 4))
    same = run("check", "--labels", str(alike), "--verifier", "some/model")
    assert "are alike" in " ".join(same.stdout.split())


def test_labels_need_a_verifier_that_reads_texts(
    run: Run, tmp_path: Path, open_with: OpenWith, models: list[EngineConfig]
) -> None:
    file = str(labels_of(tmp_path / "labels.jsonl", num_right=(3, 0)))
    without = run("check", "--labels", file, "--verifier", "none")
    assert (without.exit_code, models) == (2, [])
    assert "there is no verifier to check" in without.stderr
    assert "cannot be read" in run("check", "--labels", str(tmp_path)).stderr
    open_with(lambda settings: FastTTS(FakeGenerator(says), "perplexity", scheduling=UNTIMED))
    signal = run("check", "--labels", file, "--verifier", "perplexity")
    assert signal.exit_code == 2
    assert "log-probabilities, and labels have texts alone" in " ".join(signal.stderr.split())
