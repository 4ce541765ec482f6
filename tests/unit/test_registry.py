"""Who keeps a shared engine open."""

import copy
import gc
import os
import pickle
from collections.abc import Iterator

import pytest

from fasttts import EngineConfig, FastTTS, release_engine, shared_engine
from fasttts.backends.fake import FakeGenerator
from fasttts.config import engine_config
from fasttts.engine.registry import EngineLease
from tests.chat_model import ChatModel
from tests.engines import OpenWith

CONFIG = engine_config(max_num_seqs=17)
"""Of no engine that other tests of this process share."""


@pytest.fixture(autouse=True)
def loaded(open_with: OpenWith) -> Iterator[list[FastTTS]]:
    """The engines that a test has loaded, closed at its end."""
    engines: list[FastTTS] = []

    def load(config: EngineConfig) -> FastTTS:
        engines.append(FastTTS(FakeGenerator()))
        return engines[-1]

    open_with(load)
    yield engines
    for engine in engines:
        engine.close()


def test_the_last_user_closes() -> None:
    engine = shared_engine(CONFIG)
    assert shared_engine(CONFIG) is engine
    release_engine(engine)
    assert not engine.is_closed
    release_engine(engine)
    assert engine.is_closed
    release_engine(engine)
    assert shared_engine(CONFIG) is not engine


def test_what_is_not_shared_is_left_alone() -> None:
    with FastTTS(FakeGenerator()) as engine:
        release_engine(engine)
        assert not engine.is_closed


def test_a_hold_counts_once() -> None:
    first, second = EngineLease(), EngineLease()
    engine = first.take(CONFIG)
    assert first.take(CONFIG) is second.take(CONFIG) is engine
    first.release()
    first.release()
    assert not engine.is_closed
    second.release()
    assert engine.is_closed


def test_a_hold_can_be_taken_again(loaded: list[FastTTS]) -> None:
    hold = EngineLease()
    hold.take(CONFIG)
    hold.release()
    assert hold.take(CONFIG) is loaded[1]
    loaded[1].close()
    assert hold.take(CONFIG) is loaded[2]
    hold.release()
    assert all(engine.is_closed for engine in loaded)


def test_a_hold_that_falls_away_is_no_user_but_closes_nothing() -> None:
    hold = EngineLease()
    engine = EngineLease().take(CONFIG)
    gc.collect()
    assert hold.take(CONFIG) is engine
    assert not engine.is_closed
    hold.release()
    assert engine.is_closed


def test_copies_of_a_hold_begin_without_an_engine() -> None:
    hold = EngineLease()
    engine = hold.take(CONFIG)
    for twin in (copy.copy(hold), copy.deepcopy(hold), pickle.loads(pickle.dumps(hold))):
        twin.release()
        assert not engine.is_closed
    hold.release()
    assert engine.is_closed


def chat_model(**options: int) -> ChatModel:
    return ChatModel(engine_args={"max_num_seqs": CONFIG.max_num_seqs}, **options)


def test_chat_models_close_an_engine_together() -> None:
    with chat_model() as first, chat_model(seed=3) as second:
        engine = first.resolve_engine()
        assert first.resolve_engine() is second.resolve_engine() is engine
        first.close()
        assert not engine.is_closed
    assert engine.is_closed


def test_models_made_for_one_call_keep_no_engine_open() -> None:
    model = chat_model()
    engine = model.resolve_engine()
    for n in (2, 4):
        assert chat_model(n=n).resolve_engine() is engine
    gc.collect()
    model.close()
    assert engine.is_closed


def test_a_given_engine_stays_its_giver_s() -> None:
    with FastTTS(FakeGenerator()) as engine:
        with ChatModel(engine=engine) as model:
            assert model.resolve_engine() is engine
        assert not engine.is_closed


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_process_takes_an_engine_of_its_own(loaded: list[FastTTS]) -> None:
    hold = EngineLease()
    hold.take(CONFIG)
    child = os.fork()
    if child == 0:
        is_new = hold.take(CONFIG) is loaded[-1] and len(loaded) == 2
        os._exit(0 if is_new else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert hold.take(CONFIG) is loaded[0]
