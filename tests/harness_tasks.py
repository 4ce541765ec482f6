"""Local tasks of lm-evaluation-harness: no network, and no cache outside of the test's folder."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fasttts.demo.problems import Problem, generate_problems

STORIES = generate_problems("test", 3, 3, min_operations=4, max_operations=5)


def story_task(
    folder: Path, problems: Sequence[Problem] = STORIES, **config: Any
) -> dict[str, Any]:
    """A task `stories` whose answer is in a box, on a file in the folder."""
    file = folder / "stories.jsonl"
    rows = [{"question": each.text, "answer": str(each.answer)} for each in problems]
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    boxed = {"function": "regex", "regex_pattern": r"boxed\{(-?\d+)"}
    return {
        "task": "stories",
        "dataset_path": "json",
        "dataset_kwargs": {
            "data_files": {"test": str(file)},
            "cache_dir": str(folder / "datasets"),
        },
        "test_split": "test",
        "output_type": "generate_until",
        "doc_to_text": "{{question}}",
        "doc_to_target": "{{answer}}",
        "generation_kwargs": {"until": ["Question:"], "do_sample": False, "temperature": 0.0},
        "filter_list": [{"name": "boxed", "filter": [boxed, {"function": "take_first"}]}],
        "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
        **config,
    }
