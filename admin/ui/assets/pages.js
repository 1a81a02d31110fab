// What saves round trips on pages that work without it. Every action stays a form or a link.

document.documentElement.classList.add("script");

/** Puts a part of a fetched page in the place of the same part of this one; the focus stays where it was. */
function swap(text, id) {
  const fresh = new DOMParser().parseFromString(text, "text/html").getElementById(id);
  const here = document.getElementById(id);
  if (!fresh || !here) return null;
  const focused = here.contains(document.activeElement) ? document.activeElement : null;
  const again = focused && (focused.id ? `#${CSS.escape(focused.id)}` : `[name="${focused.name}"][value="${focused.value}"]`);
  here.replaceWith(fresh);
  if (again) (fresh.querySelector(again) ?? fresh.querySelector("[data-choose]"))?.focus();
  return fresh;
}

/** A copy of a text, and a word that it is there. */
async function copy(button) {
  const text = document.getElementById(button.dataset.copy).textContent;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Without TLS there is no clipboard: the text is selected instead.
    getSelection().selectAllChildren(document.getElementById(button.dataset.copy));
    document.execCommand("copy");
  }
  const label = button.lastChild;
  const before = label.textContent;
  label.textContent = "Copied";
  button.setAttribute("aria-live", "polite");
  setTimeout(() => { label.textContent = before; }, 2000);
}

addEventListener("click", (event) => {
  const button = event.target.closest("[data-copy]");
  if (button) copy(button);
});

// A step of a form in place: the same request, but only its part of the page changes.
addEventListener("submit", async (event) => {
  const id = event.submitter?.dataset.swap;
  if (!id) return;
  event.preventDefault();
  const form = event.target;
  const body = new URLSearchParams(new FormData(form, event.submitter));
  const answer = await fetch(form.action, { method: "POST", body });
  if (!answer.ok || !swap(await answer.text(), id)) form.submit();
});

addEventListener("change", (event) => {
  if (!event.target.matches("[data-choose]")) return;
  event.target.form.requestSubmit(event.target.form.querySelector("[data-choose-button]"));
});

// A page that waits for something looks again by itself.
function poll() {
  const waiting = document.querySelector("[data-poll]");
  if (!waiting) return;
  setTimeout(async () => {
    const answer = await fetch(location.href).catch(() => null);
    if (answer?.ok) swap(await answer.text(), waiting.id);
    poll();
  }, 2000);
}
poll();

// A page that shows what is now looks again as long as somebody looks at it.
const live = document.querySelector("[data-live]");
if (live) {
  setInterval(async () => {
    const here = document.getElementById(live.id);
    if (document.hidden || here.contains(document.activeElement)) return;
    const answer = await fetch(location.href).catch(() => null);
    if (answer?.ok && !answer.redirected) swap(await answer.text(), live.id);
  }, 3000);
}

document.querySelector("[data-focus]")?.focus();
