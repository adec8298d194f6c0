"""The instructor's guide: every link opens what it says, and nothing in it is written here."""

from __future__ import annotations

import re

import pytest

from course_lib.chapters import open_demo
from course_lib.kit import links
from course_lib.kit.lesson import Question, lessons
from course_lib.kit.present import guide
from course_lib.kit.present.server import guide_page

BASE = "http://127.0.0.1:8424/"
LINK = re.compile(r"\[([^\[\]]*)\]\(http://127\.0\.0\.1:8424/\?demo=([^&)]+)&?([^ \n]*?)\)(?=[\s;,.|]|$)", re.MULTILINE)


@pytest.fixture(scope="module")
def course():
    return lessons()


@pytest.fixture(scope="module")
def text(course):
    return guide.guide(course, open_demo, BASE)


def test_every_link_of_the_guide_opens_a_demo_where_it_says(course, text):
    showings = {showing.id: showing for lesson in course for showing in lesson.showings}
    found = LINK.findall(text)
    assert len(found) == text.count(f"]({BASE}") > 200 and {name for _, name, _ in found} == showings.keys()
    demos = {}
    for words, name, query in found:
        showing = showings[name]
        demo = demos.setdefault(name, open_demo(showing.key, showing.function, **showing.preset))
        read = links.read(query, demo)
        assert read.said == [] and read.hidden == [], (name, query, read.said)
        demo.accept(demo.start)
        demo.accept(read.values)
        if words in demo.views:
            assert demo.values == demo.views[words], (name, words)
        elif query:  # the end of a slider
            (changed,) = read.values
            assert demo.controls[changed].text(demo.values[changed]) == words


def test_a_lecture_takes_its_minutes_and_shows_no_demo_twice(course):
    shown = guide.chosen(course, (guide.LECTURE - guide.AROUND) // guide.EACH)
    assert guide.AROUND + guide.EACH * len(shown) <= guide.LECTURE and len({s.key for s in shown}) == len(shown)
    assert {showing.notebook for showing in shown} == {s.notebook for one in course for s in one.showings if s.question}
    assert [showing.notebook for showing in shown] == sorted(showing.notebook for showing in shown)


def test_a_week_has_every_notebook_once_in_order(course):
    groups = guide.week(course)
    assert len(groups) == guide.SECTIONS and [one.number for group in groups for one in group] == [
        c.number for c in course
    ]


def test_what_people_will_say_is_what_they_can_choose():
    question = Question("Up or\ndown?<!--x.y-->", ("up", "down", "neither"), "down", "It *falls*.")
    assert list(guide._asked(question)) == [
        "* **Ask:** Up or down?",
        "* **Expect:** up; neither",
        "* **It is:** down. It *falls*.",
    ]
    assert list(guide._asked(None)) == []
    assert guide._line("As [notebook 02](02_x.ipynb#a)\nsays.") == "As notebook 02 says."


def test_the_guide_is_a_page_without_a_network(text):
    page = guide_page(text)
    assert "<math" in page and "<script" not in page and "<!--" not in page
    addresses = re.findall(r'(?:href|src)="([^"]+)"', page)
    assert all(address == "data:," or address.startswith(f"{BASE}?demo=") for address in addresses)
