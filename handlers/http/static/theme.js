// Light or dark before the first paint: the choice, else the system's.
const dark = matchMedia("(prefers-color-scheme: dark)");

function apply() {
  const chosen = localStorage.getItem("theme");
  document.documentElement.dataset.theme = chosen ?? (dark.matches ? "dark" : "light");
  document.dispatchEvent(new Event("theme")); // what is painted on a canvas has to be painted anew
}

dark.addEventListener("change", apply);
apply();
