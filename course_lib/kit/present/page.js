// The lecture hall's page: a question, its picture on a key, then the next. LISTING is what is shown, in order. The address says
// where it stands, so that reload, recovery, a bookmark and a shared link are one thing.

const HELP = [
  ["PageDown, Space, →", "the picture; then the next question"], ["PageUp, ←", "back"], ["1 to 9", "the demo's views"],
  ["a", "the question with its answer"], ["n", "the speaker's notes, in a second window"], ["i", "all demos"],
  ["p", "pointer"], ["d", "draw; Escape wipes"], ["b or .", "blank"], ["l", "large print"], ["f", "full screen"], ["r", "reset"],
  ["s, v, g", "save the picture as PNG, as SVG, or the slider's sweep as a moving GIF"], ["c", "copy the link"], ["t", "the instructor's guide"], ["h", "these keys"],
];
const byId = name => document.getElementById(name);
const [room, asked, ink, pointer, said, blank] = ["demo", "question", "ink", "pointer", "said", "blank"].map(byId);
const windows = new BroadcastChannel(`present-${location.port}`);  // the speaker's notes listen
const visited = new Map();  // by id: the link where a demo was left
let at = 0, slide = 0, revealed = false, answered = false, mounted = null, live = null, large = false;

// The address ---------------------------------------------------------------------------------------------------------
function fromAddress() {
  const query = new URLSearchParams(location.search), id = query.get("demo") ?? LISTING[0].id;
  query.delete("demo");
  let place = LISTING.findIndex(each => each.id === id);
  if (place < 0) place = LISTING.findIndex(each => each.key === id);
  if (place < 0) {  // a demo of another chapter, or a word that is none: the process says which
    LISTING.push({id, key: id, chapter: "", part: "", question: null, see: "", deeper: false});
    place = LISTING.length - 1;
  }
  return [place, query.toString()];
}
function address(query) {
  return `${location.origin}${location.pathname}?demo=${encodeURIComponent(LISTING[at].id)}${query ? `&${query}` : ""}`;
}
let noted = 0;
function note(query) {  // browsers refuse more than about a hundred a half minute
  visited.set(LISTING[at].id, query);
  clearTimeout(noted);
  noted = setTimeout(() => history.replaceState({revealed}, "", address(query)), 300);
}

// The process ---------------------------------------------------------------------------------------------------------
let socket = null, lost = 0, drawn = {};
function connect() {
  socket = new WebSocket(`${location.origin.replace("http", "ws")}/socket`);
  socket.binaryType = "arraybuffer";
  socket.onopen = () => { lost = 0; say(""); ask(); };
  socket.onclose = () => {
    if (lost++ === 2) say("The process that draws is being started again.", 0);
    setTimeout(connect, 250);
  };
  socket.onmessage = ({data}) => {
    const head = new DataView(data).getUint32(0);
    const news = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 4, head)));
    if (news.slide === slide) hear(news, new Uint8Array(data, 4 + head));
  };
}
function send(message) { if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify({...message, slide})); }
function fit() {
  const scroll = room.querySelector(".demo-scroll"), known = scroll?.clientWidth ? [scroll.clientWidth, scroll.clientHeight] : guess;
  const [width, height] = known.map(Math.round);
  guess = known;
  return {width, height, ratio: Math.min(devicePixelRatio || 1, 3, Math.sqrt(PIXELS / width / height))};
}
const PIXELS = 4e6;  // of a picture at most: more takes longer than a move should
let guess = [0.76 * innerWidth, 0.78 * innerHeight];
function ask() {
  slide += 1;
  send({open: LISTING[at].id, query: visited.get(LISTING[at].id) ?? "", fit: fit(), large, drawn});
}

