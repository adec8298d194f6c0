// What a person moves: an element for each control of a declaration, which tells what was done and shows a state.

function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in element && !name.startsWith("aria")) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.filter(child => child !== null));
  return element;
}

function button(text, className, act, help = "") {
  const element = make("button", {type: "button", textContent: text, className: `demo-button-face ${className}`});
  if (help) element.setAttribute("aria-description", help);
  element.addEventListener("click", act);
  return element;
}

function toggle(text, className, act) {
  const element = button(text, className, () => {
    const to = element.getAttribute("aria-pressed") !== "true";
    element.setAttribute("aria-pressed", to);  // at once: a second press before the answer takes the first back
    act(to);
  });
  element.setAttribute("aria-pressed", "false");
  return element;
}

// {elements: by name, update: by name, a function that shows a state, ranges: the sliders' inputs}. tell(message) is for what
// is done once, soon(name, message) for what moves: of several before the screen's next frame the last is enough.
function makeControls(declaration, view, tell, soon) {
  const elements = {}, update = {}, ranges = {};
  const classes = control => `demo-control demo-${control.kind} demo-${control.kind}-${control.name}`;

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

  function press(control, sign) {
    return button(sign + control.label, classes(control), () => tell({do: "press", name: control.name}), control.help);
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
  for (const control of declaration.controls)
    if (builders[control.kind]) elements[control.name] = builders[control.kind](control);
  for (const name of declaration.hidden) if (elements[name]) elements[name].hidden = true;
  return {elements, update, ranges};
}
