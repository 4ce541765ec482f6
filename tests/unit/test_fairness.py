"""Who gets slots: plain decodings soon, searches always, and nobody another result."""

from collections.abc import Sequence

import pytest

from fasttts.backends.fake import FakeGenerator, FakeVerifier
from fasttts.config import search_config
from fasttts.scheduling.loop import Loop
from fasttts.scheduling.run import SearchRun
from fasttts.tree import Node
from tests.searches import Recorder, alone, drive, make_run, same_tree

PLAIN_CALL = search_config(search="none", max_tokens=5)


class FirstToken(Recorder):
    """Notes whether the first token came."""

    has_token = False

    def on_tokens(self, run: SearchRun, node: Node, token_ids: Sequence[int]) -> None:
        super().on_tokens(run, node, token_ids)
        self.has_token = True


@pytest.mark.parametrize("warm_up", [0, 1, 7, 20])
def test_a_plain_request_has_its_first_token_within_two_iterations(warm_up: int) -> None:
    generator = FakeGenerator(max_num_seqs=32)
    loop = Loop(generator, FakeVerifier())
    config = search_config(n=32, max_tokens=60)
    runs = [make_run(generator, text, config) for text in "abcd"]
    for run in runs:
        loop.submit(run, Recorder())
    for _ in range(warm_up):
        loop.step()
    plain = FirstToken()
    loop.submit(make_run(generator, "x", PLAIN_CALL), plain)
    for _ in range(2):
        loop.step()
        loop.check_integrity()
    assert plain.has_token
    drive(loop)
    for text, run in zip("abcd", runs, strict=True):
        assert same_tree(run, alone(text, config))


def test_a_flood_of_plain_requests_starves_no_search() -> None:
    generator = FakeGenerator(max_num_seqs=8)
    loop, search = Loop(generator, FakeVerifier()), Recorder()
    config = search_config(n=8, max_tokens=60)
    run = make_run(generator, "a", config)
    loop.submit(run, search)
    for number in range(2000):
        for _ in range(20 - loop.gauges.num_running - loop.gauges.num_waiting):
            loop.submit(make_run(generator, f"x{number}", PLAIN_CALL), Recorder())
        loop.step()
        if search.outcomes:
            break
    assert search.outcomes == [None]
    assert same_tree(run, alone("a", config))
