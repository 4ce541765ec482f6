"""Ray Data: the problems of a dataset, solved by a pool of actors with an engine each."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from fasttts.config import EngineConfig, SearchConfig, engine_config, search_config
from fasttts.engine.request import Prompt
from fasttts.errors import ConfigurationError, SearchError, wrong_type
from fasttts.ray.engines import check_actor_gpus, check_opener, open_actor_engine
from fasttts.ray.options import dataset_arguments
from fasttts.types import SearchResult

if TYPE_CHECKING:
    from ray.data import Dataset

_SCALARS = {
    "text": pa.string(),
    "answer": pa.string(),
    "score": pa.float64(),
    "finish_reason": pa.string(),
    "stop_reason": pa.string(),
    "seed": pa.int64(),
    "generator": pa.string(),
    "verifier": pa.string(),
    "numerics": pa.string(),
    "version": pa.int64(),
}
"""Fields of a result that are a column as they are; the others are JSON text.

As Arrow's own nested types, every object would have the keys of all the others in its column, and
some (an object without keys, a list of unlike values) could not be written to files.
"""

_FIELDS = tuple(field.name for field in dataclasses.fields(SearchResult))

_NUM_BATCHES = 2
"""Batches in work in an engine at a time: as one's last searches end, the next one's begin."""

_NUM_WAITING = 2
"""Further batches that are sent to an actor before it asks for them."""


def solve_dataset(
    dataset: "Dataset",
    engine: EngineConfig | None = None,
    *,
    config: SearchConfig | None = None,
    system: str | None = None,
    problem: str = "problem",
    seed: str | None = None,
    num_actors: int = 1,
    batch_size: int = 64,
    num_cpus: float = 1.0,
    num_gpus: float = 0.0,
    open_engine: str | None = None,
    **options: Any,
) -> "Dataset":
    """Solves the problems of a dataset, each once, by a pool of actors with an engine each.

    Rows of an actor that is lost are solved again by another, as often as that happens, with the
    same results where these are deterministic (`docs/exactness.md`). As everything of Ray Data it
    runs when its rows are read.

    Args:
        dataset: Its rows have a problem.
        engine: Options of each actor's engine; None takes the defaults and the environment's.
        config: Search options for all; `options` override it. None takes the defaults.
        system: A system message put before each conversation; None for none.
        problem: The column with the problems: questions, or conversations.
        seed: A column with the seed of each search, a whole number in each row; None gives all of
            them the config's.
        num_actors: Actors, each with an engine.
        batch_size: Problems that an engine is given at a time; two batches are in work together.
        num_cpus: CPU cores that Ray sets aside for an actor.
        num_gpus: GPUs of an actor, which it alone sees.
        open_engine: A function `module:function` that takes the `EngineConfig` and opens an actor's
            engine; None is `FastTTS.from_config`.
        options: Fields of `SearchConfig`.

    Returns:
        A dataset with the rows of `SearchResult.to_dict()`, in any order: lists and objects of the
        result are JSON text, and `result_of` reads the whole. Two columns more: `input` is the row
        of the problem, and `error` is None, or says why a problem has no result (no candidate was
        complete, or it cannot be asked, as without a seed), and then the others are None.

    Raises:
        ConfigurationError: An argument or an option cannot work.
    """
    from ray.data import ActorPoolStrategy, Dataset

    if engine is not None and not isinstance(engine, EngineConfig):
        raise wrong_type("engine", engine, "an EngineConfig, or None for the defaults")
    asked = dataset_arguments(
        system=system,
        problem=problem,
        seed=seed,
        num_actors=num_actors,
        batch_size=batch_size,
        num_cpus=num_cpus,
        num_gpus=num_gpus,
        open_engine=open_engine,
    )
    check_opener(asked.open_engine)
    actor_engine = engine_config() if engine is None else engine
    check_actor_gpus(actor_engine, asked.num_gpus)
    solver = {
        "engine": actor_engine,
        "opener": asked.open_engine,
        "config": search_config(config, **options),
        "system": asked.system,
        "problem": asked.problem,
        "seed": asked.seed,
    }
    if not isinstance(dataset, Dataset):
        raise wrong_type("dataset", dataset, "a ray.data.Dataset, as of ray.data.from_items")
    return dataset.map_batches(
        _Solver,
        fn_constructor_kwargs=solver,
        batch_size=asked.batch_size,
        batch_format="pyarrow",
        compute=ActorPoolStrategy(
            size=asked.num_actors,
            max_tasks_in_flight_per_actor=_NUM_BATCHES + _NUM_WAITING,
            max_concurrent_calls_per_actor=_NUM_BATCHES,
            enable_true_multi_threading=True,  # an engine may be called from any thread
        ),
        num_cpus=asked.num_cpus,
        num_gpus=asked.num_gpus,
    )


class _Solver:
    """An actor's engine."""

    def __init__(
        self,
        *,
        engine: EngineConfig,
        opener: str | None,
        config: SearchConfig,
        system: str | None,
        problem: str,
        seed: str | None,
    ) -> None:
        self._engine = open_actor_engine(engine, opener)
        self._config = config
        self._system = system
        self._problem = problem
        self._seed = seed

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Solves the problems of some rows."""
        for column in (self._problem, self._seed):
            if column is not None and column not in batch.column_names:
                raise ConfigurationError(
                    f"the dataset has no column {column!r}, but {batch.column_names}: name another "
                    "with problem=... or seed=..."
                )
        problems = batch.column(self._problem).to_pylist()
        prompts = [self._prompt(problem) for problem in problems]
        seeds = self._seeds(batch)
        asked = {
            n: (prompt, seed)
            for n, (prompt, seed) in enumerate(zip(prompts, seeds, strict=True))
            if isinstance(prompt, Prompt) and isinstance(seed, int)
        }
        found = self._engine.search_each(  # however many there are, few wait in the engine
            [prompt for prompt, _ in asked.values()],
            config=self._config,
            seeds=None if self._seed is None else [seed for _, seed in asked.values()],
        )
        rows, outcomes = list(asked), list[object](map(_fault, prompts, seeds))
        for number, outcome in found:
            outcomes[rows[number]] = outcome
        return _table(batch, outcomes)

    def _prompt(self, problem: Any) -> Prompt | ConfigurationError:
        """The rendered problem of a row, whose fault is its own and no other row's."""
        try:
            return self._engine.render(problem, system=self._system)
        except ConfigurationError as error:
            return error

    def _seeds(self, batch: pa.Table) -> list[int | ConfigurationError]:
        if self._seed is None:
            return [self._config.seed] * batch.num_rows
        return [self._row_seed(value) for value in batch.column(self._seed).to_pylist()]

    def _row_seed(self, value: Any) -> int | ConfigurationError:
        """The seed in a row, whose fault is its own; integers beside a gap come as floats."""
        whole = int(value) if isinstance(value, float) and value.is_integer() else value
        try:
            if not isinstance(whole, int):
                raise wrong_type("seed", value, "a whole number")
            return search_config(self._config, seed=whole).seed
        except ConfigurationError as error:
            return ConfigurationError(f"column {self._seed!r}: {error}")


