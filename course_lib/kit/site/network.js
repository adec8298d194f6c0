// R2D2 in the page: four convolutions, a ridge solve, and pads to draw on. Weights come from kit/site/network.py, pictures are
// made as course_lib/engine/strokes.py makes them; tests hold both against PyTorch.

const CANVAS = 105, SIDE = 28, PEN_RADIUS = 2.5, LONGER = 0.65, DOT = 0.03;  // as in engine/strokes.py and draw_your_own.py

function unpacked(text) {  // numbers of which the upper three bytes are kept
  const bytes = Uint8Array.from(atob(text), character => character.charCodeAt(0)), bits = new Uint32Array(bytes.length / 3);
  for (let i = 0; i < bits.length; i++) bits[i] = bytes[3 * i] << 8 | bytes[3 * i + 1] << 16 | bytes[3 * i + 2] << 24;
  return new Float32Array(bits.buffer);
}

// One layer: 3 x 3, stride 2, a border of zeros, then ReLU. x: [channels, side, side] -> [filters, half, half].
function convolved(x, side, {filters, channels, weight, bias}) {
  const half = Math.ceil(side / 2), out = new Float32Array(filters * half * half);
  for (let f = 0; f < filters; f++)
    for (let row = 0; row < half; row++)
      for (let column = 0; column < half; column++) {
        let sum = bias[f];
        for (let c = 0; c < channels; c++)
          for (let i = 0; i < 3; i++) {
            const y = 2 * row + i - 1;
            if (y < 0 || y >= side) continue;
            for (let j = 0; j < 3; j++) {
              const at = 2 * column + j - 1;
              if (at >= 0 && at < side) sum += weight[((f * channels + c) * 3 + i) * 3 + j] * x[(c * side + y) * side + at];
            }
          }
        out[(f * half + row) * half + column] = Math.max(sum, 0);
      }
  return out;
}

let layers = null;
const known = new WeakMap();  // features are the work: those of a picture that stays are kept
function features(picture) {  // [28 * 28] -> [257]: the network's features, and the one of the bias
  if (!known.has(picture)) known.set(picture, computed(picture));
  return known.get(picture);
}
function computed(picture) {
  layers ??= NETWORK.layers.map(layer => ({...layer, weight: unpacked(layer.weight), bias: unpacked(layer.bias)}));
  let x = picture, side = SIDE;
  for (const layer of layers) { x = convolved(x, side, layer); side = Math.ceil(side / 2); }
  return [...x, 1];
}

function solved(matrix, right) {  // A x = b by Gaussian elimination with pivots; A is small
  const rows = matrix.map((row, i) => [...row, right[i]]), n = rows.length;
  for (let i = 0; i < n; i++) {
    const pivot = rows.reduce((best, row, k) => k > i && Math.abs(row[i]) > Math.abs(rows[best][i]) ? k : best, i);
    [rows[i], rows[pivot]] = [rows[pivot], rows[i]];
    for (let k = i + 1; k < n; k++) {
      const factor = rows[k][i] / rows[i][i];
      for (let j = i; j <= n; j++) rows[k][j] -= factor * rows[i][j];
    }
  }
  const x = Array(n).fill(0);
  for (let i = n - 1; i >= 0; i--) x[i] = (rows[i][n] - rows[i].reduce((sum, a, j) => j > i && j < n ? sum + a * x[j] : sum, 0)) / rows[i][i];
  return x;
}

// The ridge head on one picture of each character, W = Z^T (Z Z^T + lambda I)^-1 Y, asked about another picture.
function recognised(support, query) {  // pictures -> a probability for each of the support
  const z = support.map(features), q = features(query), dot = (a, b) => a.reduce((sum, value, i) => sum + value * b[i], 0);
  const kernel = z.map((a, i) => z.map((b, j) => dot(a, b) + (i === j ? NETWORK.lam : 0)));
  const shares = solved(kernel, z.map(a => dot(a, q)));  // the kernel is symmetric: q Z^T K^-1 is one solve
  const logits = shares.map(share => NETWORK.scale * share), highest = Math.max(...logits);
  const weights = logits.map(logit => Math.exp(logit - highest)), total = weights.reduce((a, b) => a + b);
  return weights.map(weight => weight / total);
}

