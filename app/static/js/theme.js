// Sets the theme before the first paint: the chosen one, else the system's. A classic script on purpose: modules run too
// late and would flash.
(function () {
  const root = document.documentElement;
  const light = matchMedia("(prefers-color-scheme: light)");
  const chosen = () => {
    try {
      const theme = localStorage.getItem("theme");
      return theme === "light" || theme === "dark" ? theme : null;
    } catch {
      return null; // storage is disabled
    }
  };
  const apply = () => (root.dataset.theme = chosen() ?? (light.matches ? "light" : "dark"));
  light.addEventListener("change", apply);
  apply();
})();
