"""Findings about memory, speed and the chat template."""

from collections.abc import Iterator

from fasttts.check.estimates import expected_seconds
from fasttts.check.finding import Finding
from fasttts.check.measure import Measured
from fasttts.check.speed import NUM_SEQUENCES, Speed, rate
from fasttts.check.summary import Summary
from fasttts.check.template import Support
from fasttts.memory.units import format_bytes

_TIGHT = 0.95
_LITTLE_GAIN = 1.5
_FEW_OF_WANTED = 0.75


def memory_findings(measured: Measured) -> Iterator[Finding]:
    """Yields the KV cache, the context and the batch."""
    facts, num_lost = measured.facts, measured.num_preemptions
    lost = f", {num_lost} preemptions" if num_lost else ""
    yield Finding.judged(
        "Memory",
        "KV cache",
        f"{_kv_cache(measured)}; {measured.peak_kv_cache_usage:.0%} in use at most{lost}",
        is_fine=num_lost == 0 and measured.peak_kv_cache_usage <= _TIGHT,
        advice="raise FASTTTS_GPU_MEMORY_UTILIZATION or FASTTTS_KV_CACHE_MEMORY_BYTES, or search "
        "with a smaller -n",
    )
    longest, max_tokens = measured.prompt_tokens, measured.config.max_tokens
    yield Finding.judged(
        "Memory",
        "context",
        f"{facts.max_model_len:,} tokens; the longest prompt has {longest:,}, answers up to "
        f"{max_tokens:,}",
        is_fine=longest + max_tokens <= facts.max_model_len,
        advice=f"set FASTTTS_MAX_MODEL_LEN={longest + max_tokens}, or --max-tokens "
        f"{max(1, facts.max_model_len - longest)}",
    )
    yield Finding(
        section="Memory", name="batch", value=f"up to {facts.max_num_seqs:,} sequences at once"
    )


def _kv_cache(measured: Measured) -> str:
    plan = measured.facts.plan
    if plan is None:
        return "size not planned"
    num_tokens = plan.num_blocks * plan.block_size
    return f"{format_bytes(plan.kv_cache_memory_bytes)}, {num_tokens:,} tokens"


def speed_findings(measured: Measured, summary: Summary, latency_s: float) -> Iterator[Finding]:
    """Yields the speed of each batch.

    Args:
        measured: The measurements.
        summary: Their summary.
        latency_s: Seconds that an answer may take.
    """
    found = {speed.wanted: speed for speed in measured.speeds}
    for wanted in NUM_SEQUENCES:
        name = f"{wanted} sequence{'s' * (wanted > 1)}"
        speed = found.get(wanted)
        if speed is None:
            yield Finding(
                section="Speed",
                name=name,
                value="not measured: too slow for the time limit",
                verdict="unknown",
                is_partial=True,
            )
        elif wanted == 1:
            seconds = expected_seconds(measured, summary, 1, scores=False)
            yield _single_speed(name, speed, seconds, latency_s)
        else:
            yield _batch_speed(name, speed, rate(measured.speeds, 1))


def _single_speed(name: str, speed: Speed, seconds: float | None, latency_s: float) -> Finding:
    said = "" if seconds is None else f"; a long answer takes {seconds:,.1f} s"
    return Finding.judged(
        "Speed",
        name,
        f"{speed.tokens_per_s:,.0f} tokens/s{said}",
        is_fine=seconds is None or seconds <= latency_s,
        advice=f"more than --latency {latency_s:g}: a smaller or quantised model, a faster "
        "device, or ask for shorter answers",
        is_partial=speed.is_cut,
    )


def _batch_speed(name: str, speed: Speed, single: float | None) -> Finding:
    gain = speed.tokens_per_s / single if single else 0.0
    is_smaller = speed.num_sequences < _FEW_OF_WANTED * speed.wanted
    ran = f" ({speed.num_sequences:.0f} on average)" if is_smaller else ""
    return Finding.judged(
        "Speed",
        name,
        f"{speed.tokens_per_s:,.0f} tokens/s, {gain:.1f} times one sequence{ran}",
        is_fine=gain >= _LITTLE_GAIN,
        advice="more sequences cost their full time here: keep -n small",
        otherwise="note",
        is_partial=speed.is_cut,
    )


_SAID: dict[Support, str] = {
    "rendered": "reach the model",
    "ignored": "are left out by the template",
    "refused": "are refused by the template",
}


def template_findings(measured: Measured) -> Iterator[Finding]:
    """Yields the parts of a conversation that the template writes."""
    found = measured.template
    if found is None:
        return
    yield _support(
        "system messages", found.system, "--system has no effect: say it in the question"
    )
    yield _support(
        "tools",
        found.tools,
        "this model is not told of tools: bind none, chat with --no-tools",
        is_optional=True,
    )
    if found.tools == "rendered":
        yield _support(
            "results of tools",
            found.tool_replies,
            "this model cannot read them: bind no tools",
            is_optional=True,
        )
    if found.opens_thoughts:
        yield Finding.judged(
            "Template",
            "thoughts",
            "the prompt ends inside <think>",
            is_fine=measured.config.thinking,
            advice="--thinking, and room for thoughts in --max-tokens",
        )


def _support(name: str, support: Support, advice: str, *, is_optional: bool = False) -> Finding:
    return Finding.judged(
        "Template",
        name,
        _SAID[support],
        is_fine=support == "rendered",
        advice=advice,
        otherwise="note" if is_optional else "change",
    )
