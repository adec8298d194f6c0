// The game: five characters, one drawing of each; then one drawing at a time, named by keys 1 to 5 or clicks.
//
// mountGame(root, source) needs of its source: declaration (of game.py), answers (of an earlier day, or []), done(answers),
// and again() where there are new characters to be had. A notebook's widget serves, and a page without a kernel.

export function mountGame(root, source) {
  const make = (kind, properties = {}, ...children) => {
    const element = Object.assign(document.createElement(kind), properties);
    element.append(...children);
    return element;
  };
  const shape = (kind, properties, ...children) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", kind);
    for (const [name, value] of Object.entries(properties)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  };
  const game = source.declaration, rounds = game.hands.flatMap((hand, i) => hand.queries.map(query => ({...query, hand: i})));
  const total = rounds.length, answers = [...source.answers];
  const title = make("div", {className: "game-title", textContent: game.title});
  const status = make("div", {className: "game-status"}), body = make("div");
  status.setAttribute("role", "status");
  const button = (text, act) => make("button", {type: "button", textContent: text, className: "game-button", onclick: act});

  function answer(label) {
    if (answers.length === total) return;
    answers.push(label);
    if (answers.length === total) source.done(answers);
    show();
  }
  function takeBack() {
    if (answers.length === 0 || answers.length === total) return;
    answers.pop();
    show();
  }
  function start(from) {
    answers.splice(0, answers.length, ...from);
    show();
    root.focus();
  }

  function ask() {
    const round = rounds[answers.length], first = answers.length === 0 || rounds[answers.length - 1].hand !== round.hand;
    const fresh = first && answers.length > 0 ? "New characters. " : "";
    status.textContent = `${fresh}Which of the five is it? Drawing ${answers.length + 1} of ${total}.`;
    const choices = game.hands[round.hand].support.map((picture, label) => {
      const choice = make("button", {type: "button", className: "game-choice", onclick: () => { answer(label); root.focus(); }},
        make("img", {src: picture, alt: ""}), make("span", {textContent: label + 1}));
      choice.setAttribute("aria-label", `It is character ${label + 1}`);
      return choice;
    });
    body.replaceChildren(
      make("div", {className: "game-choices"}, ...choices),
      make("div", {className: "game-query"},
        make("img", {src: round.picture, alt: "A drawing by another hand of one of the five characters"}),
        make("div", {}, make("b", {textContent: "Which one is this?"}), make("br"),
          `Click the right one of the five; after that keys 1 to ${choices.length} work too. Backspace takes the last answer back.`, make("br"),
          button("Show me without playing", () => start(Array(total).fill(null))))));
  }

  function results() {
    const played = answers.some(label => label !== null);
    const players = [...(played ? [["you", answers]] : []),
      ...Object.entries(game.rivals).map(([rival, name]) => [name, rounds.map(round => round.said[rival])])];
    const rows = players.map(([name, said]) => {
      const right = said.filter((label, i) => label === rounds[i].truth).length;
      return {name, said, right, ends: game.intervals[right]};
    });
    status.textContent = `${rows.map(row => `${row.name}: ${row.right} of ${total}`).join(", ")}.`;
    const left = 130, width = 330, x = percent => left + width * percent / 100, height = 30 * rows.length + 30;
    const picture = shape("svg", {viewBox: `0 0 620 ${height}`, class: "game-scores", "aria-hidden": "true"});
    const line = (x1, y1, x2, y2, look) => picture.append(shape("line", {x1, y1, x2, y2, ...look}));
    const text = (at, y, words, look = {}) => picture.append(shape("text", {x: at, y, ...look}, words));
    for (const percent of [0, 50, 100]) {
      line(x(percent), 6, x(percent), height - 22, {stroke: "#e2e2e2"});
      text(x(percent), height - 6, `${percent} %`, {"text-anchor": "middle", fill: "#5f5f5f"});
    }
    line(x(game.chance), 6, x(game.chance), height - 22, {stroke: "#767676", "stroke-dasharray": "2 3"});
    text(x(game.chance), height - 6, "chance", {"text-anchor": "middle", fill: "#5f5f5f"});
    rows.forEach((row, i) => {
      const y = 20 + 30 * i, color = row.name === "you" ? "#d55e00" : "#0072b2";
      text(left - 12, y + 4, row.name, {"text-anchor": "end", "font-weight": row.name === "you" ? 700 : 400});
      line(x(row.ends[0]), y, x(row.ends[1]), y, {stroke: color, "stroke-width": 2});
      if (row.name === "you") text(x(100 * row.right / total), y + 8, "★", {"text-anchor": "middle", fill: color, "font-size": 24});
      else picture.append(shape("circle", {cx: x(100 * row.right / total), cy: y, r: 6, fill: color}));
      text(x(100) + 16, y + 4, `${row.right} of ${total}`);
    });
    const sheet = make("table", {className: total > 10 ? "game-sheet game-many" : "game-sheet"}, make("caption", {textContent: "Who said what"}));
    const row = (head, cells) => sheet.append(make("tr", {}, make("th", {textContent: head, scope: "row"}), ...cells));
    row("the drawing", rounds.map((round, i) => make("td", {}, make("img", {src: round.picture, alt: `drawing ${i + 1}`}))));
    row("it is", rounds.map(round => make("td", {}, make("img", {src: game.hands[round.hand].support[round.truth],
      alt: `character ${round.truth + 1}`}))));
    for (const {name, said} of rows) row(name, said.map((label, i) => {
      const right = label === rounds[i].truth;
      return make("td", {className: right ? "game-right" : "game-wrong",
        textContent: label === null ? "–" : `${label + 1} ${right ? "✓" : "✗"}`});
    }));
    const note = `Lines: 95 % intervals for ${total} drawings. Everyone saw the same ${game.pictures} in 28 x 28 points.`;
    body.replaceChildren(picture, make("div", {className: "game-note", textContent: note}),
      make("div", {className: "game-scroll"}, sheet),
      make("div", {}, button("Play again", () => start([])), ...(source.again ? [" ", button("New characters", source.again)] : [])));
  }
  function show() { (answers.length < total ? ask : results)(); }

  root.classList.add("course-game");
  root.tabIndex = -1;
  root.setAttribute("role", "group");
  root.setAttribute("aria-label", game.title);
  root.addEventListener("focusin", event => { event.target.dataset.lmSuppressShortcuts = "true"; });  // Notebook 7 hears keys first
  const keys = event => {
    if (event.key === "Tab" || event.key === "Escape") return;
    event.stopPropagation();  // in JupyterLab a key pressed here is the game's
    if (event.key === "Backspace") takeBack();
    else if (/^[1-9]$/.test(event.key) && +event.key <= game.hands[0].support.length) answer(+event.key - 1);
    else return;
    root.focus();  // the button that had the focus is gone
  };
  root.addEventListener("keydown", keys);
  root.replaceChildren(title, ...(game.note ? [make("div", {className: "game-note", textContent: game.note})] : []), status, body);
  show();
  return () => root.removeEventListener("keydown", keys);
}

export default {
  render({model, el}) {
    const root = document.createElement("div");
    el.append(root);
    let end = () => {};
    const open = () => {
      end();
      end = mountGame(root, {
        declaration: model.get("declaration"),
        answers: model.get("answers"),
        done: answers => model.send({do: "done", answers}),
        again: () => model.send({do: "again"}),
      });
    };
    const openAgain = () => {
      open();
      root.focus();  // the button "New characters" is gone
    };
    model.on("change:declaration", openAgain);
    open();
    return () => { model.off("change:declaration", openAgain); end(); };
  },
};
