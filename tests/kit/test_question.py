"""A question is asked, a guess is made, the fact appears: without a kernel, and in one as JupyterLab talks to it."""

import ast
import html
import re
import time
from pathlib import Path

import pytest
from ipywidgets.widgets import widget
from jupyter_client.manager import start_new_kernel

from course_lib.kit import progress, question
from course_lib.kit.question import ask, guesses
from tools import notebooks


@pytest.fixture(autouse=True)
def session(tmp_path, monkeypatch):
    """A reader who has not answered anything."""
    monkeypatch.setenv("COURSE_PROGRESS", str(tmp_path / "progress.json"))
    monkeypatch.setattr(progress, "_session", progress._Session(progress._nothing()))
    monkeypatch.setattr(question, "_shown", {})


def rise(key="01.steps", **options):
    options = {"answer": "falls", "because": "Each step goes *downhill*."} | options
    return ask("Will the error $E_k$ rise or fall?", ["rises", "falls", "stays"], key=key, **options)


def rate(**options):
    options = {"number": 0.2, "unit": "of the border"} | options
    return ask("How large is `alpha`?", key="03.alpha", because="It is trained so.", **options)


def words(asked) -> str:
    return re.sub("<[^>]*>", "", asked._words.value)


def guess(asked, guess: str) -> None:
    asked.hear({"do": "commit", "guess": guess})


def skip(asked) -> None:
    asked.hear({"do": "skip"})


def again(asked) -> None:
    asked.hear({"do": "again"})


def below(asked) -> list:
    return [output.get("data", output)["text/plain" if "data" in output else "text"] for output in asked._below.outputs]


# The reader -----------------------------------------------------------------------------------------------------


def test_choices_are_shown_with_their_formulas():
    choices = ["$2 / \\lambda$ < *all*", "`none`"]
    asked = ask("Which?", choices, answer="`none`", key="01.which")
    first, second = asked.entry.labels
    assert asked.entry.choices == choices and second == "<code>none</code>"
    assert html.unescape(re.sub("<[^>]*>", "", first)) == "2/λ < all" and "<math" in first and "<em>" in first


def test_a_choice_is_committed_before_the_fact_appears():
    asked = rise()
    assert words(asked) == "" and not asked.revealed
    guess(asked, "")
    assert words(asked).startswith("Choose one first") and not asked.revealed
    guess(asked, "rises")
    assert words(asked) == "You said rises. The answer: falls. Each step goes downhill."
    assert asked.entry.revealed and asked.entry.guess == "rises"
    assert progress.guess_at("01.steps") == {
        "question": asked.question,
        "guess": "rises",
        "fact": "falls",
        "right": False,
    }


def test_the_right_guess_is_said_to_be_right():
    asked = rise()
    guess(asked, "falls")
    assert words(asked).startswith("You said falls: right. The answer: falls.")


def test_a_choice_is_taken_as_it_is_written():
    asked = ask("?", ["a", " b"], answer=" b", key="01.blank")
    guess(asked, " b")
    assert progress.guess_at("01.blank")["right"] is True and asked.entry.guess == " b"  # so that its button is chosen


def test_it_can_be_skipped_and_asked_again():
    asked = rise()
    skip(asked)
    assert words(asked).startswith("The answer: falls.") and progress.guess_at("01.steps")["guess"] is None
    again(asked)
    assert not asked.revealed and words(asked) == ""
    guess(asked, "falls")
    assert progress.guess_at("01.steps")["right"] is True


@pytest.mark.parametrize(
    ("typed", "right"),
    [("0.2", True), (" 0,21 ", True), ("2e-1", True), ("0.22", True), ("0.23", False), ("-0.2", False), ("100", False)],
)
def test_a_number_is_right_within_a_tenth(typed, right):
    asked = rate()
    guess(asked, typed)
    assert asked.revealed and progress.guess_at("03.alpha")["right"] is right
    assert "The answer: 0.2 of the border. It is trained so." in words(asked)


def test_a_tolerance_may_be_given():
    asked = rate(number=0, tolerance=0.5)
    guess(asked, "0.4")
    assert progress.guess_at("03.alpha")["right"] is True


@pytest.mark.parametrize("typed", ["", "a fifth", "nan", "inf", "<script>"])
def test_what_is_no_number_is_asked_for_again(typed):
    asked = rate()
    guess(asked, typed)
    assert not asked.revealed and words(asked).startswith("Type a number first")


def test_what_a_reader_typed_is_no_html():
    asked = ask("?", ["<b> & *c*", "x"], answer="x", key="01.odd")
    guess(asked, "<b> & *c*")
    assert "You said <em>&lt;b&gt; &amp; <em>c</em></em>." in asked._words.value


def test_the_page_looks_as_the_reader_left_it(monkeypatch):
    asked = rise()
    guess(asked, "rises")
    skip(rate())
    monkeypatch.setattr(question, "_shown", {})  # another day
    assert rise().revealed and rise().entry.guess == "rises" and words(rise()).startswith("You said rises.")
    assert rate().revealed and rate().entry.guess == ""
    other_choices = ask(asked.question, ["up", "down"], answer="up", key="01.steps")
    assert other_choices.revealed and words(other_choices).startswith("You said rises.")
    assert not ask("Another question now?", ["rises", "falls"], answer="falls", key="01.steps").revealed
    assert "not guessed" in repr(guesses("01"))


@pytest.mark.parametrize("guess", [3, ["rises"], {}, True])
def test_a_guess_that_is_none_counts_as_skipped(guess):
    progress.note_guess("01.steps", question=rise().question, guess=guess, fact=None, right="yes")
    assert words(rise()).startswith("The answer: falls.") and "skipped" in repr(guesses("01"))


