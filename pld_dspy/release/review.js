// The page works without this. With it, a field is saved when it is left, and rules can be dragged by their numbers.
const unsaved = new Set();
let saving = Promise.resolve();  // one form at a time: each needs the version that the one before has made

async function save(form) {
  const said = form.querySelector("output");
  said.textContent = "Saving";
  try {
    const answer = await fetch(form.action, { method: "POST", body: new URLSearchParams(new FormData(form)) });
    const text = await answer.text();
    const page = new DOMParser().parseFromString(text.slice(text.indexOf("<main>")), "text/html");
    document.getElementById("message").replaceChildren(...page.getElementById("message").childNodes);
    if (!answer.ok) throw new Error("Not saved: see the top of the page");
    for (const fresh of page.querySelectorAll("[data-live]"))
      document.querySelector(`[data-live="${CSS.escape(fresh.dataset.live)}"]`)?.replaceWith(fresh);
    for (const fresh of page.querySelectorAll("[data-button]")) {  // kept in place: one may be under the mouse
      const button = document.querySelector(`[data-button="${CSS.escape(fresh.dataset.button)}"]`);
      for (const name of ["value", "textContent", "className", "disabled"]) if (button) button[name] = fresh[name];
    }
    const version = page.querySelector("[name=version]").value;
    for (const field of document.querySelectorAll("[name=version]")) field.value = version;
    unsaved.delete(form);
    said.textContent = "Saved";
  } catch (error) {
    said.textContent = error instanceof TypeError ? "Not saved: pld-dspy review is not running" : error.message;
  }
}

function send(form, fields) {
  saving = saving.then(() => {
    for (const [name, value] of Object.entries(fields))
      form.append(Object.assign(document.createElement("input"), { type: "hidden", name, value }));
    unsaved.delete(form);
    form.submit();
  });
}

document.addEventListener("input", event => unsaved.add(event.target.form));
document.addEventListener("change", event => { saving = saving.then(() => save(event.target.form)); });
document.addEventListener("submit", event => {
  event.preventDefault();
  send(event.target, event.submitter?.name ? { [event.submitter.name]: event.submitter.value } : {});
});
addEventListener("beforeunload", event => { if (unsaved.size) event.preventDefault(); });

const list = document.getElementById("list");
const cardOf = event => event.target.closest?.("#list > .card");
const mark = over => { for (const card of list.children) card.classList.toggle("target", card === over); };
let dragged = null;
for (const handle of list.querySelectorAll(".handle")) handle.draggable = true;
list.addEventListener("dragstart", event => { dragged = event.target.closest?.(".handle") && cardOf(event); });
list.addEventListener("dragover", event => { if (dragged) { event.preventDefault(); mark(cardOf(event)); } });
list.addEventListener("dragend", () => mark(null));
list.addEventListener("drop", event => {
  const to = [...list.children].indexOf(cardOf(event));
  if (!dragged || to < 0) return;
  event.preventDefault();
  send(dragged.querySelector("form"), { do: "place", to });
});
