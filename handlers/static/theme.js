// Light or dark before the first paint: the choice, else the system's.
const dark = matchMedia("(prefers-color-scheme: dark)");

function apply() {
  const chosen = localStorage.getItem("theme");
  document.documentElement.dataset.theme = chosen ?? (dark.matches ? "dark" : "light");
}

dark.addEventListener("change", apply);
apply();
