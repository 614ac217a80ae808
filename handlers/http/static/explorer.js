// GraphiQL on /graphql, with the session of this page. It is React's: the only page that is.
import { $, prefix } from "./common.js";
import { forGood } from "./kept.js";
import { goOnRemoving } from "./removing.js";
import "./watch.js";

const EXAMPLE = `# Servers in the worst state first, with their last 30 days. Press Ctrl-Enter to run.
query Fleet {
  servers(first: 10, sort: state) {
    totals { up degraded down unobserved }
    nodes {
      name
      state
      lastPing { slot responseMs }
      summary(window: "30d") { uptime coverage p95Ms }
    }
  }
}
`;

// The style element that its dialogs make may stand here only with this.
globalThis.__webpack_nonce__ = $("meta[name=style-nonce]").content;

const fetcher = GraphiQL.createFetcher({ url: `${prefix}/graphql`, headers: { "X-Requested-With": "pinglet" } });
const theme = () => document.documentElement.dataset.theme;
const root = ReactDOM.createRoot($("#graphiql"));
const storage = forGood.works ? undefined : null; // it would throw where it finds none by itself
const show = () => root.render(React.createElement(GraphiQL, { fetcher, storage, defaultQuery: EXAMPLE, forcedTheme: theme() }));

show();
goOnRemoving();
document.addEventListener("theme", show);
