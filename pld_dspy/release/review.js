// The page works without this. With it, a field is saved when it is left, and rules can be dragged by their numbers.
const unsaved = new Set();
let saving = Promise.resolve();  // one form at a time: each needs the version that the one before has made

async function save(form) {
  const said = form.querySelector("output");
  said.textContent = "Saving";
  try {
    const answer = await fetch(form.action, { method: "POST", body: new URLSearchParams(new FormData(form)) });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    document.getElementById("message").replaceChildren(...page.getElementById("message").childNodes);
    if (!answer.ok) throw new Error("Not saved: see the top of the page");
    for (const part of page.querySelectorAll("[data-live]"))
      document.querySelector(`[data-live="${CSS.escape(part.dataset.live)}"]`)?.replaceWith(part);
    const version = page.querySelector("[name=version]").value;
    for (const field of document.querySelectorAll("[name=version]")) field.value = version;
    unsaved.delete(form);
    said.textContent = "Saved";
  } catch (error) {
    said.textContent = error instanceof TypeError ? "Not saved: pld-dspy review is not running" : error.message;
  }
}

document.addEventListener("input", event => unsaved.add(event.target.form));
document.addEventListener("change", event => { saving = saving.then(() => save(event.target.form)); });
document.addEventListener("submit", event => unsaved.delete(event.target));
addEventListener("beforeunload", event => { if (unsaved.size) event.preventDefault(); });

const list = document.getElementById("list");
let dragged = null;
const cardOf = event => event.target.closest?.("#list > .card");
for (const number of list.querySelectorAll(".number")) Object.assign(number, { draggable: true, title: "Drag to another place" }).classList.add("handle");
list.addEventListener("dragstart", event => { dragged = event.target.closest?.(".number") && cardOf(event); });
list.addEventListener("dragover", event => {
  if (!dragged) return;
  event.preventDefault();
  for (const card of list.children) card.classList.toggle("target", card === cardOf(event));
});
list.addEventListener("dragend", () => { for (const card of list.children) card.classList.remove("target"); });
list.addEventListener("drop", event => {
  const place = [...list.children].indexOf(cardOf(event));
  if (!dragged || place < 0) return;
  event.preventDefault();
  const form = dragged.querySelector("form");
  for (const [name, value] of [["do", "place"], ["to", place]])
    form.append(Object.assign(document.createElement("input"), { type: "hidden", name, value }));
  form.requestSubmit();
});
