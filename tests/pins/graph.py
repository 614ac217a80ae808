"""What is asked at /graphql: each query and mutation, good ones and bad ones."""

from tests.pins.calls import Call, call
from tests.pins.world import PASSWORD

SERVER = """id name ip probe port added intervalS enabled state new uptime coverage strip
stripCounts meansMs lastPing { slot responseMs sent received }
counts { up degraded down unobserved due }"""
NEW = '{name: "new", ip: "127.0.0.9"}'
OUTCOME = "status detail field"
FIGURES = """counts { up degraded down unobserved due } sent received bestMs worstMs meanMs
p50Ms p95Ms"""


def asked(document: str, **variables: object) -> Call:
    """Return the request that sends a document."""
    body: dict[str, object] = {"query": document}
    return call("POST /graphql", body | ({"variables": variables} if variables else {}))


QUERIES = [
    f"{{ servers(first: 1) {{ nodes {{ {SERVER} }} }} }}",
    """{ servers { edges { cursor node { name } } totals { up degraded down unobserved } paused new
    lastRound pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } }""",
    '{ servers(search: "WEB", state: up) { nodes { name } } }',
    "{ servers(sort: name, descending: true, first: 2) { nodes { name } } }",
    '{ servers(first: 1, after: "1") { nodes { name } pageInfo { hasNextPage endCursor } } }',
    '{ servers(after: "nonsense") { nodes { name } } }',
    "{ servers(first: 0) { nodes { name } } }",
    "{ servers(first: 1001) { nodes { name } } }",
    "{ servers(sort: color) { nodes { name } } }",
    '{ server(name: "web") { id } }',
    '{ server(name: "nobody") { id } }',
    "{ server(id: 2) { name } }",
    '{ server(id: "x") { name } }',
    "{ server { name } }",
    '{ server(id: 2, name: "web") { name } }',
    """{ server(id: 1) { pings(limit: 2) { prev next pings { slot state responseMs bestMs worstMs
    sent received } } } }""",
    '{ server(id: 1) { pings(since: "2026-01-18", limit: 1) { prev next pings { slot } } } }',
    "{ server(id: 1) { pings(limit: 0) { prev } } }",
    '{ server(id: 1) { pings(since: "x") { prev } } }',
    f"{{ server(id: 2) {{ series(points: 1) {{ since until buckets {{ {FIGURES} }} }} }} }}",
    '{ server(id: 2) { series(since: "2026-01-18", until: "2026-01-19", points: 0) { since } } }',
    f"""{{ server(id: 1) {{ summary(window: "7d") {{ since until uptime coverage lostShare p99Ms
    {FIGURES} }} }} }}""",
    '{ server(id: 1) { summary(window: "x") { since } } }',
    "{ me { name may open } }",
    "{ tokens { id name kind scope created expires lastUsed } }",
    "{ users { id name role enabled created } }",
    "{ __typename }",
    "{ __schema { queryType { name } } }",
    '{ __type(name: "State") { name enumValues { name } } }',
    "{ nothing }",
    "{ me }",
    "{",
    "",
    "query A { me { name } } query B { me { may } }",
    "subscription { me { name } }",
    "{ a: me { name } b: me { may } users { name } }",
    "{ me { name ...F } } fragment F on Me { may }",
    "{ me { ...F } } fragment F on Me { ...F }",
    "{ servers(first: 1000) { nodes { series(points: 2000) { since } } } }",
    "{ " + " ".join(f"a{number}: me {{ name }}" for number in range(300)) + " }",
]
MUTATIONS = [
    f"mutation {{ createServer(server: {NEW}) {{ {OUTCOME} server {{ {SERVER} }} }} }}",
    f'mutation {{ createServer(server: {{name: "web", ip: "127.0.0.1"}}) {{ {OUTCOME} }} }}',
    f'mutation {{ createServer(server: {{name: "", ip: "127.0.0.1"}}) {{ {OUTCOME} }} }}',
    f'mutation {{ createServer(server: {{name: "new", ip: "x"}}) {{ {OUTCOME} }} }}',
    f"""mutation {{ createServer(server: {{name: "new", ip: "127.0.0.9", port: 0}})
    {{ {OUTCOME} }} }}""",
    f"""mutation {{ createServer(server: {{name: "new", ip: "127.0.0.9", intervalS: 61}})
    {{ {OUTCOME} }} }}""",
    f'mutation {{ createServer(server: {{name: "new"}}) {{ {OUTCOME} }} }}',
    f"""mutation {{ changeServer(id: 1, change: {{name: "other", port: 22, intervalS: 300}})
    {{ {OUTCOME} server {{ name port intervalS }} }} }}""",
    f"""mutation {{ changeServer(id: 2, change: {{port: null, enabled: false}})
    {{ {OUTCOME} server {{ port enabled state }} }} }}""",
    f'mutation {{ changeServer(id: 1, change: {{name: "db"}}) {{ {OUTCOME} }} }}',
    f"mutation {{ changeServer(id: 99, change: {{}}) {{ {OUTCOME} }} }}",
    f"mutation {{ removeServer(id: 1) {{ {OUTCOME} }} }}",
    f"mutation {{ removeServer(id: 99) {{ {OUTCOME} }} }}",
    f"""mutation {{ pingNow(id: 2) {{ {OUTCOME} ping {{ state probe responseMs port reason
    echoes {{ verdict rttMs clock boundMs reason }} }} }} }}""",
    f"mutation {{ pingNow(id: 99) {{ {OUTCOME} }} }}",
    f"""mutation {{ createToken(token: {{name: "script"}})
    {{ {OUTCOME} token {{ id kind scope }} }} }}""",
    f"""mutation {{ createToken(token: {{name: "script", scope: admin, expiresInS: 60}})
    {{ {OUTCOME} token {{ id token kind scope expires }} }} }}""",
    f'mutation {{ createToken(token: {{name: "", expiresInS: 1}}) {{ {OUTCOME} }} }}',
    f"mutation {{ createTokenPair {{ {OUTCOME} tokens {{ expiresInS }} }} }}",
    f"mutation {{ removeToken(id: 1) {{ {OUTCOME} }} }}",
    f"mutation {{ removeToken(id: 99) {{ {OUTCOME} }} }}",
    f"""mutation {{ changePassword(change: {{old: "{PASSWORD}", new: "another long password"}})
    {{ {OUTCOME} }} }}""",
    f'mutation {{ changePassword(change: {{old: "wrong", new: "short"}}) {{ {OUTCOME} }} }}',
    f"""mutation {{ createUser(user: {{name: "new", password: "{PASSWORD}", role: viewer}})
    {{ {OUTCOME} user {{ id name role enabled created }} }} }}""",
    f"""mutation {{ createUser(user: {{name: "ann", password: "{PASSWORD}"}})
    {{ {OUTCOME} }} }}""",
    f'mutation {{ createUser(user: {{name: "new", password: "short"}}) {{ {OUTCOME} }} }}',
    f"""mutation {{ changeUser(id: 3, change: {{role: admin, enabled: false}})
    {{ {OUTCOME} user {{ role enabled }} }} }}""",
    f"mutation {{ changeUser(id: 1, change: {{role: viewer}}) {{ {OUTCOME} }} }}",
    f"mutation {{ changeUser(id: 99, change: {{}}) {{ {OUTCOME} }} }}",
    f"mutation {{ removeUser(id: 3) {{ {OUTCOME} }} }}",
    f"mutation {{ removeUser(id: 1) {{ {OUTCOME} }} }}",
    f"mutation {{ a: removeServer(id: 1) {{ {OUTCOME} }} b: removeServer(id: 1) {{ status }} }}",
]
PUT = """mutation($servers: [BulkServer!]!, $upsert: Boolean! = false) {
putServers(servers: $servers, upsert: $upsert) { status detail field
results { status id detail field } } }"""
BULK = [{"name": "new", "ip": "127.0.0.9"}, {"name": "web", "ip": "127.0.0.8"}]

