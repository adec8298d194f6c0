// The pages themselves: demos that come to life near the window, questions, the game, search, light and dark.

const NEAR = "900px", LINK_EVERY = 300;  // of the window; milliseconds between two changes of the address
const byId = id => document.getElementById(id);
const kept = {  // a page in a folder may be denied a memory
  get: key => { try { return JSON.parse(localStorage.getItem(key)); } catch { return null; } },
  set: (key, value) => { try { localStorage.setItem(key, JSON.stringify(value)); } catch { /* forgotten at the end */ } },
};

// Demos ---------------------------------------------------------------------------------------------------------------
function hash() {  // where on the page, and of a demo at which values; as typed if a % in it stands for nothing
  let text = location.hash.slice(1);
  try { text = decodeURI(text); } catch { /* as typed */ }
  return text.split(/\?(.*)/s);
}
const [linked, query = ""] = hash();
let addressDue = 0;
function address(name, link) {
  clearTimeout(addressDue);
  addressDue = setTimeout(() => history.replaceState(null, "", `#${name}${link && `?${link}`}`), LINK_EVERY);
}
function load(file, then) { document.head.append(make("script", {src: file, onload: then})); }

function wake(place) {
  const name = place.dataset.demo;
  load(`assets/demos/${name}.js`, () => {
    const source = recordedSource(RECORDINGS[name], place.querySelector("svg"), linked === name ? query : "");
    const root = make("div");
    place.querySelector("h3").remove();
    place.prepend(root);
    const link = state => `${location.href.split("#")[0]}#${name}${state.link && `?${state.link}`}`;
    mount(root, source, {around: 90, link, slow: ""});
    let before = source.link();
    source.onChange(() => {
      if (source.link() !== before) address(name, source.link());
      before = source.link();
    });
    place.dataset.ready = "true";
  });
}
const nearing = new IntersectionObserver(entries => {
  for (const {isIntersecting, target} of entries) if (isIntersecting) { nearing.unobserve(target); wake(target); }
}, {rootMargin: NEAR});

function unfold(element) { for (let fold = element; fold; fold = fold.parentElement) if (fold.tagName === "DETAILS") fold.open = true; }
function follow() {
  const target = byId(hash()[0]);
  if (!target) return;
  unfold(target);
  target.scrollIntoView();
}

// Questions: choose, commit, see ----------------------------------------------------------------------------------------
function question(form) {
  const {key, fact, question, number, tolerance} = JSON.parse(form.dataset.about);
  const answer = form.querySelector(".answer"), said = form.querySelector(".said"), commit = form.querySelector("button");
  const skip = form.querySelector(".skip"), fields = form.querySelector("fieldset");
  form.classList.add("lively");
  function reveal(guess) {
    const right = number === undefined ? guess === fact : Math.abs(parseFloat(guess?.replace(",", ".")) - number) <= tolerance * (1 + 1e-9);
    said.replaceChildren(...(guess === null ? [] : ["You said ", ...worded(form, guess), right ? ": right." : "."]));
    form.dataset.revealed = "true";
    answer.open = fields.disabled = skip.hidden = true;
    commit.textContent = "Guess again";
    kept.set(`guess ${key}`, {question, guess, fact, right});
    sum();
  }
  form.addEventListener("submit", event => {
    event.preventDefault();
    if (form.dataset.revealed) {
      delete form.dataset.revealed;
      answer.open = fields.disabled = skip.hidden = false;
      commit.textContent = "This is my guess";
      return;
    }
    const entry = form.querySelector("input[type=text]"), guess = entry ? entry.value.trim() : form.querySelector("input:checked")?.value;
    if (!guess || (entry && isNaN(parseFloat(guess.replace(",", "."))))) {
      said.textContent = entry ? "Type a number first." : "Choose one first.";
      form.dataset.waiting = "true";
      return;
    }
    delete form.dataset.waiting;
    reveal(guess);
  });
  skip.addEventListener("click", () => reveal(null));
  const before = kept.get(`guess ${key}`);
  if (before?.question === question) {
    for (const input of form.querySelectorAll("input")) input.type === "radio" ? input.checked = input.value === before.guess : input.value = before.guess ?? "";
    reveal(before.guess);
  }
}
function worded(form, guess) {  // with its formulas, where it is one of the choices
  const choice = [...form.querySelectorAll("input[type=radio]")].find(input => input.value === guess);
  return choice ? copied(choice.nextElementSibling) : [guess];
}
function copied(element) {
  return [...element.cloneNode(true).childNodes];
}
function sum() {  // the guesses of a notebook beside the facts
  for (const place of document.querySelectorAll(".guesses")) {
    const rows = [...document.querySelectorAll("form.question")].map(form => {
      const {key} = JSON.parse(form.dataset.about), entry = kept.get(`guess ${key}`);
      const guess = !form.dataset.revealed ? ["not guessed"] : entry?.guess ? worded(form, entry.guess) : ["skipped"];
      if (entry?.right && form.dataset.revealed) guess.push(" ✓");
      const told = [copied(form.querySelector(".asked")), guess, copied(form.querySelector(".fact"))];
      return make("tr", {}, ...told.map(words => make("td", {}, ...words)));
    });
    const head = make("tr", {}, ...["question", "your guess", "the fact"].map(text => make("th", {scope: "col", textContent: text})));
    place.replaceChildren(make("table", {}, head, ...rows));
  }
}

