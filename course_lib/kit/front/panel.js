// The page of a demo: controls beside a picture that can be touched. Plain elements, no framework, no build.
//
// mount(root, source, place) fills an element with a demo and returns a function that lets go of it. The same page stands in
// JupyterLab, in a lecture hall and on the site; what differs is the source of its pictures. A SOURCE has
//
//   declaration     what stays: {key, title, controls, views, play, size, runs, pins, clicks, start, hidden} (``Live.declare`` in
//                   course_lib/kit/live.py makes it; each control is ``Control.describe()``: kind, name, label, help, texts of
//                   its notches and words, the same notches as links write them; start: {name: place} where reset returns to)
//   picture         the element that shows the picture: the source paints it before it calls back; pngPicture() for bytes
//   state()         what belongs to the picture on show: {words, at, texts, handles, link, call, view, running, pinned, large,
//                   problem, heard, note}. at: {name: place among the notches}; several: places; drawing: strokes; button: its
//                   count. texts: {name: what stands beside a slider}. handles: [{handle, index, x, y, words}] in parts of the
//                   picture. link: the query of links.js. view: the view on show, or "". problem: HTML, or "". note: a sentence
//                   for the status line, or "". heard: [who, number] of the newest message that the state answers.
//   send(message)   what a person did, with view (who) and n (number), and
//                     {do: "set", name, to}        a control to a place; its notches are counted from 0
//                     {do: "press", name}          a button or a run
//                     {do: "view", name} {do: "reset"} {do: "stop"} {do: "pin", to} {do: "large", to}
//                     {do: "fit", width, ratio}    points that the picture has room for, and pixels a point; height too where it
//                                                  is to fill the room
//                     {do: "drag", handle, index, to: [x, y]} {do: "nudge", handle, index, by} {do: "take", handle, index}
//   onChange(call)  has call() called whenever the state has changed
//
// A recording declares what it holds: fewer controls and notches, runs and pins false, clicks [], handles []. A PLACE may have
// around (pixels of the window that are not the demo's), fill (the picture takes the whole stage), pixels (of a picture, at
// most), link (a function: the address to copy; without it the call is copied) and slow (what is said when no answer comes).

// The bytes stand in the address itself: an object's address is fetched from another process, which takes a frame longer.
function pngPicture() {
  const element = make("img", {className: "demo-picture", draggable: false});
  const show = (bytes, words) => {
    if (bytes) element.src = `data:image/png;base64,${base64(bytes)}`;
    element.alt = words;
  };
  return {element, show};
}

function base64(bytes) {
  if (bytes.toBase64) return bytes.toBase64();
  let text = "";
  for (let at = 0; at < bytes.length; at += 8192) text += String.fromCharCode(...bytes.subarray(at, at + 8192));
  return btoa(text);
}

const IN_JUPYTER = {
  around: 147,  // JupyterLab's bars, and the demo's own border
  slow: "No answer yet: the kernel is busy, or this cell has to be run again.",
};

