// The page of a demo: controls beside a picture that can be touched. Plain elements, no framework, no build.
//
// mount(root, source) needs of its source: declaration, state(), png() (bytes), send(message) and onChange(callback). In a
// notebook that is the widget's model; a lecture hall's web socket or a recording serves as well.

function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in element && !name.startsWith("aria")) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.filter(child => child !== null));
  return element;
}

export function mount(root, source) {
  const declaration = source.declaration, view = Math.random().toString(36).slice(2, 8);  // names it on its page
  const controls = Object.fromEntries(declaration.controls.map(control => [control.name, control]));
  const update = {}, ranges = {};  // by control: shows a state; a slider's element
  let sent = 0, state = source.state(), waiting = null, playing = 0, address = "";

  // What a person does is sent at once; of a slider's further moves until the screen's next frame, the last ------------
  const pending = new Map();
  let due = false;
  function tell(message) {
    source.send({...message, view, n: ++sent});
    root.dataset.pending = "true";
    if (message.do === "fit") return;  // a picture kept in a file is not faded for want of a kernel
    clearTimeout(waiting);
    waiting = setTimeout(() => {
      frame.classList.add("demo-busy");
      waiting = setTimeout(() => say("No answer yet: the kernel is busy, or this cell has to be run again."), 6000);
    }, 400);
  }
  function soon(key, message) { pending.set(key, message); if (!due) flush(); }
  function flush() {
    due = pending.size > 0;
    for (const message of pending.values()) tell(message);
    pending.clear();
    if (due) requestAnimationFrame(flush);
  }
  function say(words) { note.textContent = words; if (words) setTimeout(() => { note.textContent = ""; }, 5000); }

  // Controls ----------------------------------------------------------------------------------------------------------
  function classes(control) { return `demo-control demo-${control.kind} demo-${control.kind}-${control.name}`; }

  function slider(control) {
    const id = `demo-${view}-${control.name}`, last = control.texts.length - 1;
    const words = make("output", {htmlFor: id, "aria-hidden": "true"});  // the slider says it
    const range = make("input", {type: "range", id, min: 0, max: last, step: 1, title: ""});
    const show = (place, text) => {
      range.value = place;
      words.textContent = text;
      range.setAttribute("aria-valuetext", text);
      range.style.setProperty("--part", `${100 * place / Math.max(last, 1)}%`);
    };
    range.addEventListener("input", () => {
      show(range.valueAsNumber, control.texts[range.valueAsNumber]);
      soon(control.name, {do: "set", name: control.name, to: range.valueAsNumber});
    });
    update[control.name] = now => show(now.at[control.name], now.texts[control.name]);
    ranges[control.name] = range;
    return make("div", {className: classes(control)}, make("label", {htmlFor: id, textContent: control.label}), words, range);
  }

  function options(control, type) {
    const inputs = control.texts.map((text, place) =>
      make("input", {type, name: `demo-${view}-${control.name}`, value: place}));
    inputs.forEach(input => input.addEventListener("change", () => {
      const on = inputs.flatMap((other, place) => other.checked ? [place] : []);
      tell({do: "set", name: control.name, to: type === "radio" ? on[0] : on});
    }));
    update[control.name] = now => {
      const at = [now.at[control.name]].flat();
      inputs.forEach((input, place) => { input.checked = at.includes(place); });
    };
    const rows = inputs.map((input, place) => make("label", {}, input, control.texts[place]));
    return make("fieldset", {className: classes(control)}, make("legend", {textContent: control.label}), ...rows);
  }

  const builders = {
    slider, notches: slider,
    choice: control => options(control, "radio"),
    several: control => options(control, "checkbox"),
    switch: control => {
      const box = make("input", {type: "checkbox"});
      box.addEventListener("change", () => tell({do: "set", name: control.name, to: box.checked ? 1 : 0}));
      update[control.name] = now => { box.checked = now.at[control.name] === 1; };
      return make("label", {className: classes(control)}, box, control.label);
    },
    button: control => press(control, ""),
    run: control => press(control, "▶ "),
    drawing: control => {
      const pad = drawingPad(control, strokes => tell({do: "set", name: control.name, to: strokes}));
      update[control.name] = now => pad.show(now.at[control.name]);
      pad.element.className = classes(control);
      return pad.element;
    },
  };
  function press(control, sign) {
    return button(sign + control.label, classes(control), () => tell({do: "press", name: control.name}), control.help);
  }
  function button(text, className, act, help = "") {
    const element = make("button", {type: "button", textContent: text, className: `demo-button-face ${className}`});
    if (help) element.setAttribute("aria-description", help);
    element.addEventListener("click", act);
    return element;
  }
  function toggle(text, className, act) {
    const element = button(text, className, () => act(element.getAttribute("aria-pressed") !== "true"));
    element.setAttribute("aria-pressed", "false");
    return element;
  }

  const rows = declaration.controls.filter(control => builders[control.kind]);
  const isPad = control => control.kind === "drawing", pads = make("div", {className: "demo-pads"});
  const isButton = control => control.kind === "button" || control.kind === "run";
  const views = declaration.views.map(name => button(name, "demo-view", () => tell({do: "view", name})));
  const stop = declaration.runs ? button("■ stop", "demo-stop", () => tell({do: "stop"})) : null;
  const play = declaration.play ? toggle("play", "demo-play", on => on ? start() : halt()) : null;
  const pin = declaration.pins ? toggle("pin", "demo-pin", to => tell({do: "pin", to})) : null;
  const large = toggle("large print", "demo-large-print", to => tell({do: "large", to}));
  const tools = [
    play, pin, stop, button("reset", "demo-reset", () => { halt(); tell({do: "reset"}); }),
    button("copy setting", "demo-copy", copy), large,
  ].filter(Boolean);
  play?.setAttribute("aria-description", `moves ${controls[declaration.play]?.label} to its end and back`);
  pin?.setAttribute("aria-description", "keeps the curve as it is now, to compare with");

  function copy() {
    const done = navigator.clipboard?.writeText(state.call) ?? Promise.reject();
    done.then(() => say(`Copied: ${state.call}`), () => say(state.call));
  }

  // Play: the slider sweeps to its end, to its start, and back to where it was, as fast as pictures come -----------------
  function start() {
    const range = ranges[declaration.play], last = +range.max, home = range.valueAsNumber;
    const stride = Math.max(1, Math.round(last / 60));
    const path = [];
    for (let place = home; place < last; place += stride) path.push(place);
    for (let place = last; place > 0; place -= stride) path.push(place);
    for (let place = 0; place < home; place += stride) path.push(place);
    path.push(home);
    play.setAttribute("aria-pressed", "true");
    const run = ++playing, each = Math.max(50, 6000 / path.length);
    let step = 0, at = 0;
    requestAnimationFrame(function next(time) {
      if (run !== playing || !root.isConnected) return;
      if (time - at >= each && root.dataset.pending !== "true") {
        at = time;
        range.value = path[step];
        range.dispatchEvent(new Event("input"));
        if (++step === path.length) return halt();
      }
      requestAnimationFrame(next);
    });
  }
  function halt() { playing += 1; play?.setAttribute("aria-pressed", "false"); }

  // The picture, and what can be touched on it ------------------------------------------------------------------------
  const title = make("div", {className: "demo-title", textContent: declaration.title});
  const img = make("img", {className: "demo-picture", draggable: false});
  const frame = make("div", {className: "demo-frame"}, img);
  const caption = make("div", {className: "demo-caption", role: "status"});
  const problem = make("div", {className: "demo-problem", role: "alert", hidden: true});
  const note = make("div", {className: "demo-note", role: "status"});
  const story = make("div", {className: "demo-buttons demo-views", role: "group", "aria-label": "views"}, ...views);
  const stage = make("div", {className: "demo-stage"}, problem,
    make("div", {className: "demo-scroll"}, frame), story, caption);
  const handles = new Map();
  let moved = false, held = null;

  function place(event) {
    const box = img.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  }
  function handle(key, {handle: number, index}) {
    const element = make("button", {type: "button", className: "demo-handle", "aria-roledescription": "movable point"});
    const clicked = declaration.clicks.includes(number);
    element.addEventListener("pointerdown", event => {
      element.setPointerCapture(event.pointerId);
      [held, moved] = [key, false];
      event.preventDefault();
      element.focus();
    });
    element.addEventListener("pointermove", event => {
      if (held !== key) return;
      moved = true;
      const to = place(event);
      element.style.left = `${100 * to[0]}%`;
      element.style.top = `${100 * to[1]}%`;
      soon(key, {do: "drag", handle: number, index, to});
    });
    element.addEventListener("pointerup", () => {
      if (held === key && !moved && clicked) tell({do: "take", handle: number, index});
      held = null;
      arrange();
    });
    element.addEventListener("pointercancel", () => { held = null; });
    element.addEventListener("keydown", event => {
      const by = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1]}[event.key];
      if (by) tell({do: "nudge", handle: number, index, by: by.map(b => b * (event.shiftKey ? 5 : 1))});
      else if (clicked && ["Delete", "Backspace"].includes(event.key)) tell({do: "take", handle: number, index});
      else return;
      event.preventDefault();
    });
    frame.append(element);
    return element;
  }
  function arrange() {
    const seen = new Set();
    for (const spot of state.handles) {
      const key = `${spot.handle}.${spot.index}`;
      seen.add(key);
      if (!handles.has(key)) handles.set(key, handle(key, spot));
      const element = handles.get(key);
      element.setAttribute("aria-label", spot.words);
      if (held === key) continue;
      element.style.left = `${100 * spot.x}%`;
      element.style.top = `${100 * spot.y}%`;
    }
    for (const [key, element] of handles) if (!seen.has(key)) { element.remove(); handles.delete(key); }
  }
  if (declaration.clicks.length) {
    frame.classList.add("demo-clicks");
    img.addEventListener("click", event => tell({do: "drag", handle: declaration.clicks[0], index: null, to: place(event)}));
  }

  // The size: as wide as there is room, as high as the window leaves beside all words, sharp on any screen ----------------
  const [width, height] = declaration.size, AROUND = 147;  // JupyterLab's bars, and the demo's own border
  let fitted = "", highest = Infinity;  // while controls move, a longer caption may shrink the picture; none lets it grow
  function fit() {
    const room = stage.clientWidth;
    if (!room) return;
    const words = title.offsetHeight + pads.offsetHeight + stage.offsetHeight - frame.offsetHeight;
    highest = Math.min(highest, Math.max(210, window.innerHeight - AROUND - words));
    const legible = Math.max(room, 0.55 * width);  // on a phone the picture is moved sideways
    const wide = Math.round(Math.min(legible, 1.3 * width, highest * width / height));
    frame.style.width = `${wide}px`;
    const ratio = Math.min(window.devicePixelRatio || 1, 3), now = `${wide} ${ratio}`;
    if (now !== fitted) tell({do: "fit", width: wide, ratio});
    fitted = now;
  }
  let resized = 0;
  const observer = new ResizeObserver(() => { clearTimeout(resized); resized = setTimeout(fit, fitted ? 150 : 0); });
  const refit = () => { highest = Infinity; fit(); };

  // What comes back ---------------------------------------------------------------------------------------------------
  let speak = 0;
  function show() {
    state = source.state();
    const [who, number] = state.heard, mine = who === view;
    if (!mine || number >= sent) {  // else an older picture on the way to where the hand already is
      if (mine) {
        root.dataset.pending = "false";
        clearTimeout(waiting);
        frame.classList.remove("demo-busy");
      }
      for (const show of Object.values(update)) show(state);
    }
    const fresh = URL.createObjectURL(new Blob([source.png()], {type: "image/png"}));
    img.src = fresh;
    if (address) URL.revokeObjectURL(address);
    address = fresh;
    img.alt = state.words;
    clearTimeout(speak);
    speak = setTimeout(() => { if (caption.textContent !== state.words) caption.textContent = state.words; }, 150);
    if (problem.innerHTML !== state.problem) problem.innerHTML = state.problem;
    problem.hidden = !state.problem;
    img.classList.toggle("demo-outdated", Boolean(state.problem));
    if (root.classList.contains("demo-large") !== state.large) {
      root.classList.toggle("demo-large", state.large);
      highest = Infinity;
    }
    large.setAttribute("aria-pressed", state.large);
    pin?.setAttribute("aria-pressed", state.pinned);
    if (stop) stop.disabled = !state.running;
    views.forEach((element, index) => element.setAttribute("aria-pressed", declaration.views[index] === state.view));
    arrange();
  }

  root.classList.add("course-demo");
  root.setAttribute("role", "group");
  root.setAttribute("aria-label", declaration.title);
  root.dataset.lmSuppressShortcuts = "true";  // in JupyterLab a key on a slider is the slider's, and deletes no cell
  root.addEventListener("keydown", event => event.stopPropagation());
  const side = make("div", {className: "demo-controls"},
    ...rows.filter(control => !isButton(control) && !isPad(control)).map(control => builders[control.kind](control)),
    make("div", {className: "demo-buttons"}, ...rows.filter(isButton).map(control => builders[control.kind](control))),
    make("div", {className: "demo-buttons demo-toolbar"}, ...tools), note);
  pads.append(...rows.filter(isPad).map(control => builders[control.kind](control)));  // in a row of their own, above
  root.append(title, pads, make("div", {className: "demo-body"}, stage, side));
  source.onChange(show);
  show();
  observer.observe(stage);
  window.addEventListener("resize", refit);
  return () => {
    observer.disconnect();
    window.removeEventListener("resize", refit);
    URL.revokeObjectURL(address);
  };
}

export default {
  render({model, el}) {
    const bytes = view => view.buffer ? new Uint8Array(view.buffer, view.byteOffset, view.byteLength) : view;
    return mount(el, {
      declaration: model.get("declaration"),
      state: () => model.get("state"),
      png: () => bytes(model.get("png")),
      send: message => model.send(message),
      onChange: callback => model.on("change:state", callback),
    });
  },
};
