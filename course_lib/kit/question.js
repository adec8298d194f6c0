// What a reader guesses with: choices or a number, and two buttons. A key pressed here is the form's, not Jupyter's.
function render({model, el}) {
  const choices = model.get("choices"), labels = model.get("labels"), group = `guess-${Math.random()}`;
  const make = (kind, properties = {}, ...children) => {
    const element = Object.assign(document.createElement(kind), properties);
    element.append(...children);
    return element;
  };
  const radios = choices.map(choice => make("input", {type: "radio", name: group, value: choice}));
  const number = make("input", {type: "text", inputMode: "decimal", placeholder: "a number", ariaLabel: "a number"});
  const entries = choices.length
    ? radios.map((radio, at) => {
        const words = make("span", {innerHTML: labels[at]});
        radio.ariaLabel = words.textContent;  // a formula is no name
        return make("label", {}, radio, " ", words);
      })
    : [make("label", {}, number, ` ${model.get("unit")}`)];
  const fields = make("fieldset", {}, make("legend", {textContent: "Your guess"}), ...entries);
  const commit = make("button", {type: "submit"});
  const skip = make("button", {type: "button", textContent: "Show me", title: "See the answer without a guess"});
  const form = make("form", {}, fields, commit, skip);
  let since = 0;  // when the answer came

  function show() {
    const revealed = model.get("revealed"), guess = model.get("guess");
    if (revealed || fields.disabled) {  // else the reader is choosing
      for (const radio of radios) radio.checked = radio.value === guess;
      number.value = guess;
    }
    if (revealed && !fields.disabled) since = Date.now();
    if (revealed && form.contains(document.activeElement)) commit.focus();  // what had the focus goes
    fields.disabled = skip.hidden = revealed;
    commit.textContent = revealed ? "Guess again" : "This is my guess";
    commit.title = revealed ? "Hide the answer and guess anew" : "Commit to it, and see the answer";
  }
  form.addEventListener("submit", event => {
    event.preventDefault();
    const guess = choices.length ? radios.find(radio => radio.checked)?.value ?? "" : number.value;
    if (!model.get("revealed")) model.send({do: "commit", guess});
    else if (Date.now() - since > 700) model.send({do: "again"});  // a double click is one
  });
  skip.addEventListener("click", () => model.send({do: "skip"}));
  form.addEventListener("keydown", event => event.stopPropagation());
  form.addEventListener("focusin", event => { event.target.dataset.lmSuppressShortcuts = "true"; });  // Notebook 7 hears keys first
  for (const name of ["revealed", "guess"]) model.on(`change:${name}`, show);
  show();
  el.append(form);
  return () => { for (const name of ["revealed", "guess"]) model.off(`change:${name}`, show); };
}
export default {render};