// Search ------------------------------------------------------------------------------------------------------------------
function search() {
  const box = byId("search"), list = byId("found");
  box.addEventListener("input", () => {
    const words = box.value.toLowerCase().split(/\s+/).filter(Boolean);
    const score = ([, page, , title, text]) => {
      const [head, body] = [`${page} ${title}`.toLowerCase(), text.toLowerCase()];
      return words.every(word => head.includes(word) || body.includes(word)) ? 1 + words.filter(word => head.includes(word)).length : 0;
    };
    const hits = words.length ? SECTIONS.map(section => [score(section), section]).filter(([s]) => s).sort((a, b) => b[0] - a[0]).slice(0, 12) : [];
    list.replaceChildren(...hits.map(([, [page, pageTitle, id, title, text]]) => {
      const at = Math.max(0, text.toLowerCase().indexOf(words[0]) - 40);
      return make("li", {}, make("a", {href: `${page}.html#${id}`}, make("b", {textContent: title}),
        make("span", {textContent: ` ${pageTitle.slice(0, 2)} … ${text.slice(at, at + 110)} …`})));
    }));
    if (words.length && !hits.length) list.replaceChildren(make("li", {textContent: "Nothing found."}));
    list.hidden = !words.length;
  });
  box.form.addEventListener("submit", event => { event.preventDefault(); list.querySelector("a")?.click(); });
  list.addEventListener("click", () => { list.hidden = true; });
  box.addEventListener("keydown", event => { if (event.key === "Escape") { box.value = ""; list.hidden = true; } });
}

// The page ------------------------------------------------------------------------------------------------------------------
function toggles() {
  const dark = byId("theme"), menu = byId("menu");
  const theme = name => { document.documentElement.dataset.theme = name; dark.setAttribute("aria-pressed", name === "dark"); };
  theme(document.documentElement.dataset.theme);
  dark.addEventListener("click", () => {
    const name = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
    theme(name);
    try { localStorage.theme = name; } catch { /* for this page alone */ }
  });
  menu.addEventListener("click", () => menu.setAttribute("aria-expanded", document.body.classList.toggle("menu")));
}
// What is wider than its room is moved sideways by keys too: Safari gives the focus to no such block by itself.
function sideways() {
  for (const block of document.querySelectorAll(".code, .wide, pre.printed, p:has(> math)"))
    if (block.scrollWidth > block.clientWidth) block.tabIndex = 0; else block.removeAttribute("tabindex");
}
function fill(kind, mountInto) {
  for (const place of document.querySelectorAll(kind)) {
    const root = make("div");
    place.append(root);
    mountInto(root, JSON.parse(place.querySelector("script").textContent));
  }
}

for (const place of document.querySelectorAll("[data-demo]")) nearing.observe(place);
document.querySelectorAll("form.question").forEach(question);
fill(".game", (root, declaration) => mountGame(root, {declaration, answers: [], done() {}}));
fill(".wave-place", mountWave);
if (document.querySelector(".pads-place")) load("assets/network.js", () => fill(".pads-place", mountPads));
sum();
search();
toggles();
follow();
sideways();
window.addEventListener("hashchange", follow);
window.addEventListener("resize", sideways);
document.addEventListener("toggle", sideways, true);  // a block that was folded
window.addEventListener("beforeprint", () => document.querySelectorAll("details:not(.solution, .answer)").forEach(fold => { fold.open = true; }));
