"""The metrics of a server, read as Prometheus reads them."""

from prometheus_client.parser import text_string_to_metric_families

from fasttts import FastTTS
from fasttts.backends.fake import FakeGenerator, FakeVerifier
from fasttts.serving.admission import Admission
from fasttts.serving.metrics import ServerMetrics
from website.tables import prose, table

_OF_THE_TYPE = ("le", "quantile")
"""Labels that each histogram or summary has."""


def metrics_table() -> str:
    """Every metric of a server over one engine, with its type, labels and values.

    The engine is the fake one, which has answered one question, so that each label has a value.
    """
    with FastTTS(FakeGenerator(), FakeVerifier()) as engine:
        engine.search("How many?", n=4)
        server = ServerMetrics(engine, "ENGINE", Admission(engine, 1))
        server.count("/v1/chat/completions", 200)
        families = list(text_string_to_metric_families(server.text().decode()))
    rows = []
    for family in families:
        if family.name.endswith("_created"):  # when a counter began, which the library adds
            continue
        names = {sample.name for sample in family.samples}
        labels: dict[str, list[str]] = {}
        for sample in family.samples:
            for label, value in sample.labels.items():
                labels.setdefault(label, []).append(value)
        total = f"{family.name}_total"
        rows.append(
            (
                f"`{total if total in names else family.name}`",
                family.type,
                ", ".join(_label(*one) for one in labels.items() if one[0] not in _OF_THE_TYPE),
                prose(family.documentation),
            )
        )
    return table(("metric", "type", "labels", "meaning"), rows)


def _label(name: str, values: list[str]) -> str:
    known = dict.fromkeys(values)
    if name in {"engine", "endpoint", "search", "status"}:  # as many as there are users of them
        return f"`{name}`"
    return f"`{name}`: {', '.join(known)}"
