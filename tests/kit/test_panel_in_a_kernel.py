"""A demo in a real kernel, with messages as JupyterLab sends them: beside a running cell, in a subshell."""

from __future__ import annotations

import ast
import time
from pathlib import Path

import pytest
from jupyter_client.manager import start_new_kernel

ROOT = Path(__file__).parents[2]


KERNEL = """
import threading, time
import matplotlib as mpl
from tests.browser import sine_demo
demo = sine_demo.make()
before = dict(mpl.rcParams)
drawn, show = [], demo.show
demo.show = lambda data: (drawn.append((len(data["errors"]) - 1, time.time())), show(data))
demo
"""
LOOPING = """
import matplotlib.pyplot as plt, torch
sizes, until = set(), time.time() + 3
while time.time() < until:
    with plt.rc_context({"font.size": 23, "text.usetex": False, "font.family": "serif", "lines.linewidth": 9}):
        plt.figure().subplots().plot([1, 2]); plt.close(); sizes.add(mpl.rcParams["font.size"])
ended = time.time()
"""


@pytest.fixture(scope="module")
def kernel():
    manager, client = start_new_kernel(kernel_name="python3", cwd=str(ROOT))

    def ask(code, expression="None", cell=None, patience=120):
        content = {"code": code, "silent": False, "user_expressions": {"it": expression}}
        message = client.session.msg("execute_request", content, metadata={"cellId": cell} if cell else {})
        client.shell_channel.send(message)
        return reply_to(message, patience) if patience else message

    def reply_to(message, patience=120):
        while True:
            reply = client.get_shell_msg(timeout=patience)
            if reply["parent_header"]["msg_id"] == message["header"]["msg_id"]:
                assert reply["content"]["status"] == "ok", reply["content"]
                return ast.literal_eval(reply["content"]["user_expressions"]["it"]["data"]["text/plain"])

    ask.reply_to, ask.client, ask.manager = reply_to, client, manager
    yield ask
    client.stop_channels()
    manager.shutdown_kernel(now=True)


def tell(ask, comm_id, message, subshell=None):
    """What JupyterLab 4.6 sends when a person moves a control: a message for the comm, with a subshell's id."""
    content = {"comm_id": comm_id, "data": {"method": "custom", "content": message}}
    message = ask.client.session.msg("comm_msg", content)
    message["header"]["subshell_id"] = subshell
    ask.client.shell_channel.send(message)


def subshell_of(ask):
    request = ask.client.session.msg("create_subshell_request", {})
    ask.client.control_channel.send(request)
    while True:
        reply = ask.client.get_control_msg(timeout=30)
        if reply["parent_header"]["msg_id"] == request["header"]["msg_id"]:
            return reply["content"]["subshell_id"]


@pytest.mark.trust("a slider dragged while a cell runs", cases=200)
def test_a_drag_while_a_cell_plots_in_another_style_is_answered_at_once_and_changes_no_setting(kernel):
    comm_id = kernel(KERNEL, "demo.panel.comm.comm_id")
    subshell = subshell_of(kernel)
    running = kernel(LOOPING, patience=0)
    time.sleep(0.5)
    for number in range(200):
        tell(kernel, comm_id, {"do": "set", "name": "steps", "to": number % 50, "view": "v", "n": number + 1}, subshell)
        time.sleep(0.01)
    kernel.reply_to(running)
    deadline = time.monotonic() + 60
    while kernel("demo.panel.wait()", "demo.panel.state['heard']") != ["v", 200]:
        assert time.monotonic() < deadline
    drawn, ended = kernel("", "[drawn, ended]")
    during = [steps for steps, at in drawn if at < ended]
    assert 2 <= len(during) and len(drawn) < 200 and drawn[-1][0] == 49  # how many, two threads of one Python settle
    assert kernel("", "[dict(mpl.rcParams) == before, sizes == {23}]") == [True, True]
    same = "demo.picture.words() == sine_demo.make(steps=49).set().picture.words() and demo.png == fresh.png"
    assert kernel("fresh = sine_demo.make(steps=49).set(); fresh.picture.fit(ratio=2.0); fresh.set()", same) is True


@pytest.mark.trust("two demos dragged at once", cases=100, long=1000)
def test_two_demos_dragged_at_once_both_end_where_they_were_left(kernel, cases):
    make = "from tests.browser import sine_demo\none, two = sine_demo.make(), sine_demo.make()\none, two"
    comms, subshell = kernel(make, "[demo.panel.comm.comm_id for demo in (one, two)]"), subshell_of(kernel)
    for number in range(cases):
        for comm_id, to in zip(comms, (number % 50, 50 - number % 50)):
            tell(kernel, comm_id, {"do": "set", "name": "steps", "to": to, "view": "v", "n": number + 1}, subshell)
        time.sleep(0.005)
    last = (cases - 1) % 50
    kernel("one.panel.wait(); two.panel.wait()")
    assert kernel("", "[demo.values['steps'] for demo in (one, two)]") == [last, 50 - last]
    fresh = f"[sine_demo.make(steps=steps).set().picture.words() for steps in ({last}, {50 - last})]"
    assert kernel("", f"[demo.picture.words() for demo in (one, two)] == {fresh}") is True
    assert kernel("", "[demo.panel.state['problem'] for demo in (one, two)]") == ["", ""]


def test_a_cell_run_again_closes_what_it_showed_and_leaks_nothing(kernel):
    code = "from tests.browser import sine_demo\nd = sine_demo.make()\nd"
    look = "import gc, ipywidgets; from matplotlib.figure import Figure; gc.collect()"
    alive = "len(ipywidgets.widgets.widget._instances), sum(type(thing) is Figure for thing in gc.get_objects())"
    kept = "sum('image/png' in output.bundle for run in outputs.values() for output in run)"
    kernel(code, cell="one")
    history = "outputs = getattr(get_ipython().history_manager, 'outputs', {})"  # IPython 8 keeps none
    before, pictures = kernel(look, alive), kernel(history, kept)
    for _ in range(10):
        kernel(code, cell="one")
    assert kernel(look, alive) == before and kernel("", kept) == pictures
    kernel(code, cell="two")  # another cell keeps its own
    assert kernel(look, alive) == (before[0] + 2, before[1] + 1)


@pytest.mark.trust("an interrupt during a live run")
def test_an_interrupt_ends_a_live_run(kernel):
    code = """
import time
from course_lib.kit.demo import Demo, Run
from tests.kit.test_kit import tiny
ends = []
def compute(values):
    try:
        for frame in range(4000 if values.run else 1):
            time.sleep(0.01); yield {"y": frame / 1000}
    finally:
        ends.append(frame)
run = tiny(compute, [Run("run")])
run"""
    comm_id = kernel(code, "run.panel.comm.comm_id", cell="run")
    tell(kernel, comm_id, {"do": "press", "name": "run"}, subshell_of(kernel))
    deadline = time.monotonic() + 60
    while not kernel("", "run.panel.state['running']"):
        assert time.monotonic() < deadline
    time.sleep(0.5)  # an interrupt that meets the last words of a reply is lost
    kernel.manager.interrupt_kernel()
    kernel("run.panel.wait(10)")
    assert kernel("", "run.panel.state['running']") is False and 0 < kernel("", "ends[-1]") < 3000