function mount(root, source, place = IN_JUPYTER) {
  const declaration = source.declaration, view = Math.random().toString(36).slice(2, 8);  // names it on its page
  const controls = Object.fromEntries(declaration.controls.map(control => [control.name, control]));
  let sent = 0, state = source.state(), waiting = null, playing = 0;

  // What a person does is sent at once; of a slider's further moves the last, as soon as there is an answer: a kernel that
  // many share is not told more than it can draw -------------------------------------------------------------------------
  const pending = new Map();
  let due = false, told = 0, touched = false;
  function post(message) {
    told = performance.now();
    root.dataset.pending = "true";
    if (message.do !== "fit") {  // a picture kept in a file is not faded for want of a kernel
      touched = true;
      clearTimeout(waiting);
      waiting = setTimeout(() => {
        frame.classList.add("demo-busy");
        waiting = setTimeout(() => say(place.slow), 6000);
      }, 400);
    }
    source.send({...message, view, n: ++sent});  // a recording answers at once
  }
  function release() {
    const moves = [...pending.values()];
    pending.clear();
    moves.forEach(post);
  }
  function tell(message) { release(); post(message); }  // in the order in which things were done
  function soon(key, message) { pending.set(key, message); if (!due) flush(); }
  function flush() {
    due = pending.size > 0;
    const patient = root.dataset.pending === "true" && performance.now() - told < 250;  // a long computation ends then
    if (!patient) release();
    if (due) requestAnimationFrame(flush);
  }
  function say(words) { note.textContent = words; if (words) setTimeout(() => { note.textContent = ""; }, 5000); }

  const {elements, update, ranges} = makeControls(declaration, view, tell, soon);
  const rows = declaration.controls.filter(control => elements[control.name]);
  const isPad = control => control.kind === "drawing", pads = make("div", {className: "demo-pads"});
  const isButton = control => control.kind === "button" || control.kind === "run";
  const views = declaration.views.map(name => button(name, "demo-view", () => tell({do: "view", name})));
  const stop = declaration.runs ? button("■ stop", "demo-stop", () => tell({do: "stop"})) : null;
  const play = declaration.play ? toggle("play", "demo-play", on => on ? start() : halt()) : null;
  const pin = declaration.pins ? toggle("pin", "demo-pin", to => tell({do: "pin", to})) : null;
  const large = toggle("large print", "demo-large-print", to => tell({do: "large", to}));
  const settings = rows.length ? [
    button("reset", "demo-reset", () => { halt(); highest = Infinity; tell({do: "reset"}); }),
    button(place.link ? "copy link" : "copy setting", "demo-copy", copy),
  ] : [];
  const tools = [play, pin, stop, ...settings, large].filter(Boolean);
  play?.setAttribute("aria-description", `moves ${controls[declaration.play]?.label} to its end and back`);
  pin?.setAttribute("aria-description", "keeps the curve as it is now, to compare with");

  function copy() {
    const text = place.link ? place.link(state) : state.call;
    const done = navigator.clipboard?.writeText(text) ?? Promise.reject();
    done.then(() => say(`Copied: ${text}`), () => say(text));
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
  const img = source.picture;
  const frame = make("div", {className: "demo-frame"}, img);
  const caption = make("div", {className: "demo-caption", role: "status", textContent: state.words});
  const problem = make("div", {className: "demo-problem", role: "alert", hidden: true});
  const note = make("div", {className: "demo-note", role: "status"});
  const story = make("div", {className: "demo-buttons demo-views", role: "group", "aria-label": "views"}, ...views);
  const scroll = make("div", {className: "demo-scroll"}, frame);
  const stage = make("div", {className: "demo-stage"}, problem, scroll, story, caption);
  const handles = new Map();
  let moved = false, held = null, from = [0, 0];  // a hand that trembles within 4 px clicks

  function spot(event) {
    const box = img.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  }
  function handle(key, {handle: number, index}) {
    const element = make("button", {type: "button", className: "demo-handle", "aria-roledescription": "movable point"});
    const clicked = declaration.clicks.includes(number);
    element.addEventListener("pointerdown", event => {
      if (event.button > 0) return;
      element.setPointerCapture(event.pointerId);
      [held, moved, from] = [key, false, [event.clientX, event.clientY]];
      event.preventDefault();
      element.focus();
    });
    element.addEventListener("pointermove", event => {
      if (held !== key) return;
      moved ||= Math.hypot(event.clientX - from[0], event.clientY - from[1]) > 4;
      if (!moved) return;
      const to = spot(event);
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
    for (const point of state.handles) {
      const key = `${point.handle}.${point.index}`;
      seen.add(key);
      if (!handles.has(key)) handles.set(key, handle(key, point));
      const element = handles.get(key);
      element.setAttribute("aria-label", point.words);
      if (held === key) continue;
      element.style.left = `${100 * point.x}%`;
      element.style.top = `${100 * point.y}%`;
    }
    for (const [key, element] of handles) if (!seen.has(key)) {
      const next = element === document.activeElement && [...handles.values()].at(seen.size - 1);
      element.remove();
      handles.delete(key);
      if (next) next.focus();
    }
  }
  if (declaration.clicks.length) {
    frame.classList.add("demo-clicks");
    img.addEventListener("click", event => tell({do: "drag", handle: declaration.clicks[0], index: null, to: spot(event)}));
  }

  // The size: as wide as there is room, as high as the window leaves beside all words, sharp on any screen ----------------
  const [width, height] = declaration.size;
  let fitted = [], highest = Infinity;  // while controls move, a longer caption may shrink the picture; none lets it grow
  function room() {  // [width, height]
    if (place.fill) return [scroll.clientWidth, scroll.clientHeight];
    const wide = Math.floor(stage.getBoundingClientRect().width);  // rounded up, it would scroll
    const [head, drawn, all, shown] = [title, pads, stage, frame].map(part => part.getBoundingClientRect().height);
    const words = head + drawn + all - shown;  // exact: rounded, they would hang on the picture
    highest = Math.min(touched ? highest : Infinity, Math.max(210, window.innerHeight - place.around - words));
    const legible = Math.max(wide, 0.55 * width);  // on a phone the picture is moved sideways
    const fits = wide && Math.min(legible, 1.3 * width, highest * width / height);
    return [Math.round(fits), Math.round(fits * height / width)];
  }
  function lay([wide, high]) {
    frame.style.width = `${wide}px`;
    if (place.fill) frame.style.height = `${high}px`;
  }
  function fit() {
    const asked = room();
    if (!asked[0] || !asked[1]) return;
    lay(asked);
    const left = room();  // a scroll bar may have come with the picture, and would go with a smaller one, for ever
    const [wide, high] = left[0] < asked[0] ? left : asked;
    lay([wide, high]);
    const sharp = Math.min(window.devicePixelRatio || 1, 3, Math.sqrt((place.pixels ?? Infinity) / wide / high));
    const now = [wide, high, Math.round(1000 * sharp) / 1000];
    if (now.join() === fitted.join()) return;
    fitted = now;
    tell({do: "fit", width: wide, ratio: now[2], ...(place.fill && {height: high})});
  }
  let resized = 0;
  const observer = new ResizeObserver(() => { clearTimeout(resized); resized = setTimeout(fit, fitted.length ? 150 : 0); });
  const refit = () => { highest = Infinity; fit(); };

  // What comes back ---------------------------------------------------------------------------------------------------
  let speak = 0, since = 0;  // words wait for pictures to rest, but at most a second
  function show() {
    state = source.state();
    const [who, number] = state.heard, mine = who === view;
    if (!mine || number >= sent) {  // else an older picture on the way to where the hand already is
      if (mine) {
        root.dataset.pending = "false";
        clearTimeout(waiting);
        frame.classList.remove("demo-busy");
      }
      large.setAttribute("aria-pressed", state.large);
      pin?.setAttribute("aria-pressed", state.pinned);
      if (!pending.size) for (const show of Object.values(update)) show(state);
    }
    since ||= performance.now();
    clearTimeout(speak);
    speak = setTimeout(() => {
      since = 0;
      if (caption.textContent !== state.words) caption.textContent = state.words;
    }, performance.now() - since < 1000 ? 150 : 0);
    if (problem.innerHTML !== state.problem) problem.innerHTML = state.problem;
    problem.hidden = !state.problem;
    if (state.note) say(state.note);
    img.classList.toggle("demo-outdated", Boolean(state.problem));
    if (root.classList.contains("demo-large") !== state.large) {
      root.classList.toggle("demo-large", state.large);
      highest = Infinity;
    }
    if (stop) stop.disabled = !state.running;
    views.forEach((element, index) => element.setAttribute("aria-pressed", declaration.views[index] === state.view));
    arrange();
  }

  root.classList.add("course-demo");
  root.setAttribute("role", "group");
  root.setAttribute("aria-label", declaration.title);
  root.addEventListener("keydown", event => event.stopPropagation());  // a key on a slider is the slider's, and deletes no cell
  root.addEventListener("focusin", event => { event.target.dataset.lmSuppressShortcuts = "true"; });  // Notebook 7 hears keys first
  const side = make("div", {className: "demo-controls"},
    ...rows.filter(control => !isButton(control) && !isPad(control)).map(control => elements[control.name]),
    make("div", {className: "demo-buttons"}, ...rows.filter(isButton).map(control => elements[control.name])),
    make("div", {className: "demo-buttons demo-toolbar"}, ...tools), note);
  pads.append(...rows.filter(isPad).map(control => elements[control.name]));  // in a row of their own, above
  root.append(title, pads, make("div", {className: "demo-body"}, stage, side));
  source.onChange(show);
  show();
  observer.observe(place.fill ? scroll : stage);
  window.addEventListener("resize", refit);
  return () => {
    observer.disconnect();
    window.removeEventListener("resize", refit);
  };
}