function hear(news, bytes) {
  if (news.failed) {
    if (!live) { clearTimeout(coming); room.replaceChildren(); }
    return say(news.failed, 0);
  }
  if (news.saved) return keep(news.saved, bytes);
  const first = news.declaration !== undefined;
  if (!first && !live) return;
  if (first) live = {declaration: news.declaration, picture: pngPicture(), state: null, changed: () => {}};
  live.state = news.state;
  live.bytes = bytes;
  large = news.state.large;
  live.picture.show(bytes.length ? bytes : null, news.state.words);
  if (first) show(); else live.changed();
  if (news.state.note) say(news.state.note);
  const pads = live.declaration.controls.filter(control => control.kind === "drawing");
  drawn = Object.fromEntries(pads.map(({name}) => [name, news.state.at[name]]));
  note(news.state.link);
  tellNotes();
  const next = LISTING[at + 1];
  if (first && next) setTimeout(() => send({prepare: next.id, query: visited.get(next.id) ?? "", fit: fit(), large}), 50);
}
let coming = 0;
function wait() {  // a demo that is slow to come
  const {id, chapter, part} = LISTING[at];
  room.className = "";
  room.replaceChildren(make("div", {className: "coming", role: "status"},
    make("header", {innerHTML: chapter && `${chapter} · ${part}`}), make("p", {textContent: `${id} is being drawn …`})));
}
function show() {  // a demo that has just come
  clearTimeout(coming);
  mounted?.();
  room.replaceChildren();
  room.className = "";
  const source = live;
  mounted = mount(room, {
    declaration: source.declaration,
    picture: source.picture.element,
    state: () => source.state,
    send,
    onChange: callback => { source.changed = callback; },
  }, {fill: true, pixels: PIXELS, link: state => address(state.link), slow: "No answer yet: the computer is busy."});
  room.dataset.slide = slide;
}

// Question and picture ------------------------------------------------------------------------------------------------
function go(place, showPicture = false, query = null) {
  at = Math.min(Math.max(place, 0), LISTING.length - 1);
  if (query !== null) visited.set(LISTING[at].id, query);
  revealed = showPicture || !LISTING[at].question;
  answered = false;
  live = null;
  drawn = {};
  mounted?.();
  mounted = null;
  room.replaceChildren();
  delete room.dataset.slide;
  clearTimeout(coming);
  coming = setTimeout(wait, 1000);
  fold();
  wipe();
  note(visited.get(LISTING[at].id) ?? "");
  ask();
  paint();
}
function paint() {
  const {chapter, part, question} = LISTING[at];
  const hidden = revealed && !answered;
  asked.hidden = hidden;
  room.inert = !revealed;
  document.body.dataset.revealed = revealed;
  const body = make("div", {className: "question-body"});
  if (question) {
    const choices = question.choices.map((choice, place) =>
      `<li${answered && place === question.right ? ' class="right"' : ""}>${choice}</li>`).join("");
    body.innerHTML = `${question.text}${choices ? `<ol type="A">${choices}</ol>` : ""}`;
    if (answered) body.innerHTML += `<div class="answer">${question.right < 0 ? question.answer : ""}${question.because}</div>`;
  }
  const count = `${at + 1} of ${LISTING.length}`, way = hidden ? "" : revealed ? "PageDown: back to the picture" : "PageDown: the picture";
  asked.replaceChildren(make("header", {innerHTML: `${chapter} · ${part}`}), body, make("footer", {textContent: `${count} · ${way}`}));
  document.title = `${chapter}: ${LISTING[at].id}`;
  tellNotes();
}
function forward() {
  if (answered) { answered = false; return paint(); }
  if (!revealed) { revealed = true; history.replaceState({revealed}, "", location.href); return paint(); }
  if (at + 1 < LISTING.length) go(at + 1);
}
function back() {
  if (answered) { answered = false; return paint(); }
  if (revealed && LISTING[at].question) { revealed = false; return paint(); }
  if (at > 0) go(at - 1, true);
}
function tellNotes() {
  const {id, chapter, part, question, see} = LISTING[at], next = LISTING[at + 1];
  const after = revealed && next ? next.question?.text ?? next.part : "";
  windows.postMessage({id, chapter, part, question, see, after, revealed, words: live?.state.words ?? "", at, count: LISTING.length});
}
windows.onmessage = ({data}) => { if (data === "hello") tellNotes(); else if (data.key) act(data.key); };

let silent = 0;
function say(words, seconds = 6) {
  clearTimeout(silent);
  said.textContent = words;
  said.hidden = !words;
  if (words && seconds) silent = setTimeout(() => { said.hidden = true; }, 1000 * seconds);
}

// Saving --------------------------------------------------------------------------------------------------------------
function keep(kind, bytes) {
  const types = {png: "image/png", svg: "image/svg+xml", gif: "image/gif"};
  const link = make("a", {href: URL.createObjectURL(new Blob([bytes], {type: types[kind]})), download: `${LISTING[at].id}.${kind}`});
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  say(`Saved: ${link.download}`);
}

