// The offline page: in the reader's language, and gone as soon as the server answers. A classic script: it may not depend on
// modules, which the browser would have to fetch.
(function () {
  const AGAIN_MILLISECONDS = 3000;
  const texts = [...document.querySelectorAll("main")];
  const wanted = [/(?:^|;\s*)language=(\w+)/.exec(document.cookie)?.[1], ...navigator.languages].map((language) => language?.slice(0, 2));
  const shown = wanted.map((language) => texts.find(({ lang }) => lang === language)).find(Boolean) ?? texts[0];
  for (const text of texts) text.hidden = text !== shown;
  document.documentElement.lang = shown.lang;

  /** Asks for the page itself: that another address answers does not mean that this one does. */
  async function look() {
    const answer = await fetch("./", { method: "HEAD", headers: { Accept: "text/html" }, cache: "no-store" }).catch(() => null);
    if (answer?.ok) location.reload();
  }
  shown.querySelector("button").addEventListener("click", look);
  addEventListener("online", look);
  setInterval(look, AGAIN_MILLISECONDS);
})();
