// What a ping on demand found, in words: how each echo ended, and by which clock it was timed.
import { h, ms, stateMark } from "./common.js";

const CLOCKS = { kernel: "by the kernel's clock", user: "by Pinglet's own clock" };
const REFUSED = "Refused: the host is up and says that nothing accepts connections on this port.";

export function foundBy({ state, response_ms, probe, port, reason, detail, echoes }) {
  const how = probe === "tcp" ? `TCP${port ? `, port ${port}` : ""}` : probe === "icmp" ? "ICMP" : "";
  const why = echoes.some(({ verdict }) => verdict === "refused") && [null, "refused"].includes(reason) ? REFUSED : detail;
  return [
    h("div", { class: "row" }, stateMark(state), h("strong", {}, ms(response_ms)), h("span", { class: "muted" }, how)),
    ...(why ? [h("p", {}, why)] : []),
    h("ul", { class: "echoes" }, ...echoes.map((echo) => h("li", {}, endOf(echo)))),
    h("p", { class: "muted" }, "Not saved; history keeps scheduled checks only."),
  ];
}

function endOf({ verdict, rtt_ms, bound_ms, clock, reason }) {
  const timed = rtt_ms == null ? "" : ` after ${rtt_ms.toFixed(3)} ms, ± ${bound_ms.toFixed(3)} ms ${CLOCKS[clock] ?? `by the ${clock} clock`}`;
  return `${verdict}${timed}${reason ? `: ${reason}` : ""}`;
}
