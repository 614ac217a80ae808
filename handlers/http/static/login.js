import { $, call, onSubmit } from "./common.js";

onSubmit($("#login"), async (form) => {
  await call("POST", "session", { name: form.get("name"), password: form.get("password") });
  // Only a path of our own: "//elsewhere" would be another site.
  const next = new URLSearchParams(location.search).get("next") ?? "";
  location.replace(/^\/dashboard(\/[\w/]*)?(\?.*)?$/.test(next) ? next : "/dashboard");
});
