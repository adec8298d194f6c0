// A square to draw on with mouse, pen, finger or keys. Ink appears as the pen moves; strokes are sent ten times a second, and at their end.
const PEN = 0.048, STEP = 0.05, EVERY = 100;  // of a side; of a side; milliseconds

function drawingPad(control, send) {
  const canvas = document.createElement("canvas"), ink = canvas.getContext("2d"), ratio = Math.min(devicePixelRatio || 1, 3);
  canvas.width = canvas.height = 200 * ratio;
  canvas.tabIndex = 0;
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", `${control.label}: drawing pad`);
  canvas.setAttribute("aria-description", "Arrow keys move the pen, space puts it down or lifts it, Backspace takes back.");
  let strokes = [], pen = null, sentAt = 0, timer = 0, keys = null, waiting = false;  // pen: the pointer that draws

  const side = canvas.width;
  function dot([x, y], radius = PEN / 2) { ink.beginPath(); ink.arc(x * side, y * side, radius * side, 0, 7); ink.fill(); }
  function segment(a, b) {
    ink.lineWidth = PEN * side; ink.lineCap = ink.lineJoin = "round";
    ink.beginPath(); ink.moveTo(a[0] * side, a[1] * side); ink.lineTo(b[0] * side, b[1] * side); ink.stroke();
  }
  function paint() {
    ink.clearRect(0, 0, side, side);
    for (const stroke of strokes) {
      dot(stroke[0]);
      for (let i = 1; i < stroke.length; i++) segment(stroke[i - 1], stroke[i]);
    }
    if (keys) { ink.fillStyle = "#d55e00"; dot(keys.at, 0.03); ink.fillStyle = "#000"; }
  }
  function tell() {
    clearTimeout(timer);
    const wait = EVERY - (performance.now() - sentAt);
    waiting = wait > 0;
    if (wait > 0) { timer = setTimeout(tell, wait); return; }
    sentAt = performance.now();
    send(strokes.map(stroke => stroke.map(point => point.map(c => Math.round(1e4 * c) / 1e4))));
  }
  const within = c => Math.min(1, Math.max(0, c));
  function point(event) {
    const box = canvas.getBoundingClientRect();
    return [within((event.clientX - box.left) / box.width), within((event.clientY - box.top) / box.height)];
  }
  function add(next) {
    const stroke = strokes[strokes.length - 1];
    segment(stroke[stroke.length - 1], next);
    stroke.push(next);
  }
  canvas.addEventListener("pointerdown", event => {
    if (pen !== null || event.button > 0) return;
    canvas.setPointerCapture(event.pointerId);  // the stroke goes on when the hand leaves the pad
    pen = event.pointerId; keys = null;
    strokes.push([point(event)]);
    paint(); tell();
    canvas.focus();
    event.preventDefault();
  });
  canvas.addEventListener("pointermove", event => {
    if (event.pointerId !== pen) return;
    for (const each of event.getCoalescedEvents?.() ?? [event]) add(point(each));
    tell();
  });
  for (const kind of ["pointerup", "pointercancel"])
    canvas.addEventListener(kind, event => { if (event.pointerId === pen) { pen = null; sentAt = 0; tell(); } });
  canvas.addEventListener("keydown", event => {
    const by = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]}[event.key];
    if (event.key === "Backspace") { strokes.pop(); if (keys) keys.down = false; }
    else if (event.key === " " || by) {
      keys ??= {at: [0.5, 0.5], down: false};
      if (by) keys.at = keys.at.map((c, i) => within(c + STEP * by[i]));
      else { keys.down = !keys.down; if (keys.down) strokes.push([keys.at]); }
      if (by && keys.down) strokes[strokes.length - 1].push(keys.at);
    } else return;
    event.preventDefault();
    paint(); tell();
  });
  canvas.addEventListener("blur", () => { keys = null; paint(); });

  function button(text, act) {
    const element = document.createElement("button");
    Object.assign(element, {type: "button", textContent: text, className: `demo-button-face drawing-${text.replace(/\W+/g, "-")}`});
    element.setAttribute("aria-label", `${text}: ${control.label}`);
    element.addEventListener("click", () => { act(); paint(); tell(); });
    return element;
  }
  const turn = () => { strokes = strokes.map(stroke => stroke.map(([x, y]) => [1 - y, x])); };
  const element = document.createElement("div"), buttons = document.createElement("div"), title = document.createElement("span");
  title.textContent = control.label;
  buttons.className = "demo-buttons";
  buttons.append(button("undo", () => strokes.pop()), button("clear", () => { strokes = []; }), button("turn 90°", turn));
  element.append(title, canvas, buttons);
  return {
    element,
    show(now) {  // unless the hand is ahead of what came back
      if (pen !== null || waiting || JSON.stringify(now) === JSON.stringify(strokes)) return;
      strokes = now.map(stroke => stroke.map(each => [...each]));
      paint();
    },
  };
}

