"""The cells of a notebook in JupyterLab, written and run as a person does: by click and keys."""

from __future__ import annotations

import re

from tests.browser.lab import SECOND, NotebookPage

RAN = """index => {
    const cell = panel.content.widgets[index];
    return cell.model.executionCount !== null && !cell.promptNode.textContent.includes('*')
        && panel.sessionContext.session?.kernel?.status === 'idle'; }"""
UNFOLDED = """() => panel.content.widgets.every(cell => cell.node.offsetHeight)
    || void jupyterapp.commands.execute('notebook:expand-all-headings')"""
OUTPUTS = """index => {
    const {outputs} = panel.content.widgets[index].model;
    return Array.from({length: outputs.length}, (_, at) => outputs.get(at).toJSON()); }"""
HIDDEN = """index => {
    const area = panel.content.widgets[index].outputArea.node, hidden = [];
    const NOT_PROSE = 'mjx-container, style, script, .jp-OutputPrompt', BLOCK = 'p, li, td, th, pre, div';
    const texts = document.createTreeWalker(area, NodeFilter.SHOW_TEXT);
    for (let text; (text = texts.nextNode());) {
        if (!text.textContent.trim() || text.parentElement.closest(NOT_PROSE)) continue;
        text.parentElement.scrollIntoView({block: 'center'});
        const range = document.createRange();
        for (const word of text.textContent.matchAll(/\\S+/g)) {
            range.setStart(text, word.index);
            range.setEnd(text, word.index + word[0].length);
            for (const {left, right, top, bottom} of range.getClientRects())
                for (const [x, y] of [[left + 1, top], [right - 1, top], [left + 1, bottom], [right - 1, bottom]]) {
                    const at = document.elementFromPoint(x, (y + (top + bottom) / 2) / 2);
                    if (!text.parentElement.closest(BLOCK).contains(at)) hidden.push(word[0]); } } }
    return hidden; }"""


class Cells:
    """The cells of an open notebook by their index."""

    def __init__(self, notebook: NotebookPage):
        self.page = notebook.page
        self.page.wait_for_function(UNFOLDED, polling=SECOND, timeout=90 * SECOND)

    def cell(self, index: int):
        return self.page.locator(".jp-Notebook .jp-Cell").nth(index)

    def source(self, index: int) -> str:
        return self.page.evaluate("index => panel.content.widgets[index].model.sharedModel.source", index)

    def write(self, index: int, source: str) -> None:
        """Click into a cell, select all that it holds and type ``source`` over it."""
        self._enter(index)
        self.page.keyboard.press("ControlOrMeta+a")
        self.page.keyboard.insert_text(source)
        assert self.source(index) == source

    def run(self, index: int, patience: float = 120.0) -> str:
        """Run a cell by keys; what then stands below it, all of it in sight. AssertionError if it fails or hides."""
        self._enter(index)
        self.page.evaluate("index => { panel.content.widgets[index].model.executionCount = null; }", index)
        self.page.keyboard.press("Control+Enter")
        self.page.wait_for_function(RAN, arg=index, timeout=patience * SECOND)
        failed = [output for output in self.outputs(index) if output["output_type"] == "error"]
        assert not failed, f"{self.source(index)}\n{failed}"
        return self.shown(index)

    def outputs(self, index: int) -> list[dict]:
        return self.page.evaluate(OUTPUTS, index)

    def shown(self, index: int) -> str:
        """The words below a cell; AssertionError if some are covered, cut off or out of reach of the page's width."""
        area = self.cell(index).locator(".jp-Cell-outputArea")
        if self.outputs(index):
            area.locator(".jp-OutputArea-output :not(:empty)").first.wait_for()
        hidden = self.page.evaluate(HIDDEN, index)
        assert not hidden, f"not to be seen: {hidden}"
        return " ".join(area.inner_text().split())

    def _enter(self, index: int) -> None:
        editor = self.cell(index).locator(".jp-InputArea .cm-content")
        editor.scroll_into_view_if_needed()
        editor.click(position={"x": 5, "y": 5})


def words_of(markdown: str) -> list[str]:
    """The words that Markdown shows, in pieces where mathematics stands between them."""
    code = re.sub(r"^```\w*$", "", markdown, flags=re.MULTILINE)
    plain = re.sub(r"(?<![\w*])\*{1,2}(\w(?:[^*`]*\w)?)\*{1,2}(?!\w)", r"\1", code).replace("`", "")
    return [" ".join(piece.split()) for piece in plain.split("$")[::2] if piece.split()]
