"""The page shows every series and needs nothing but itself."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from pathlib import Path

import pytest

from loadtests import report
from loadtests.charts import charts
from loadtests.judge import Verdict
from loadtests.measures import MEASURES
from loadtests.picture import picture
from loadtests.plots import Chart, Series, round_up
from tests.unit.loadtests.results import result

WITHOUT_END = {"meta", "link", "br", "hr", "img", "input"}


class Balanced(HTMLParser):
    """Refuses a page whose elements do not end in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += attrs
        if tag not in WITHOUT_END:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_sound_and_loads_nothing() -> None:
    page = report.html(result())
    parser = Balanced()
    parser.feed(page)
    assert parser.open == []
    assert {name for name, _ in parser.attributes} & {"src", "href", "srcset", "data"} == set()
    assert not re.search(r"https?:|@import|url\(|<script|<link", page)


def test_every_series_of_every_chart_is_drawn_and_named() -> None:
    made = result()
    page = report.html(made)
    for chart in charts(made):
        assert chart.title in page
        drawing = chart.svg()
        assert drawing in page
        root = ElementTree.fromstring(drawing)
        for series in chart.series:
            drawn = [
                each
                for each in root.iter()
                if each.tag in ("polyline", "polygon", "circle")
                and each.get("class", "").endswith(f" {series.style}")
            ]
            assert len(drawn) == bool(series.points), series.name


def test_the_charts_of_the_issue_are_there() -> None:
    titles = " ".join(chart.title for chart in charts(result())).lower()
    for word in ("offered", "latency", "queue", "oversold", "memory"):
        assert word in titles


def test_every_phase_and_event_is_named_in_the_drawing() -> None:
    page = report.html(result())
    for name in ("calm", "twice", "after", "something happens"):
        assert f">{name}</text>" in page


def test_a_missed_bar_is_shown_as_missed() -> None:
    page = report.html(result(verdict=Verdict(oversold_units=3)))
    assert "1 of 6 bars missed" in page
    assert re.search(r'<tr class="missed"><td><code>oversold_units</code>', page)
    assert "all 6 bars reached" in report.html(result())


def test_text_of_a_scenario_is_text() -> None:
    page = report.html(result(notes=["<b>bold</b>"]))
    assert "A &lt;made&gt; result" in page
    assert "&lt;b&gt;bold&lt;/b&gt;" in page


def test_both_files_are_written_and_the_json_has_everything(tmp_path: Path) -> None:
    made = result()
    page = report.write(made, tmp_path / "made")
    assert page.read_text() == report.html(made)
    told = json.loads((tmp_path / "made" / "report.json").read_text())
    assert told["scenario"] == "made"
    assert set(told["measured"]) == set(MEASURES)
    assert set(told["series"]) == {chart.title for chart in charts(made)}
    assert [bar["is_reached"] for bar in told["bars"]] == [True] * 6


def test_a_phase_tells_the_servers_cores_and_their_time_a_call() -> None:
    made = result()
    for row in report.as_json(made)["phases"]:
        answered = float(row["cells"][3].replace(",", ""))
        cores, us_a_call = row["cells"][-4:-2]
        assert cores == "0.50"
        assert float(us_a_call.replace(",", "")) == pytest.approx(0.5e6 / answered, rel=0.01)
    # A server that is started anew begins at zero: what it had used before is not taken away.
    for sample in made.samples[8:]:
        sample.core_seconds -= 4.0
    assert report.as_json(made)["phases"][1]["cells"][-4] == "0.40"


def test_a_phase_tells_what_the_generators_used() -> None:
    made = result()
    assert [row["cells"][-2:] for row in report.as_json(made)["phases"]] == [["", ""]] * 3
    made.recording.core_us_by_phase[1] = 2_000_000
    made.recording.begun_by_phase[1] = 100_000
    assert report.as_json(made)["phases"][1]["cells"][-2:] == ["0.40", "20"]


def test_the_page_has_both_colour_schemes() -> None:
    page = report.html(result())
    assert "prefers-color-scheme: dark" in page
    light, dark = re.findall(r":root \{(.*?)\}", page, re.DOTALL)
    names = [set(re.findall(r"(--[\w-]+):", block)) for block in (light, dark)]
    assert names[0] == names[1]


def test_every_class_of_a_series_has_a_colour_in_page_and_picture() -> None:
    made = result()
    page, drawn = report.html(made), picture(made)
    for number, chart in enumerate(charts(made)):
        for series in chart.series:
            first = series.style.split()[0]
            assert re.search(rf"\.{first}\b[^{{]*\{{ color:", page), first
            assert number > 1 or f".{first} {{ color:" in drawn, first


def test_the_picture_is_a_drawing_with_a_title() -> None:
    drawing = ElementTree.fromstring(picture(result()))
    space = "{http://www.w3.org/2000/svg}"
    assert drawing.tag == f"{space}svg"
    assert drawing.findtext(f"{space}title")
    assert "goodput_2x" in (drawing.findtext(f"{space}desc") or "")


def test_areas_stand_on_each_other() -> None:
    chart = Chart(
        "t",
        "u",
        [
            Series("a", "a", [(0.0, 10.0), (1.0, 10.0)], True),
            Series("b", "b", [(0.0, 30.0), (1.0, 30.0)], True),
        ],
        seconds=1.0,
    )
    heights = [
        {float(point.split(",")[1]) for point in polygon.get("points", "").split()}
        for polygon in ElementTree.fromstring(chart.svg()).iter("polygon")
    ]
    (bottom, middle), (low, top) = (sorted(each, reverse=True) for each in heights)
    assert middle == low
    assert (bottom - middle) * 3 == pytest.approx(low - top, abs=0.2)


@pytest.mark.parametrize("value", [0.3, 1, 7, 99, 101, 12_345, 999_999])
def test_an_axis_ends_at_a_round_number_not_far_above(value: float) -> None:
    top = round_up(value)
    assert value <= top <= 2 * value
    assert float(f"{top:.2g}") == pytest.approx(top)
