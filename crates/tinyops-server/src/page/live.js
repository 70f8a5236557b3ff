// Keeps the page current without losing the reader's place: only <main> is replaced, and only
// while nobody selects text, fills in a form or has the page in the background.
const isTyped = () => [...document.querySelectorAll("main form input")].some((i) => i.value !== i.defaultValue);
const isInUse = () =>
  document.hidden || String(getSelection()) || document.activeElement?.closest("form") || isTyped();
setInterval(async () => {
  if (isInUse()) return;
  try {
    const answer = await fetch(location.href, { headers: { accept: "text/html" } });
    if (!answer.ok) return;
    if (answer.redirected) return location.reload(); // The session is over.
    const next = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (isInUse()) return; // Somebody began while the answer was on its way.
    for (const part of ["main", ".clock"]) {
      const [old, fresh] = [document.querySelector(part), next.querySelector(part)];
      if (old && fresh && old.innerHTML !== fresh.innerHTML) old.innerHTML = fresh.innerHTML;
    }
  } catch { /* The server restarts: try again at the next turn. */ }
}, 2000);