def _fault(*parts: object) -> Exception | None:
    """The first error among the parts of a row; None where it can be asked."""
    return next((part for part in parts if isinstance(part, Exception)), None)


def _table(batch: pa.Table, outcomes: Sequence[object]) -> pa.Table:
    """The rows of outcomes: a result, or the error that took its place."""
    documents = [one.to_dict() if isinstance(one, SearchResult) else None for one in outcomes]
    columns = {name: _column([one and one[name] for one in documents], name) for name in _FIELDS}
    errors = [None if isinstance(one, SearchResult) else str(one) for one in outcomes]
    parts = [column.combine_chunks() for column in batch.columns]
    columns["input"] = pa.StructArray.from_arrays(parts, names=batch.column_names)
    columns["error"] = pa.array(errors, pa.string())
    return pa.table(columns)


def _column(values: Sequence[Any], name: str) -> pa.Array:
    if name in _SCALARS:
        return pa.array(values, _SCALARS[name])
    texts = [None if one is None else json.dumps(one, ensure_ascii=False) for one in values]
    return pa.array(texts, pa.string())


def result_of(row: Mapping[str, Any]) -> SearchResult:
    """Reads the result of a row.

    Args:
        row: A row of `solve_dataset`'s dataset, also where it was written and read again.

    Raises:
        SearchError: The problem has no result; the row's `error` says why.
    """
    if row["error"] is not None:
        raise SearchError(row["error"])
    document = {
        name: value if name in _SCALARS or value is None else json.loads(value)
        for name, value in row.items()
        if name in _FIELDS
    }
    return SearchResult.from_dict(document)