# What comes then ------------------------------------------------------------------------------------------------


def test_then_is_shown_with_the_answer_and_hidden_again():
    made = []
    asked = rise(then=lambda: made.append(1) or "a picture")
    assert made == [] and below(asked) == []
    skip(asked)
    assert made == [1] and below(asked) == ["'a picture'"]
    again(asked)
    assert below(asked) == []
    thing = rise(key="01.thing", then={"a": 1})
    skip(thing)
    assert below(thing) == ["{'a': 1}"]


def test_what_fails_then_is_shown_and_the_answer_stays():
    asked = rise(then=lambda: 1 / 0)
    skip(asked)
    assert "ZeroDivisionError" in below(asked)[0] and words(asked).startswith("The answer")


# As a page ------------------------------------------------------------------------------------------------------


def test_as_a_still_page_it_reads_without_its_answer():
    bundle = rise(because="Secret.")._repr_mimebundle_()
    assert notebooks.WIDGET in bundle
    page = pytest.importorskip("mistune").html(bundle["text/markdown"])  # JupyterLab brings it
    assert page.count("<li>") == 3 and "<strong>Before you look:</strong> Will the error $E_k$ rise" in page
    bundle = rate()._repr_mimebundle_()
    assert bundle["text/markdown"].endswith("\n(A number, of the border.)")
    assert all("Secret" not in str(part) and "0.2" not in str(part) for part in bundle.values())


def test_a_cell_that_is_run_again_leaves_no_widgets_behind():
    rate(), rise()
    before = len(widget._instances)
    for _ in range(20):
        rate(), rise()
    assert len(widget._instances) == before


@pytest.mark.parametrize(
    "options",
    [
        {"key": "steps", "choices": ["a"], "answer": "a"},
        {"key": "01.steps", "choices": ["a"], "answer": "b"},
        {"key": "01.steps", "choices": ["a"]},
        {"key": "01.steps"},
        {"key": "01.steps", "answer": "a"},
        {"key": "01.steps", "choices": ["a"], "answer": "a", "number": 1.0},
        {"key": "01.steps", "choices": ["a"], "number": 1.0},
        {"key": "01.steps", "choices": [1, 2], "answer": 1},
        {"key": "01.steps", "choices": ["1", 2], "answer": "1"},
    ],
)
def test_a_question_without_one_answer_is_refused(options):
    with pytest.raises(ValueError, match="key must|answer must|Give choices|choices must be strings"):
        ask("?", **options)


def test_guesses_stand_beside_the_facts(monkeypatch):
    assert "No question of notebook 01" in repr(guesses("01"))
    asked = rise()
    guess(asked, "rises")
    skip(rise(key="01.skipped"))
    rise(key="01.open")
    rate()
    page = guesses("01")
    cells = re.findall(r"<td.*?>(.*?)</td>", page._repr_html_())
    assert cells[1::3] == ["rises", "skipped", "not guessed"] and cells[2::3] == ["falls"] * 3
    assert repr(page).count("your guess:") == 3 and "alpha" not in repr(page)
    monkeypatch.setattr(question, "_shown", {})  # another day, before the questions are asked again
    assert re.findall(r"<td.*?>(.*?)</td>", guesses("01")._repr_html_())[1::3] == ["rises", "skipped"]


# In a kernel ----------------------------------------------------------------------------------------------------

CELL = """
import threading, time
from course_lib.kit.question import ask
threads = []
def note(*_): threads.append(threading.current_thread() is threading.main_thread())
asked = ask("?", ["rises", "falls"], answer="falls", key="01.steps", then=note)
asked.entry.observe(note, "revealed")
"""
BUSY = """
end = time.time() + 30
while not asked.revealed and time.time() < end: time.sleep(0.01)
revealed_meanwhile, shown_meanwhile = asked.revealed, len(asked._below.outputs)
"""


@pytest.mark.parametrize("subshell", [True, False])
def test_a_guess_is_answered_also_while_another_cell_runs(subshell):
    """JupyterLab 4.6 sends a widget's messages to a subshell, a second thread of the kernel; others do not."""
    manager, client = start_new_kernel(kernel_name="python3", cwd=str(Path(__file__).parents[2]))
    try:

        def evaluate(code, expression):
            reply = client.execute_interactive(code, user_expressions={"it": expression}, timeout=60)
            assert reply["content"]["status"] == "ok", reply["content"]
            return ast.literal_eval(reply["content"]["user_expressions"]["it"]["data"]["text/plain"])

        def send(**what):
            data = {"method": "custom", "content": what}
            message = client.session.msg("comm_msg", {"comm_id": comm_id, "data": data})
            if subshell:
                message["header"]["subshell_id"] = subshell_id
            client.shell_channel.send(message)

        comm_id = evaluate(CELL, "asked.entry.comm.comm_id")
        if subshell:
            client.control_channel.send(client.session.msg("create_subshell_request"))
            subshell_id = client.control_channel.get_msg(timeout=30)["content"]["subshell_id"]
            client.execute(BUSY)
            time.sleep(0.5)
        send(do="commit", guess="falls")
        wait = "import asyncio\nwhile not asked._below.outputs: await asyncio.sleep(0.01)"
        found = evaluate(wait, "threads, asked.entry.guess")
        meanwhile = evaluate("", "revealed_meanwhile, shown_meanwhile") if subshell else (True, 0)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    assert found == ([not subshell, True], "falls")  # what comes then is made by the thread of the cells
    assert meanwhile == (True, 0)  # the words at once
