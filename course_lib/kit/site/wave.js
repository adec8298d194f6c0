// The two-parameter wave of the course, computed in the page: f(x) = amplitude * sin(x - phase), theta = (phase, amplitude).
// theta is dragged; from there a few steps of gradient descent on five points, by hand, as kit/two_parameters.py takes them.

function waveAt([phase, amplitude], x) { return amplitude * Math.sin(x - phase); }

function waveLoss(theta, xs, ys) {  // the mean squared error
  return xs.reduce((sum, x, i) => sum + (waveAt(theta, x) - ys[i]) ** 2, 0) / xs.length;
}

function waveGradient(theta, xs, ys) {
  const [phase, amplitude] = theta, mean = part => xs.reduce((sum, x, i) => sum + 2 * (waveAt(theta, x) - ys[i]) * part(x), 0) / xs.length;
  return [mean(x => -amplitude * Math.cos(x - phase)), mean(x => Math.sin(x - phase))];
}

function wavePath(theta, xs, ys, rate, steps) {  // theta_0, theta_1, ... of the inner loop
  const path = [theta];
  for (let k = 0; k < steps; k++) {
    const [at, gradient] = [path[k], waveGradient(path[k], xs, ys)];
    path.push(at.map((value, i) => value - rate * gradient[i]));
  }
  return path;
}

