// Keeps the page current without losing the reader's place: only <main> is replaced, and only
// while nobody selects text or has the page in the background.
setInterval(async () => {
  if (document.hidden || String(getSelection())) return;
  try {
    const answer = await fetch(location.href, { headers: { accept: "text/html" } });
    if (!answer.ok) return;
    if (answer.redirected) return location.reload(); // The session is over.
    const next = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const part of ["main", ".clock"]) {
      const [old, fresh] = [document.querySelector(part), next.querySelector(part)];
      if (old && fresh && old.innerHTML !== fresh.innerHTML) old.innerHTML = fresh.innerHTML;
    }
  } catch { /* The server restarts: try again at the next turn. */ }
}, 2000);
