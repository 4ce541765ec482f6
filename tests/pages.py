"""Results to draw: of any size, and with any text."""

from collections.abc import Iterator

from fasttts.types import (
    Candidate,
    Fate,
    Occupancy,
    Path,
    RecordedNode,
    SearchRecord,
    SearchResult,
    Step,
    Timings,
    Usage,
    Vote,
)

HOSTILE = {
    "markup": "<b>bold</b> <img src=x onerror=pwn()> & &lt;i&gt;",
    "script": "</script><script>pwn()</script><!-- <script> -->",
    "attribute": '" onmouseover="pwn()" x=\'',
    "template": "<!--data--><!--script-->${pwn()}{{pwn()}}",
    "override": "total \u202e09\u202c and \u2066isolated\u2069 \u200f",
    "surrogate": "half \ud83d of a pair",
    "control": "nul \x00 escape \x1b[31m bell \x07",
    "invisible": "zero\u200bwidth \ufeff\U000e0041 \u2028 line",
    "long": "x" * 60_000,
    "right to left": "שלום עולם",
}
"""Texts by what they try; each is shown as text."""


def node(path: Path, text: str, *, fate: Fate = "continued", score: float = 0.5) -> RecordedNode:
    """A node that held a slot for four iterations at its depth."""
    start = 4 * (len(path) - 1)
    is_wasted = fate == "wasted"
    return RecordedNode(
        path=path,
        steps=(Step(text=text, score=score),),
        score=score,
        fate=fate,
        finish_reason="stop" if fate == "answer" else "step",
        num_tokens=4,
        num_tokens_ahead=0 if is_wasted or path[-1] else 2,
        ran=((start, start + 4),),
        decided_at=None if is_wasted else start + (0 if path[-1] else 2),
        scored_at=start + 4,
    )


def result(nodes: tuple[RecordedNode, ...], *, problem: str, answer: str = "42") -> SearchResult:
    """A result whose winner is the first answer among the nodes."""
    answers = [each for each in nodes if each.fate == "answer"]
    candidates = tuple(
        Candidate(
            path=each.path,
            text=each.steps[0].text,
            steps=each.steps,
            score=each.score,
            answer=answer,
            finish_reason="stop",
            num_tokens=4,
        )
        for each in answers
    )
    depth = max(len(each.path) for each in nodes)
    return SearchResult(
        text=candidates[0].text,
        answer=answer,
        score=candidates[0].score,
        finish_reason="stop",
        candidates=candidates,
        usage=Usage(
            generated_tokens=4 * len(nodes), num_nodes=len(nodes), num_iterations=4 * depth
        ),
        timings=Timings(total_s=1.5),
        occupancy=Occupancy(required=(2,) * 4 * depth, plain=(3,) * 4 * depth),
        votes=(Vote(answer=answer, weight=2, paths=tuple(each.path for each in answers)),),
        record=SearchRecord(problem=problem, num_slots=8, nodes=nodes),
        seed=0,
        config={"search": "beam_search", "n": 4, "selection": "majority"},
        generator="generator",
        verifier="verifier",
    )


def small(num_further: int = 0) -> SearchResult:
    """A tree of three beams: one wins, one is pruned, and a step was generated in vain."""
    nodes = (
        node((0,), "First, count the boxes.", score=0.9),
        node((0, 0), "Three boxes of twelve.", score=0.8),
        node((0, 0, 0), "That makes 36.", fate="answer", score=0.95),
        node((0, 1), "Add them up.", fate="pruned", score=0.3),
        node((0, 1, 0), "Nobody asked for this.", fate="wasted", score=0.2),
        node((1,), "Subtract the boxes.", fate="pruned", score=0.1),
        node((2,), "The answer is 42.", fate="answer", score=0.4),
        *(node((3 + at,), f"Further step {at}.", fate="pruned") for at in range(num_further)),
    )
    return result(nodes, problem="Tom has 3 boxes of 12 pencils.")


def hostile() -> SearchResult:
    """A result in which every text of a model, and of the caller, is hostile."""
    everything = " ".join(HOSTILE.values())
    nodes = (
        node((0,), HOSTILE["markup"], fate="answer"),
        *(node((1 + at,), text, fate="pruned") for at, text in enumerate(HOSTILE.values())),
    )
    made = result(nodes, problem=everything, answer=HOSTILE["override"] + HOSTILE["script"])
    object.__setattr__(made, "generator", HOSTILE["markup"])
    object.__setattr__(made, "verifier", HOSTILE["script"])
    object.__setattr__(made, "warnings", (HOSTILE["attribute"], HOSTILE["override"]))
    return made


def large(num_nodes: int) -> SearchResult:
    """A tree of that many nodes, ten children for each that continues."""
    nodes = sorted(_wide(num_nodes), key=lambda each: each.path)
    return result(tuple(nodes), problem=f"A search of {num_nodes} nodes")


def _wide(num_nodes: int) -> Iterator[RecordedNode]:
    level: list[Path] = [()]
    left = num_nodes
    while left:
        children = [(*path, index) for path in level for index in range(10)][:left]
        left -= len(children)
        level = [path for path in children if path[-1] % 3 == 0] if left else []
        growing = set(level[: -(-left // 10)])
        for at, path in enumerate(children):
            fate: Fate = "continued" if path in growing else "wasted" if at % 4 == 1 else "pruned"
            fate = "answer" if not left and at == 0 else fate
            text = f"Step {len(path)}: {at} boxes of pencils are {at * 12} pencils in all."
            yield node(path, text, fate=fate, score=(at % 97) / 97)