// told: {tasks: [{theta, support_x, support_y, query_x, query_y}], start, phases, amplitudes, rate}
function mountWave(root, told) {
  const W = 900, H = 372, plane = {x: 50, y: 20, w: 350, h: 310}, curve = {x: 480, y: 20, w: 400, h: 310}, LEVELS = [0.1, 0.3, 0.6, 1, 1.6, 2.4, 3.4, 4.6, 6, 8];
  const svg = (tag, properties = {}, ...children) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(properties)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  };
  const along = (box, [low, high], value) => box.x + box.w * (value - low) / (high - low), up = (box, [low, high], value) => box.y + box.h * (1 - (value - low) / (high - low));
  const spot = ([phase, amplitude]) => [along(plane, told.phases, phase), up(plane, told.amplitudes, amplitude)];
  const XS = Array.from({length: 121}, (_, i) => -5 + i / 12), RANGE = [-3.6, 3.6];
  const line = points => points.map(([x, y]) => `${x.toFixed(1)},${y.toFixed(1)}`).join(" ");
  const wave = theta => line(XS.map(x => [along(curve, [-5, 5], x), up(curve, RANGE, waveAt(theta, x))]));
  let task = 0, theta = told.start, steps = 1;

  const shades = svg("image", {x: plane.x, y: plane.y, width: plane.w, height: plane.h, preserveAspectRatio: "none", opacity: 0.55});
  const part = (tag, properties) => svg(tag, properties), path = part("polyline", {fill: "none", stroke: "#0072b2", "stroke-width": 2.5});
  const goal = part("path", {d: "M-7 0H7M0-7V7", stroke: "#222", "stroke-width": 2.5}), dots = svg("g"), support = svg("g");
  const truth = part("polyline", {fill: "none", stroke: "#767676", "stroke-width": 2.5, "stroke-dasharray": "7 5"});
  const before = part("polyline", {fill: "none", stroke: "#56b4e9", "stroke-width": 2}), after = part("polyline", {fill: "none", stroke: "#0072b2", "stroke-width": 3.5});
  const words = (x, y, text, more = {}) => svg("text", {x, y, "font-size": 14, fill: "#555", ...more}, text);
  const left = words(plane.x, 14, "", {fill: "#222", "font-size": 15}), right = words(curve.x, 14, "", {fill: "#222", "font-size": 15});
  const ticks = (box, range, down) => [0, 1, 2, 3].map(value => down
    ? words(box.x - 8, up(box, range, value) + 5, value, {"text-anchor": "end"})
    : words(along(box, range, value), box.y + box.h + 18, value, {"text-anchor": "middle"}));
  const frame = box => svg("rect", {x: box.x, y: box.y, width: box.w, height: box.h, fill: "none", stroke: "#9a9a9a"});
  const window_ = svg("clipPath", {id: "wave-window"}, svg("rect", {x: plane.x, y: plane.y, width: plane.w, height: plane.h}));
  const picture = svg("svg", {viewBox: `0 0 ${W} ${H}`, class: "wave", role: "img"}, svg("defs", {}, window_), shades, frame(plane), frame(curve),
    svg("g", {"clip-path": "url(#wave-window)"}, goal, path, dots), truth, before, after, support, left, right, ...ticks(plane, told.phases), ...ticks(plane, told.amplitudes, true),
    words(plane.x + plane.w / 2, H - 6, "phase", {"text-anchor": "middle"}), words(14, plane.y + plane.h / 2, "amplitude", {transform: `rotate(-90 14 ${plane.y + plane.h / 2})`, "text-anchor": "middle"}),
    words(curve.x + curve.w, curve.y + curve.h + 18, "x", {"text-anchor": "end"}), words(curve.x, curve.y + curve.h + 18, "dashed: the task's true curve, known at five points"),
    words(curve.x, curve.y + curve.h + 36, "thin: at θ; thick: after the inner loop"));
  const handle = make("button", {type: "button", className: "demo-handle wave-handle", "aria-roledescription": "movable point"});
  const stage = make("div", {className: "demo-frame"}, picture, handle), said = make("p", {className: "wave-said", role: "status"});

  function land() {  // the loss over the plane, in steps as on a map
    const n = 90, canvas = make("canvas", {width: n, height: n}), ink = canvas.getContext("2d"), {support_x, support_y} = told.tasks[task];
    for (let i = 0; i < n; i++) for (let j = 0; j < n; j++) {
      const at = [told.phases, told.amplitudes].map(([low, high], axis) => low + (high - low) * ([i, n - 1 - j][axis] + 0.5) / n);
      const level = LEVELS.filter(limit => waveLoss(at, support_x, support_y) > limit).length / LEVELS.length;
      ink.fillStyle = `hsl(${265 - 60 * (1 - level)} 45% ${45 + 50 * (1 - level)}%)`;
      ink.fillRect(i, j, 1, 1);
    }
    shades.setAttribute("href", canvas.toDataURL());
  }
  function show() {
    const {theta: best, support_x, support_y, query_x, query_y} = told.tasks[task], thetas = wavePath(theta, support_x, support_y, told.rate, steps);
    const last = thetas[thetas.length - 1], [error, first] = [last, theta].map(at => waveLoss(at, query_x, query_y).toFixed(2));
    path.setAttribute("points", line(thetas.map(spot)));
    dots.replaceChildren(...thetas.map((at, k) => svg("circle", {cx: spot(at)[0], cy: spot(at)[1], r: k ? 4.5 : 8, fill: k ? "#0072b2" : "#fff", stroke: k ? "#fff" : "#222", "stroke-width": k ? 1 : 2.5})));
    goal.setAttribute("transform", `translate(${spot(best)})`);
    truth.setAttribute("points", wave(best));
    before.setAttribute("points", wave(theta));
    after.setAttribute("points", wave(last));
    support.replaceChildren(...support_x.map((x, i) => svg("circle", {cx: along(curve, [-5, 5], x), cy: up(curve, RANGE, support_y[i]), r: 6, fill: "#000", stroke: "#fff"})));
    left.textContent = "Drag θ: where should every task begin?";
    right.textContent = `After ${steps} step${steps === 1 ? "" : "s"} the held-out error is ${error} (at θ: ${first})`;
    const [x, y] = spot(theta);
    Object.assign(handle.style, {left: `${100 * x / W}%`, top: `${100 * y / H}%`});
    handle.setAttribute("aria-label", `theta: phase ${theta[0].toFixed(2)}, amplitude ${theta[1].toFixed(2)}`);
    picture.setAttribute("aria-label", `Task ${task + 1}. From phase ${theta[0].toFixed(2)} and amplitude ${theta[1].toFixed(2)}, ${right.textContent}.`);
    const errors = told.tasks.map(t => { const p = wavePath(theta, t.support_x, t.support_y, told.rate, steps); return waveLoss(p[steps], t.query_x, t.query_y); });
    said.textContent = `Mean held-out error over all ${errors.length} tasks from this θ: ${(errors.reduce((a, b) => a + b) / errors.length).toFixed(2)}. Meta-learning drags θ to where that is lowest.`;
  }
  function move(to) { theta = to.map((value, axis) => { const [low, high] = [told.phases, told.amplitudes][axis]; return Math.min(high, Math.max(low, value)); }); show(); }
  let held = false;
  handle.addEventListener("pointerdown", event => { held = true; handle.setPointerCapture(event.pointerId); });
  for (const kind of ["pointerup", "pointercancel"]) handle.addEventListener(kind, () => { held = false; });
  handle.addEventListener("pointermove", event => {
    if (!held) return;
    const box = picture.getBoundingClientRect(), [x, y] = [(event.clientX - box.left) * W / box.width, (event.clientY - box.top) * H / box.height];
    const read = (part, [low, high]) => low + (high - low) * part;
    move([read((x - plane.x) / plane.w, told.phases), read(1 - (y - plane.y) / plane.h, told.amplitudes)]);
  });
  handle.addEventListener("keydown", event => {
    const by = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1]}[event.key];
    if (!by) return;
    event.preventDefault();
    move(theta.map((value, axis) => value + 0.05 * by[axis]));
  });
  const slider = make("input", {type: "range", min: 0, max: 10, value: steps, id: "wave-steps"}), count = make("output", {textContent: steps});
  slider.addEventListener("input", () => { steps = slider.valueAsNumber; count.textContent = steps; slider.style.setProperty("--part", `${10 * steps}%`); show(); });
  slider.style.setProperty("--part", `${10 * steps}%`);
  root.className = "course-demo";
  root.append(make("div", {className: "demo-scroll"}, stage), make("div", {className: "wave-controls"},
    make("div", {className: "demo-slider"}, make("label", {htmlFor: "wave-steps", textContent: "inner steps k"}), count, slider),
    button("another task", "", () => { task = (task + 1) % told.tasks.length; land(); show(); })), said);
  land();
  show();
}
