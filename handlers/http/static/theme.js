// Light or dark before the first paint: the choice, else the system's.
const dark = matchMedia("(prefers-color-scheme: dark)");

// A browser that was told to keep nothing throws.
function kept() {
  try { return localStorage.getItem("theme"); } catch { return null; }
}

function apply() {
  const chosen = kept();
  document.documentElement.dataset.theme = chosen ?? (dark.matches ? "dark" : "light");
  document.dispatchEvent(new Event("theme")); // what is painted on a canvas has to be painted anew
}

dark.addEventListener("change", apply);
apply();