// Strokes of points (x, y) in 0..1 to what the network sees: [28 * 28], 1 is ink.
function seen(strokes) {
  const picture = new Float32Array(SIDE * SIDE), every = strokes.flat();
  if (!every.length) return picture;
  const ends = axis => { const all = every.map(point => point[axis]); return [Math.min(...all), Math.max(...all)]; };
  const [[left, right], [top, bottom]] = [ends(0), ends(1)], longer = Math.max(right - left, bottom - top);
  const scale = longer > DOT ? CANVAS * LONGER / longer : CANVAS, middle = [(left + right) / 2, (top + bottom) / 2];
  const ink = new Uint8Array(CANVAS * CANVAS);
  const place = point => point.map((c, axis) => (c - middle[axis]) * scale + CANVAS / 2);
  for (const stroke of strokes) for (const [x, y] of resampled(stroke.map(place)))
    for (let row = Math.max(0, Math.floor(y - 3)); row < Math.min(CANVAS, y + 3); row++)
      for (let column = Math.max(0, Math.floor(x - 3)); column < Math.min(CANVAS, x + 3); column++)
        if (Math.hypot(column + 0.5 - x, row + 0.5 - y) <= PEN_RADIUS) ink[row * CANVAS + column] = 1;
  const shared = (out, canvas) => Math.max(0, Math.min(15 * (out + 1), 4 * (canvas + 1)) - Math.max(15 * out, 4 * canvas));
  for (let row = 0; row < SIDE; row++) for (let column = 0; column < SIDE; column++) {
    let sixteenths = 0;
    for (let y = Math.floor(3.75 * row); y < Math.min(CANVAS, 3.75 * (row + 1)); y++)
      for (let x = Math.floor(3.75 * column); x < Math.min(CANVAS, 3.75 * (column + 1)); x++)
        sixteenths += ink[y * CANVAS + x] * shared(row, y) * shared(column, x);
    picture[row * SIDE + column] = Math.floor((sixteenths * 255 + 112) / 225) / 255;
  }
  return picture;
}
function resampled(points) {  // along the path, half a pixel apart
  const length = [0];
  for (let i = 1; i < points.length; i++) length.push(length[i - 1] + Math.hypot(points[i][0] - points[i - 1][0], points[i][1] - points[i - 1][1]));
  const last = length[length.length - 1], count = 2 + Math.floor(last / 0.5), found = [];
  for (let n = 0, i = 0; n < count; n++) {
    const at = last * n / (count - 1);
    while (i < points.length - 2 && length[i + 1] < at) i++;
    const [a, b] = [points[i], points[Math.min(i + 1, points.length - 1)]], part = (at - length[i]) / (length[i + 1] - length[i] || 1);
    found.push([a[0] + part * (b[0] - a[0]), a[1] + part * (b[1] - a[1])]);
  }
  return found;
}

// The pads: {pads: [{label, strokes}], examples: [[strokes of each pad], ...]}; the last pad is the one to recognise.
function mountPads(root, {title, pads, examples}) {
  const now = pads.map(pad => pad.strokes), pictures = now.map(seen), bars = [], eyes = [], said = make("p", {className: "pads-said", role: "status"});
  function show() {
    const filled = now.slice(0, -1).flatMap((strokes, i) => strokes.length ? [i] : []);
    const ready = filled.length > 1 && now[now.length - 1].length > 0;
    const shares = ready ? recognised(filled.map(i => pictures[i]), pictures[pictures.length - 1]) : [];
    const nearest = ready && filled.reduce((best, i) => far(i) < far(best) ? i : best, filled[0]);
    function far(i) { return pictures[i].reduce((sum, ink, p) => sum + (ink - pictures[pictures.length - 1][p]) ** 2, 0); }
    const best = filled[shares.indexOf(Math.max(...shares))];
    bars.forEach((bar, i) => {
      const share = ready && filled.includes(i) ? shares[filled.indexOf(i)] : 0;
      bar.style.setProperty("--share", share);
      bar.textContent = ready ? `${Math.round(100 * share)} %` : "";
      bar.classList.toggle("pads-best", ready && i === best);
    });
    eyes.forEach((eye, i) => paint(eye, pictures[i]));
    said.textContent = ready ? `The network says: character ${best + 1}. Nearest pixels say: character ${nearest + 1}.`
      : filled.length < 2 ? "Draw a character in each of the boxes 1 to 5, at least two." : "Now draw one of them again, in the last box.";
  }
  function paint(canvas, picture) {
    const image = new ImageData(SIDE, SIDE);
    picture.forEach((ink, p) => image.data.set([...Array(3).fill(255 * (1 - ink)), 255], 4 * p));
    canvas.getContext("2d").putImageData(image, 0, 0);
  }
  const drawn = pads.map((pad, i) => drawingPad({label: pad.label}, strokes => { take(strokes, i); show(); }));
  function take(strokes, i) { now[i] = strokes; pictures[i] = seen(strokes); }
  const set = all => { all.forEach((strokes, i) => { take(strokes, i); drawn[i].show(strokes); }); show(); };
  let shown = 0;
  const columns = drawn.map((pad, i) => {
    const bar = make("div", {className: "pads-bar"}), eye = make("canvas", {width: SIDE, height: SIDE, className: "pads-eye"});
    eye.setAttribute("aria-hidden", "true");
    eyes.push(eye);
    if (i < drawn.length - 1) bars.push(bar);
    pad.element.className = "demo-control demo-drawing";
    return make("div", {className: "pads-column"}, pad.element, make("div", {className: "pads-row"}, eye, i < drawn.length - 1 ? bar : make("span", {textContent: "what it sees"})));
  });
  root.className = "course-demo pads";
  root.append(make("div", {className: "demo-title", textContent: title}), make("div", {className: "demo-pads"}, ...columns), said,
    make("div", {className: "demo-buttons"},
      button("clear everything and draw your own", "pads-clear", () => set(pads.map(() => []))),
      button("other examples", "pads-examples", () => set(examples[shown = (shown + 1) % examples.length]))));
  set(now);
}
