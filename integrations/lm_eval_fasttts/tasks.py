"""Tasks of lm-evaluation-harness: found, checked, and evaluated with one model."""

from collections.abc import Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any, Self

from lm_eval import simple_evaluate
from lm_eval.tasks import TaskManager

from fasttts.config.validation import did_you_mean
from fasttts.errors import ConfigurationError, FastTTSError
from lm_eval_fasttts.model import FastTTSLM

_GENERATES = "generate_until"


@dataclass(frozen=True, slots=True, kw_only=True)
class HarnessTasks:
    """Tasks whose answers are generated.

    Attributes:
        names: Names of tasks, groups or tags, or paths of YAML files.
        manager: Knows the harness's tasks, and those of a directory of the user's.
    """

    names: tuple[str, ...]
    manager: TaskManager

    @classmethod
    def find(cls, names: Sequence[str], include_path: Path | None) -> Self:
        """Finds tasks and loads their problems.

        Args:
            names: The same as the attribute.
            include_path: A directory of further tasks; None for none.

        Raises:
            ConfigurationError: A task is unknown or cannot be loaded, runs programs of models
                unprotected, or compares likelihoods.
        """
        if include_path is not None and not include_path.is_dir():
            raise ConfigurationError(f"--include-path {include_path}: there is no such directory")
        path = None if include_path is None else str(include_path)
        manager = TaskManager(include_path=path, include_defaults=False)
        if not set(names) <= set(manager.all_subtasks):  # to read all the others takes seconds
            manager = TaskManager(include_path=path)
        for name in names:
            if name not in manager.task_index and not Path(name).is_file():
                hint = did_you_mean(name, manager.all_tasks, "'lm-eval ls tasks' lists them")
                raise ConfigurationError(f"there is no task {name!r}: {hint}")
        found = cls(names=tuple(names), manager=manager)
        found._check()
        return found

    def _check(self) -> None:
        try:
            with redirect_stderr(StringIO()):  # bars of the libraries that read the problems
                tasks = self.manager.load(list(self.names))["tasks"]
        except Exception as error:  # the harness, datasets and code of tasks raise what they like
            raise ConfigurationError(
                f"--tasks {','.join(self.names)} cannot be loaded: {type(error).__name__}: {error}"
            ) from error
        for name, task in tasks.items():
            if task.OUTPUT_TYPE != _GENERATES:
                raise ConfigurationError(
                    f"{name} compares likelihoods ({task.OUTPUT_TYPE}), which a search does not "
                    f"give: take tasks of output_type {_GENERATES}, such as gsm8k"
                )
            if getattr(task, "UNSAFE_CODE", False):
                raise ConfigurationError(
                    f"{name} would run programs of the model unprotected: evaluate a file of its "
                    "problems instead, whose programs run in a sandbox"
                )

    def evaluate(
        self, model: FastTTSLM, *, limit: int | None = None, system: str | None = None
    ) -> dict[str, Any]:
        """Evaluates a model on all of them, through its chat template.

        Few-shot examples are turns of their own, so that the question is the last turn.

        Args:
            model: Answers the problems.
            limit: Most problems of each task; None for all.
            system: A system message put before each conversation; None for none.

        Returns:
            What `simple_evaluate` returns.

        Raises:
            ConfigurationError: A task's options cannot work, or its own code failed.
        """
        try:
            with redirect_stderr(StringIO()):  # bars; the caller shows the model's progress
                results = simple_evaluate(
                    model,
                    tasks=list(self.names),
                    task_manager=self.manager,
                    limit=limit,
                    system_instruction=system,
                    apply_chat_template=True,
                    fewshot_as_multiturn=True,
                )
        except FastTTSError:
            raise
        except Exception as error:  # tasks have code of their own, which may raise anything
            raise ConfigurationError(
                f"--tasks {','.join(self.names)} failed: {type(error).__name__}: {error}"
            ) from error
        assert isinstance(results, dict), "there is one process, and it has the results"
        return results
