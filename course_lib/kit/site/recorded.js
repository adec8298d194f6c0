// A recording as a source of pictures for the page of a demo (panel.js says what a source is): kit/site/recording.py makes it.
//
// The picture stands in the page as SVG. A frame is what differs from it: {part: new markup, or [element's number in the part,
// attribute ("" for its text), value or null]}. A setting that was not recorded is answered by the recorded one that keeps what
// was just moved and most of the rest; the status line says what went back.

const RUN_FRAME = 90;  // milliseconds between the pictures of a live run

function applier(svg) {
  const parts = new Map([...svg.querySelectorAll("[data-part]")].map(part => [part.dataset.part, part])), base = new Map(parts);
  let changed = [];
  function put(name, element) {
    element.dataset.part = name;
    parts.get(name).replaceWith(element);
    parts.set(name, element);
  }
  function edited(name, edits) {
    if (typeof edits === "string") {
      const text = `<svg xmlns="http://www.w3.org/2000/svg">${edits}</svg>`;
      return document.importNode(new DOMParser().parseFromString(text, "image/svg+xml").documentElement.firstChild, true);
    }
    const fresh = base.get(name).cloneNode(true), elements = [fresh, ...fresh.querySelectorAll("*")];
    for (const [number, attribute, value] of edits) {
      const element = elements[number];
      if (attribute === "") element.firstChild ? element.firstChild.data = value : element.append(value);
      else if (value === null) element.removeAttribute(attribute);
      else element.setAttribute(attribute, value);
    }
    return fresh;
  }
  return change => {
    for (const name of changed) if (!(name in change)) put(name, base.get(name).cloneNode(true));
    for (const [name, edits] of Object.entries(change)) put(name, edited(name, edits));
    changed = Object.keys(change);
  };
}

