// What a page does with a script in addition: times in the reader's zone, copying, the dialog of a
// secret, no secret in an address. Every page works without it.
(() => {
  "use strict";

  const zoned = (element) => {
    const moment = new Date(element.dateTime);
    if (Number.isNaN(moment.getTime())) return;
    const options = { dateStyle: "medium" };
    if (element.dataset.local !== "date") options.timeStyle = "short";
    element.textContent = new Intl.DateTimeFormat(undefined, options).format(moment);
    delete element.dataset.local;
  };

  const prepare = (root) => {
    root.querySelectorAll("time[data-local]").forEach(zoned);
    if (navigator.clipboard) {
      root.querySelectorAll("button[data-copy], button[data-copy-from]").forEach((button) => {
        button.hidden = false;
      });
    }
  };

  const copy = async (button) => {
    const source = document.getElementById(button.dataset.copyFrom ?? "");
    const text = source ? source.textContent : button.dataset.copy;
    const label = button.firstChild;
    const before = label.nodeValue;
    try {
      await navigator.clipboard.writeText(text);
      label.nodeValue = "Copied";
    } catch {
      label.nodeValue = "Press Ctrl+C";
      if (source) getSelection().selectAllChildren(source);
    }
    setTimeout(() => { label.nodeValue = before; }, 2000);
  };

  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("button[data-copy], button[data-copy-from]");
    if (button) copy(button);
  });

  // The text of a credential that was pasted into a search would be in the address, and so in the history and
  // in logs: the identifier is enough to find a key.
  const secrets = /:?[A-Za-z0-9]+_sk_[A-Za-z0-9_-]{16,}/g;
  const shared = /\b([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}):[A-Za-z0-9]{16,}/gi;
  const clean = (field) => {
    const form = field.form;
    if (!form || !(form.method === "get" || form.hasAttribute("hx-get"))) return;
    const text = field.value.replace(secrets, "").replace(shared, "$1");
    if (text !== field.value) field.value = text.trim();
  };
  document.addEventListener("input", (event) => clean(event.target), true);
  document.addEventListener("submit", (event) => {
    for (const field of event.target.elements) if (field.matches("input")) clean(field);
  }, true);

  const problem = (...texts) => {
    const place = document.getElementById("problem");
    if (!place) return;
    if (texts.length === 0) return place.replaceChildren();
    const section = document.createElement("section");
    section.className = "notice bad";
    section.setAttribute("role", "alert");
    for (const text of texts) section.appendChild(document.createElement("p")).textContent = text;
    place.replaceChildren(section);
  };
  document.addEventListener("htmx:before:request", () => problem());
  document.addEventListener("htmx:error", () => {
    problem("The server did not answer. What is shown below is as it was before: try again.");
  });
  document.addEventListener("htmx:after:swap", () => prepare(document));

  const secret = document.getElementById("secret");
  if (secret?.showModal) {
    secret.close();
    secret.showModal();
    // A slip of the finger must not lose it. A browser lets a second Escape through.
    secret.addEventListener("cancel", (event) => event.preventDefault());
    secret.addEventListener("close", () => { if (!secret.open) secret.showModal(); });
  }

  prepare(document);
})();
