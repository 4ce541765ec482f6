"""The dashboard for Grafana: the metrics and labels that it names exist, and none is missing."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from fasttts import FastTTS
from fasttts.backends.fake import FakeGenerator, FakeVerifier
from fasttts.serving.admission import Admission
from fasttts.serving.metrics import ServerMetrics

FILE = Path(__file__).parents[2] / "examples" / "deploy" / "grafana-dashboard.json"
DASHBOARD = json.loads(FILE.read_text(encoding="utf-8"))
SELECTOR = re.compile(r"(fasttts_\w+)(?:\{([^}]*)\})?")
GROUPING = re.compile(r"by \(([^)]*)\)")

Labels = dict[str, set[str]]


@pytest.fixture(scope="module")
def exported() -> Labels:
    """Labels by the name of a sample, of a server that has answered."""
    with FastTTS(FakeGenerator(), FakeVerifier()) as engine:
        engine.search("hello", n=8)
        metrics = ServerMetrics(engine, "a", Admission(engine, 1))
        metrics.count("/v1/models", 200)
        text = metrics.text().decode()
    samples = [one for family in text_string_to_metric_families(text) for one in family.samples]
    return {one.name: set(one.labels) for one in samples if not one.name.endswith("_created")}


def panels() -> list[dict[str, Any]]:
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def expressions() -> Iterator[str]:
    for panel in panels():
        for target in panel["targets"]:
            yield target["expr"]


def test_every_metric_and_label_exists(exported: Labels) -> None:
    for expression in expressions():
        selected = SELECTOR.findall(expression)
        assert selected, expression
        for name, matchers in selected:
            assert name in exported, name
            asked = {one.split("=")[0].strip() for one in matchers.split(",") if one}
            assert asked <= exported[name], expression
        for group in GROUPING.findall(expression):
            labels = {label.strip() for label in group.split(",")}
            assert all(labels <= exported[name] for name, _ in selected), expression


def test_legends_name_labels_that_remain() -> None:
    for panel in panels():
        for target in panel["targets"]:
            kept = {
                label.strip()
                for group in GROUPING.findall(target["expr"])
                for label in group.split(",")
            }
            assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= kept


def test_every_metric_is_shown(exported: Labels) -> None:
    named = {name for text in expressions() for name, _ in SELECTOR.findall(text)}
    ends = re.compile(r"_(?:bucket|sum|count)$")
    shown = {ends.sub("", name) for name in named}
    assert {ends.sub("", name) for name in exported} == shown


def test_it_asks_the_data_source_that_is_chosen() -> None:
    variables = {one["name"]: one for one in DASHBOARD["templating"]["list"]}
    assert list(variables) == ["datasource", "engine"]
    chosen = {"type": "prometheus", "uid": "${datasource}"}
    assert variables["engine"]["datasource"] == chosen
    for panel in panels():
        assert panel["datasource"] == chosen
        assert all(target["datasource"] == chosen for target in panel["targets"])


def test_panels_overlap_nowhere() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert max(x for x, _ in cells) < 24
        assert not cells & taken, panel["title"]
        taken |= cells
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
