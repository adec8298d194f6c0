// Links: steps=5&inner_lr=0.02&hide=phase says where a demo stands. The words are those of course_lib/kit/links.py, which a
// test holds these functions to: a control is named once, hide= lists controls that are not shown, what cannot be read
// falls back with a sentence. What equals the demo's start is left out, and so is what was drawn by hand.

const LINK_WORDS = {"true": "on", "1": "on", "yes": "on", "false": "off", "0": "off", "no": "off"};

// {at: {name: place}, hidden: [names], said: [sentences]} of a query; at holds only what the query names.
function readLink(query, declaration, ignored = ["demo"]) {
  const controls = Object.fromEntries(declaration.controls.map(control => [control.name, control]));
  const at = {}, hidden = [], said = [];
  const there = () => Object.keys(controls).filter(name => controls[name].words || readers[controls[name].kind]).join(", ");
  for (const [name, word] of new URLSearchParams(query)) {
    if (ignored.includes(name)) continue;
    const names = name === "hide" ? word.split(",").filter(Boolean) : [name];
    for (const each of names) {
      if (!controls[each]) said.push(`There is no control ${each} here; there are ${there()}.`);
      else if (name === "hide") hidden.push(each);
    }
    const control = controls[name];
    const read = control && (readers[control.kind] || (control.words && placeOf));
    if (!read || name === "hide") continue;
    const [place, problem] = read(word, control);
    if (problem) said.push(place === undefined ? `${problem}: it stays at ${wordOf(control, declaration.start[name])}.` : problem);
    if (place !== undefined) at[name] = place;
  }
  return {at, hidden, said};
}

// The query of a state: what differs from the start, and what is hidden.
function writeLink(declaration, at, hidden = declaration.hidden) {
  const query = [];
  for (const control of declaration.controls) {
    const place = at[control.name];
    if (place === undefined || JSON.stringify(place) === JSON.stringify(declaration.start[control.name])) continue;
    const word = wordOf(control, place);
    if (word !== undefined) query.push([control.name, word]);
  }
  if (hidden.length) query.push(["hide", hidden.join(",")]);
  return query.map(([name, word]) => `${name}=${encodeURIComponent(word).replaceAll("%2C", ",")}`).join("&");
}

function numberIn(word) { return /^\s*[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?\s*$/i.test(word) ? Number(word) : NaN; }

function wordOf(control, place) {
  const write = writers[control.kind];
  return write ? write(place, control) : control.words?.[place];
}

// Of a word: [place, a sentence where the place is not what was written]; [undefined, what is wrong] where there is none.
function placeOf(word, control) {
  const {name, kind, words} = control, exact = words.indexOf(word), last = words.length - 1;
  if (exact >= 0) return [exact];
  const number = numberIn(word), numbers = words.map(numberIn), all = words.join(", ");
  if (!["slider", "notches"].includes(kind) || numbers.some(isNaN)) return [undefined, `${name} is one of ${all}, not ${word}`];
  if (isNaN(number)) return [undefined, `${name} is a number, not ${word}`];
  if (number < numbers[0] || number > numbers[last])
    return [number < numbers[0] ? 0 : last, `${name} goes from ${words[0]} to ${words[last]}, not to ${word}.`];
  const far = control.log ? other => Math.abs(Math.log(other / number)) : other => Math.abs(other - number);
  const nearest = numbers.reduce((best, other, place) => far(other) < far(numbers[best]) ? place : best, 0);
  return [nearest, kind === "notches" ? `${name} is one of ${all}: ${words[nearest]} is nearest to ${word}.` : ""];
}

const readers = {
  several: (word, {name, words}) => {
    const asked = word.split(",").filter(Boolean), unknown = asked.filter(each => !words.includes(each));
    const places = words.flatMap((each, place) => asked.includes(each) ? [place] : []);
    const problem = `${name} has ${words.join(", ")}, not ${unknown.join(", ")}`;
    return unknown.length ? places.length ? [places, `${problem}.`] : [undefined, problem] : [places];
  },
  switch: (word, {name, words}) => {
    const place = words.indexOf(LINK_WORDS[word.toLowerCase()] ?? word.toLowerCase());
    return place >= 0 ? [place] : [undefined, `${name} is one of off, on, not ${word}`];
  },
  button: (word, {name}) =>
    /^\d{1,6}$/.test(word) ? [Number(word)] : [undefined, `${name} is a number of presses, not ${word}`],
  point: (word, {name}) => {
    const numbers = word.split(",").map(numberIn);
    return numbers.length === 2 && !numbers.some(isNaN) ? [numbers] : [undefined, `${name} is a point x,y, not ${word}`];
  },
  points: (word, {name}) => {
    const numbers = word ? word.split(",").map(numberIn) : [];
    return numbers.some(isNaN) ? [undefined, `${name} is a list of numbers, not ${word}`] : [numbers];
  },
};

const writers = {
  several: (places, {words}) => places.map(place => words[place]).join(","),
  button: count => `${count}`,
  point: numbers => numbers.join(","),
  points: numbers => (numbers ?? []).join(","),
};