function recordedSource(recording, svg, query = "") {
  const {frames, runs} = recording, told = recording.declaration, names = told.controls.map(control => control.name);
  const apply = applier(svg), listeners = [];
  const controls = told.controls.filter(control => control.recorded);
  const asShown = (control, place) => control.stands ? control.stands[place] : place;
  const placesOf = frame => Object.fromEntries(told.controls.map((control, i) => [control.name, asShown(control, frame.at[i])]));
  const declaration = {
    ...told, controls, views: Object.keys(told.views), play: controls.some(c => c.name === told.play) ? told.play : "",
    runs: Object.keys(runs).length > 0, pins: false, clicks: [], start: placesOf(frames[0]), hidden: [],
  };
  let now = frames[0], shown = now, timer = 0, large = false, note = "", heard = ["", 0];

  const link = () => writeLink(declaration, placesOf(now));
  function show(frame) {
    shown = frame;
    if (!frame.problem) apply(frame.change);
    svg.setAttribute("aria-label", frame.words ?? "");
    for (const call of listeners) call();
  }
  function halt() { clearInterval(timer); timer = 0; }

  // The recorded frame that has what was asked for ({name: place}) and most of what stands now.
  function nearest(asked, pool = frames) {
    const fits = frame => names.every((name, i) => !(name in asked) || frame.at[i] === asked[name]);
    const kept = frame => frame.at.filter((place, i) => place === now.at[i]).length;
    return pool.filter(fits).reduce((best, frame) => !best || kept(frame) > kept(best) ? frame : best, null);
  }
  function go(frame, moved) {
    const back = told.controls.filter((control, i) => !moved.includes(control.name) && control.recorded && frame.at[i] !== now.at[i]);
    const words = control => {
      const place = frame.at[names.indexOf(control.name)];
      return control.texts && !control.stands ? `${control.label} is at ${control.texts[place]} again` : `${control.label} went back`;
    };
    note = back.length ? `Recorded one change at a time: ${back.map(words).join(", ")}.` : "";
    now = frame;
    show(frame);
  }

  function recordedPlace(name, to) {  // of what the page says about a control, among the recorded values
    const i = names.indexOf(name), {kind, stands} = told.controls[i];
    if (!stands) return to;
    const differ = (a, b) => [...a, ...b].filter(option => a.includes(option) !== b.includes(option));
    const turned = kind === "several" ? differ(to, stands[now.at[i]]) : [];  // what was just switched counts first
    const far = kind === "several"
      ? each => differ(each, to).length + 100 * differ(each, to).filter(option => turned.includes(option)).length
      : each => Math.hypot(each[0] - to[0], each[1] - to[1]);
    return stands.reduce((best, each, place) => far(each) < far(stands[best]) ? place : best, 0);
  }
  function towards(handle, index, better) {  // the frame whose point lies best, of those that its controls reach
    const moves = told.moves[handle], point = frame => frame.handles?.find(h => h.handle === handle && h.index === index);
    const free = frames.filter(frame => point(frame) && names.every((name, i) => moves.includes(name) || frame.at[i] === now.at[i]));
    const pool = free.length > 1 ? free : frames.filter(point);
    const best = pool.map(frame => [better(point(frame)), frame]).filter(([far]) => far < Infinity).sort((a, b) => a[0] - b[0])[0];
    if (best) go(best[1], moves);
  }
  const acts = {
    set: ({name, to}) => go(nearest({[name]: recordedPlace(name, to)}), [name]),
    press({name}) {
      if (runs[name]) return play(name);
      const i = names.indexOf(name), count = 1 + Math.max(...frames.map(frame => frame.at[i])), next = (now.at[i] + 1) % count;
      go(nearest({[name]: next}), [name]);
      note ||= `Recorded: ${next + 1} of ${count}.`;
    },
    view: ({name}) => go(frames.find(frame => names.every((_, i) => frame.at[i] === told.views[name][i])), names),
    reset: () => go(frames[0], names),
    drag: ({handle, index, to}) => towards(handle, index, point => Math.hypot(point.x - to[0], point.y - to[1])),
    nudge({handle, index, by}) {
      const here = now.handles.find(h => h.handle === handle && h.index === index);
      towards(handle, index, ({x, y}) => {
        const [right, up] = [x - here.x, here.y - y], along = right * by[0] + up * by[1];
        return along > 1e-3 * Math.hypot(...by) ? Math.hypot(right, up) + 2 * Math.abs(right * by[1] - up * by[0]) : Infinity;
      });
    },
    large({to}) { large = to; show(shown); },
    stop() { halt(); show(shown); },
    fit() { show(shown); },
  };
  function play(name) {
    halt();
    let at = 0;
    if (now !== frames[0]) { go(frames[0], []); }
    timer = setInterval(() => {
      if (at === runs[name].length - 1) halt();
      note = timer ? "" : "That was a recorded run; the notebook trains anew.";
      show(runs[name][at++]);
    }, RUN_FRAME);
  }
  function send(message) {
    heard = [message.view, message.n];
    if (!["fit", "large", "stop"].includes(message.do)) { halt(); note = ""; }
    acts[message.do]?.(message);
  }
  function state() {
    const at = placesOf(now);
    const texts = Object.fromEntries(told.controls.map((control, i) => [control.name, control.texts?.[now.at[i]] ?? ""]));
    const view = declaration.views.find(name => told.views[name].every((place, i) => place === now.at[i])) ?? "";
    const problem = shown.problem ? `<b>No picture for this setting:</b> ${shown.problem}` : "";
    const said = note;
    note = "";
    return {
      words: shown.words ?? shown.problem, at, texts, handles: shown.handles ?? [], link: link(), call: "", view,
      running: timer !== 0, pinned: false, large, problem, heard, note: said,
    };
  }
  if (query) {
    const link = readLink(query, declaration);
    declaration.hidden = link.hidden;
    const asked = Object.fromEntries(Object.entries(link.at).map(([name, to]) => [name, recordedPlace(name, to)]));
    for (const name of Object.keys(asked)) now = nearest(asked) ?? nearest({[name]: asked[name]}) ?? now;
    note = link.said.join(" ");
    show(now);
  }
  return {declaration, picture: svg, state, send, link, onChange: call => listeners.push(call)};
}
