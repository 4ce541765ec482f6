"""The folder of a training: settings, checkpoints, and a model that appears when it is whole."""

import fcntl
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pydantic import ValidationError

from fasttts.errors import ConfigurationError
from fasttts.evaluation.journal import differences
from fasttts.prm.labels import LabelRecord
from fasttts.prm.report import TrainingReport

REPORT = "training.json"
HELD_OUT = "held-out.jsonl"
_SETTINGS = "settings.json"
_STATE = "trainer_state.json"


class TrainingFolder:
    """The folder `OUTPUT.training` of one training, open for one process.

    It has the settings, checkpoints and at last the model, which is moved to OUTPUT when everything
    is in it; the folder is removed then, and where a training ends without a checkpoint. Where one
    ends early, its best model stays there.

    Args:
        output: Directory of the model to write; must not exist yet.
        settings: Everything that the training depends on, as JSON data.

    Raises:
        ConfigurationError: The output exists, the folder is of other settings, cannot be written,
            or is open in another process.
    """

    def __init__(self, output: Path, settings: Mapping[str, Any]) -> None:
        self._output = output
        # Of "." and "/", which have no name, it is not used: they exist.
        self._folder = output.parent / f"{output.name}.training"
        if output.exists() or output.is_symlink():
            raise ConfigurationError(
                f"--output {output} exists and is no model of this command: name another directory"
            )
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._lock = (self._folder / "lock").open("ab")
        except OSError as error:
            raise ConfigurationError(f"--output {output}: {error}") from error
        try:
            self._begin(settings)
        except BaseException:  # an interrupt too
            self._lock.close()
            raise

    @property
    def checkpoints(self) -> Path:
        """Where checkpoints are written."""
        return self._folder / "checkpoints"

    @property
    def model(self) -> Path:
        """Where the model is written before it is moved."""
        return self._folder / "model"

    @property
    def best(self) -> Path:
        """Where the best model of a training that ended early is kept."""
        return self._folder / "best"

    def newest_checkpoint(self) -> str | None:
        """The newest whole checkpoint; others are removed. None where there is none.

        Trainer writes its state last, so a checkpoint that has it is whole.
        """
        found: list[tuple[int, Path]] = []
        for folder in self.checkpoints.glob("checkpoint-*"):
            try:
                state = json.loads((folder / _STATE).read_bytes())
                found.append((int(state["global_step"]), folder))
            except (OSError, ValueError, KeyError, TypeError):
                shutil.rmtree(folder, ignore_errors=True)
        return str(max(found)[1]) if found else None

    def publish(self, report: TrainingReport, held_out: Sequence[LabelRecord]) -> None:
        """Moves the written model to its place, with the report and the held-out labels.

        Args:
            report: How the training went.
            held_out: The labels that it was measured with.

        Raises:
            ConfigurationError: It cannot be written.
        """
        lines = "".join(record.to_json() + "\n" for record in held_out)
        try:
            (self.model / HELD_OUT).write_text(lines, encoding="utf-8")
            document = {"settings": self._settings, "report": report.to_dict()}
            text = json.dumps(document, indent=1)
            (self.model / REPORT).write_text(text + "\n", encoding="utf-8")
            os.rename(self.model, self._output)
            shutil.rmtree(self._folder)
        except OSError as error:
            raise self.cannot_write(error) from error

    def cannot_write(self, error: Exception) -> ConfigurationError:
        """The error to raise where something cannot be written, as on a full disk.

        Args:
            error: What the system, or a library that writes, said.
        """
        return ConfigurationError(
            f"--output {self._output}: {error}; once it can be written, the same command continues"
        )

    def ended_early(self, why: str, best_step: int | None) -> ConfigurationError:
        """The error to raise where a training cannot go on.

        Args:
            why: What happened, and what to change.
            best_step: The optimiser step of the model in `best`; None where there is none.
        """
        kept = (
            ""
            if best_step is None
            else f". The best model until then, of step {best_step}, is in {self.best}; with other "
            f"options name another --output, or remove {self._folder}"
        )
        return ConfigurationError(f"the training ended early: {why}{kept}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not any(self.checkpoints.glob("checkpoint-*")):  # nothing to continue from
            shutil.rmtree(self._folder, ignore_errors=True)
        self._lock.close()

    def _begin(self, settings: Mapping[str, Any]) -> None:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ConfigurationError(
                f"--output {self._output}: another process trains it; wait for it, or name another "
                "directory"
            ) from error
        self._settings: Mapping[str, Any] = json.loads(json.dumps(settings))
        file = self._folder / _SETTINGS
        shutil.rmtree(self.model, ignore_errors=True)
        try:
            differing = differences(json.loads(file.read_bytes()), self._settings)
        except (
            FileNotFoundError,
            ValueError,
            AttributeError,
        ):  # a new folder, or killed while it was written
            shutil.rmtree(self.checkpoints, ignore_errors=True)
            try:
                file.write_text(json.dumps(self._settings), encoding="utf-8")
            except OSError as error:
                raise self.cannot_write(error) from error
            return
        if differing:
            raise ConfigurationError(
                f"{self._folder} is of another training: {'; '.join(differing)}. Repeat the "
                "command that began it, name another --output, or remove the folder"
            )


def read_report(output: Path, settings: Mapping[str, Any]) -> TrainingReport | None:
    """Reads the report of a model that this training has written; None where there is none.

    Args:
        output: Directory of the model.
        settings: Everything that the training depends on, as JSON data.

    Raises:
        ConfigurationError: The model is of another training.
    """
    try:
        document = json.loads((output / REPORT).read_bytes())
        differing = differences(document["settings"], json.loads(json.dumps(settings)))
        report = TrainingReport.from_dict(document["report"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ValidationError) as error:
        raise ConfigurationError(
            f"--output {output}: its {REPORT} is no report of a training: name another directory"
        ) from error
    if differing:
        raise ConfigurationError(
            f"--output {output} is of another training: {'; '.join(differing)}. Name another "
            "directory"
        )
    return report
