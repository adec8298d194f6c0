// The speaker's notes: they follow the demos' window, and pass on the keys that are pressed here.

const windows = new BroadcastChannel(`present-${location.port}`), began = Date.now();
const clock = document.createElement("span");
setInterval(() => {
  const seconds = Math.round((Date.now() - began) / 1000);
  clock.textContent = `${new Date().toTimeString().slice(0, 5)} · ${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}, 1000);

windows.onmessage = ({data}) => {
  if (!data.id) return;
  const {question} = data, part = (title, words) => words ? `<h2>${title}</h2>${words}` : "";
  const choices = question?.choices.map((choice, place) => `<li${place === question.right ? ' class="right"' : ""}>${choice}</li>`).join("");
  document.body.innerHTML = `<header><span>${data.chapter}</span></header><h1>${data.part} (${data.at + 1} of ${data.count})</h1>` +
    part(data.revealed ? "Asked" : "On the screen", question?.text) + (choices ? `<ol type="A">${choices}</ol>` : "") +
    part("The answer", question && `${question.right < 0 ? question.answer : ""}${question.because}`) +
    part("What to see", data.see) + part("The picture now", `<p class="words"></p>`) + part("Next", data.after);
  document.querySelector(".words").textContent = data.words;
  document.querySelector("header").append(clock);
};
addEventListener("keydown", event => {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  const key = {" ": "PageDown", ArrowRight: "PageDown", ArrowLeft: "PageUp"}[event.key] ?? event.key;
  if (!/^([1-9abdlpr.]|PageDown|PageUp|Escape)$/.test(key)) return;
  windows.postMessage({key});
  event.preventDefault();
});
windows.postMessage("hello");