// Pointer and ink -----------------------------------------------------------------------------------------------------
let stroke = null;
function wipe() { ink.getContext("2d").clearRect(0, 0, ink.width, ink.height); }
function size() {
  [ink.width, ink.height] = [innerWidth * devicePixelRatio, innerHeight * devicePixelRatio];
}
addEventListener("pointermove", event => {
  pointer.style.translate = `${event.clientX}px ${event.clientY}px`;
  if (!stroke) return;
  const brush = ink.getContext("2d"), to = [event.clientX * devicePixelRatio, event.clientY * devicePixelRatio];
  Object.assign(brush, {strokeStyle: "#d55e00", lineWidth: 4 * devicePixelRatio, lineCap: "round"});
  brush.beginPath(); brush.moveTo(...stroke); brush.lineTo(...to); brush.stroke();
  stroke = to;
});
ink.addEventListener("pointerdown", event => {
  ink.setPointerCapture(event.pointerId);
  stroke = [event.clientX * devicePixelRatio, event.clientY * devicePixelRatio];
});
for (const kind of ["pointerup", "pointercancel"]) ink.addEventListener(kind, () => { stroke = null; });
addEventListener("resize", size);

// Keys, as presenters' remotes send them ------------------------------------------------------------------------------
const press = selector => room.querySelector(selector)?.click();
const acts = {
  PageDown: () => { fold(); forward(); }, PageUp: () => { fold(); back(); },
  a: () => { if (LISTING[at].question) { answered = !answered; paint(); } },
  n: () => window.open("/notes", `notes-${location.port}`, "width=700,height=800"),
  t: () => window.open("/guide", `guide-${location.port}`),
  i: () => unfold("list"), h: () => unfold("help"), "?": () => unfold("help"),
  p: () => { pointer.hidden = !pointer.hidden; document.body.classList.toggle("pointing", !pointer.hidden); },
  d: () => { ink.hidden = !ink.hidden; },
  b: () => { blank.hidden = !blank.hidden; }, ".": () => acts.b(),
  l: () => press(".demo-large-print"), r: () => press(".demo-reset"), c: () => press(".demo-copy"),
  f: () => document.fullscreenElement ? document.exitFullscreen() : document.documentElement.requestFullscreen(),
  s: () => { if (live?.bytes.length) keep("png", live.bytes); },
  v: () => send({save: "svg"}),
  g: () => { say("The slider's sweep is being drawn.", 0); send({save: "gif"}); },
  Escape: () => { wipe(); ink.hidden = pointer.hidden = true; document.body.classList.remove("pointing"); },
};
function act(key) {
  if (/^[1-9]$/.test(key)) room.querySelectorAll(".demo-view")[Number(key) - 1]?.click();
  else if (acts[key]) acts[key]();
  else return false;
  return true;
}
addEventListener("keydown", event => {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  const free = event.target === document.body || event.target === room;
  const key = free && {" ": "PageDown", ArrowRight: "PageDown", ArrowLeft: "PageUp", Enter: "PageDown"}[event.key] || event.key;
  if (event.target.closest("canvas, dialog") && !["PageDown", "PageUp", "h", "?", "i"].includes(key) || !act(key)) return;
  event.preventDefault();
  event.stopPropagation();
}, true);  // before a slider takes PageDown for itself

function fold() { for (const dialog of document.querySelectorAll("dialog")) dialog.close(); }
function unfold(name) {
  const dialog = byId(name), {open} = dialog;
  fold();
  if (open) return;
  if (name === "help") {
    const rows = HELP.map(([keys, what]) => `<tr><th>${keys}</th><td>${what}</td></tr>`);
    dialog.innerHTML = `<table>${rows.join("")}</table>`;
  } else {
    const items = LISTING.map(({id, chapter, part}, place) => {
      const item = make("button", {type: "button", innerHTML: `<b>${id}</b> ${chapter} · ${part}`});
      item.addEventListener("click", () => go(place));
      if (place === at) item.setAttribute("aria-current", "true");
      return item;
    });
    dialog.replaceChildren(...items);
  }
  dialog.showModal();
}
for (const dialog of document.querySelectorAll("dialog")) dialog.addEventListener("click", event => {
  if (event.target === dialog) dialog.close();
});

addEventListener("popstate", () => go(...(([place, query]) => [place, true, query])(fromAddress())));
size();
{
  const [place, query] = fromAddress();
  go(place, history.state?.revealed || query !== "", query);
}
connect();
