import { $, call, onSubmit, prefix } from "./common.js";
import "./watch.js";

onSubmit($("#login"), async (form) => {
  await call("POST", "session", { name: form.get("name"), password: form.get("password") });
  // Only a path of our own: "//elsewhere" would be another site.
  const next = new URLSearchParams(location.search).get("next") ?? "";
  const ours = next.startsWith(prefix) && /^\/dashboard(\/[\w/]*)?(\?.*)?$/.test(next.slice(prefix.length));
  location.replace(ours ? next : `${prefix}/dashboard`);
});