GRAPHQL = [
    *(asked(document) for document in (*QUERIES, *MUTATIONS)),
    asked(PUT, servers=BULK),
    asked(PUT, servers=[*BULK, {"name": "x", "ip": "x", "port": None}], upsert=True),
    asked(PUT, servers=[{"name": "x"}]),
    asked(PUT, servers=BULK[:1] * 1001),
    asked("query($id: ID!) { server(id: $id) { name } }", id=1),
    asked("query($id: ID!) { server(id: $id) { name } }"),
    call("POST /graphql", []),
    call("POST /graphql", {"query": 3}),
    call("POST /graphql", {"query": "{ me { name } }", "more": 1}),
    call("POST /graphql", {"query": "query A { me { name } }", "operationName": "B"}),
    call("POST /graphql", {"query": "{ me { name } }"}, Accept="application/graphql-response+json"),
    call("POST /graphql", {"query": "{ nothing }"}, Accept="application/graphql-response+json"),
    call("POST /graphql", b"{ me { name } }", Content_Type="application/graphql"),
    call("POST /graphql", b"{"),
    call("GET /graphql?query=%7B%20me%20%7B%20name%20%7D%20%7D"),
    call("GET /graphql?query=mutation%20%7B%20removeServer(id:%201)%20%7B%20status%20%7D%20%7D"),
    call("GET /graphql?query=%7B"),
    call("GET /graphql", Accept="text/html"),
]
