// Sets the theme before the first paint. A classic script on purpose: modules run too late and would flash.
(function () {
  try {
    const theme = localStorage.getItem("theme");
    if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
  } catch {
    /* storage is disabled: the dark theme is used */
  }
})();
