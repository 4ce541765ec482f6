"""A running search as its events tell it."""

from fasttts import FastTTS
from fasttts.backends.fake import FakeGenerator, FakeVerifier
from fasttts.streaming.live_result import LiveResult
from fasttts.types import SearchResult


def test_it_grows_into_the_result() -> None:
    live = LiveResult("hello", {"search": "beam_search", "n": 8}, generator="g", verifier="v")
    assert live.result.record.nodes == ()
    sizes, fates = [], set()
    with FastTTS(FakeGenerator(mean_step_tokens=8), FakeVerifier()) as engine:
        final = engine.search("hello", n=8)
        tree = {n.path: n for n in final.record.nodes if n.fate != "wasted"}
        for event in engine.stream("hello", n=8):
            live.take(event)
            so_far = live.result
            assert SearchResult.from_dict(so_far.to_dict()) == so_far
            sizes.append(len(so_far.record.nodes))
            if so_far.candidates:
                continue
            for node in so_far.record.nodes:
                fates.add(node.fate)
                assert node.steps[0].text == tree[node.path].steps[0].text
                assert node.score in {None, tree[node.path].score}
                assert node.fate in {tree[node.path].fate, "running"} | (
                    {"pruned"} if tree[node.path].fate == "dominated" else set()
                )
    assert sizes == sorted(sizes)
    assert fates == {"continued", "pruned", "running"}
    assert live.result.candidates == final.candidates
