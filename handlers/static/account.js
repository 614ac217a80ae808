import { $, call, h, onSubmit, toast, when, whoami } from "./common.js";

const me = await whoami();
$("#open").hidden = !me.open;
$("#mine").hidden = me.open;
$("#people").hidden = me.open || me.may !== "admin";

async function tokens() {
  const found = (await call("GET", "tokens")).tokens;
  $("#tokens").replaceChildren(...found.map((token) => h("tr", {},
    h("td", {}, h("bdi", {}, token.name || "–")), h("td", {}, token.kind), h("td", {}, token.scope),
    h("td", {}, token.last_used ? when(token.last_used) : "never"), h("td", {}, when(token.expires)),
    h("td", {}, h("button", {
      type: "button", class: "quiet danger", "aria-label": `Revoke ${token.name || token.kind}`,
      onclick: async () => { await call("DELETE", `tokens/${token.id}`); await tokens(); },
    }, "Revoke")))));
}

async function users() {
  const found = (await call("GET", "users")).users;
  $("#users").replaceChildren(...found.map((user) => h("tr", {},
    h("td", {}, h("bdi", {}, user.name)), h("td", {}, user.role), h("td", {}, user.enabled ? "may log in" : "locked out"),
    h("td", { class: "row" },
      h("button", { type: "button", class: "quiet", onclick: () => change(user, { enabled: !user.enabled }) }, user.enabled ? "Lock out" : "Let in"),
      h("button", { type: "button", class: "quiet danger", onclick: () => remove(user) }, "Remove")))));
}

async function change(user, what) {
  try { await call("PATCH", `users/${user.id}`, what); await users(); } catch (problem) { toast(problem.message); }
}

async function remove(user) {
  if (!confirm(`Remove ${user.name} and all their tokens?`)) return;
  try { await call("DELETE", `users/${user.id}`); await users(); } catch (problem) { toast(problem.message); }
}

onSubmit($("#new-token"), async (form) => {
  const made = await call("POST", "tokens", { name: form.get("name"), scope: form.get("scope") });
  $("#made").hidden = false;
  $("#token").textContent = made.token;
  $("#new-token").reset();
  await tokens();
});

onSubmit($("#password"), async (form) => {
  await call("PUT", "me/password", { old: form.get("old"), new: form.get("new") });
  location.assign("/login");
});

onSubmit($("#new-user"), async (form) => {
  await call("POST", "users", { name: form.get("name"), password: form.get("password"), role: form.get("role") });
  $("#new-user").reset();
  await users();
});

if (!me.open) await tokens();
if (!$("#people").hidden) await users();
