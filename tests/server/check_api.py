#!/usr/bin/env python3
"""check_api.py JOULET SIM_ENGINE OPENAPI RECORD_SCHEMA - a server is started and asked what its description allows, and what it does not.

Every path of the description is asked with random values that fit, and with some that do not (hypothesis makes both and shrinks what
fails). Each answer must have a status, a type and a form that the description names; never 5xx where nothing is wrong with the machine;
and at the end the server must still be there. The paths it lists must be those of the description."""
import faulthandler
import http.client
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.parse

try:
    import jsonschema
    from hypothesis import HealthCheck, given, settings, strategies as st
except ImportError as e:
    sys.exit(f"check_api.py: {e}; install python3-hypothesis and python3-jsonschema")

EXAMPLES = int(os.environ.get("JOULET_API_EXAMPLES", "12"))  # of each path, good and bad
SLOW = {"/joulet/doctor": 1}  # a child each
MEANT = {503: {"busy"}}  # what says so honestly is no fault of the server
text = st.text(st.characters(min_codepoint=1, max_codepoint=0x2fff, blacklist_categories=("Cs",)), min_size=1, max_size=40)


class Server:
    """A joulet in front of a simulated engine, with everything of its own in one folder."""

    def __init__(self, joulet, engine, folder):
        curve = os.path.join(folder, "curve")
        env = dict(os.environ, JOULET_DATA_DIR=folder, JOULET_CONFIG_DIR=folder, JOULET_CACHE_DIR=folder)
        env.pop("JOULET_TOKEN", None)
        self.log = open(os.path.join(folder, "log"), "w+")
        self.engine = subprocess.Popen([engine, "--curve", curve, "--truth", "/dev/null"], stdout=subprocess.PIPE, text=True)
        port = int(self.engine.stdout.readline().split()[1])
        self.upstream = f"http://127.0.0.1:{port}"
        self.server = subprocess.Popen([joulet, "serve", "--json", "--listen", "127.0.0.1:0", "--upstream", self.upstream, "--sensors", "sim",
                                        "--sim", f"follow:{curve}"], stdout=subprocess.PIPE, stderr=self.log, env=env, text=True)
        line = self.server.stdout.readline()
        if not line:
            self.log.seek(0)
            sys.exit("the server did not start: " + self.log.read())
        self.address = json.loads(line)["listening"].removeprefix("http://")
        self.connection = None

    def ask(self, method, target, body=None, headers=None):
        """Status, headers and bytes; what is malformed on purpose goes as it is."""
        for attempt in (0, 1):
            if self.connection is None:
                self.connection = http.client.HTTPConnection(self.address, timeout=120)
            try:
                self.connection.putrequest(method, target, skip_accept_encoding=True)
                for name, value in (headers or {}).items():
                    self.connection.putheader(name, value)
                if body is not None:
                    self.connection.putheader("Content-Length", str(len(body)))
                self.connection.endheaders(body)
                answer = self.connection.getresponse()
                read = answer.read()
                if answer.will_close:
                    self.connection.close()
                    self.connection = None
                return answer.status, answer.headers, read
            except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
                self.connection.close()
                self.connection = None
                if attempt or self.server.poll() is not None:
                    raise

    def stop(self):
        self.server.terminate()
        code = self.server.wait(120)
        self.engine.terminate()
        self.engine.wait(60)
        self.log.seek(0)
        return code, self.log.read()


# ---- values of a schema --------------------------------------------------------------------------------------------------------

def values(schema, doc):
    """What fits a schema of the parameters and bodies of the description."""
    if "$ref" in schema:
        return values(resolve(schema, doc), doc)
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if "examples" in schema:
        return st.sampled_from(schema["examples"]) | values({k: v for k, v in schema.items() if k != "examples"}, doc)
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    return st.one_of([of_kind(k, schema, doc) for k in kinds])


def of_kind(kind, schema, doc):
    if kind == "null":
        return st.none()
    if kind == "boolean":
        return st.booleans()
    if kind == "integer":
        return st.integers(schema.get("minimum", -9), schema.get("maximum", 10**9))
    if kind == "number":
        return st.floats(schema.get("minimum", -9), schema.get("maximum", 1e9)).map(lambda x: float(f"{x:.6f}"))
    if kind == "string" and "pattern" in schema:
        return st.from_regex(schema["pattern"], fullmatch=True).map(lambda s: s.rstrip("\n"))
    if kind == "string":
        return st.text(st.characters(min_codepoint=0x20, max_codepoint=0x2fff, blacklist_categories=("Cs", "Cc")),
                       min_size=schema.get("minLength", 0), max_size=min(schema.get("maxLength", 60), 60))
    assert kind == "object", kind
    return st.fixed_dictionaries({}, optional={k: values(v, doc) for k, v in schema["properties"].items()})


def resolve(schema, doc):
    for part in schema["$ref"].split("/")[1:]:
        doc = doc[part]
    return doc


def plain(value):
    return value if isinstance(value, str) else f"{value:.6f}" if isinstance(value, float) else str(value)


def target(path, parts, query):
    for name, value in parts.items():
        path = path.replace("{" + name + "}", urllib.parse.quote(plain(value), safe=""))
    return path + ("?" + urllib.parse.urlencode({k: plain(v) for k, v in query.items()}) if query else "")


def good(path, op, doc):
    where = {"path": {}, "query": {}}
    for p in op.get("parameters", []):
        where[p["in"]][p["name"]] = values(p["schema"], doc)
    where["query"].pop("follow", None)  # streams are asked for apart
    body = values(op["requestBody"]["content"]["application/json"]["schema"], doc) if "requestBody" in op else st.none()
    return st.tuples(st.fixed_dictionaries(where["path"]), st.fixed_dictionaries({}, optional=where["query"]), body)


# ---- what must hold ------------------------------------------------------------------------------------------------------------

class Checker:
    def __init__(self, server, doc, record):
        self.server, self.doc = server, doc
        whole = jsonschema.RefResolver("", doc)
        self.forms = {name: jsonschema.Draft202012Validator({"$ref": f"#/components/schemas/{name}"}, resolver=whole)
                      for name in doc["components"]["schemas"]}
        self.record = jsonschema.Draft202012Validator(record)
        self.seen = {}

    def answer(self, method, path, op, asked, body=None, headers=None):
        status, head, data = self.server.ask(method.upper(), asked, body, headers)
        told = f"{method.upper()} {asked} {'' if body is None else body[:300]}: {status} {data[:300]}"
        assert str(status) in op["responses"], f"a status that the description does not name: {told}"
        assert head["Cache-Control"] == "no-store", told
        content = op["responses"][str(status)]["content"]
        if "text/plain" in content:  # the page for Prometheus; promtool reads it in another test
            assert head["Content-Type"].startswith("text/plain;") and data.startswith(b"# HELP "), told
            self.seen.setdefault((method, path), set()).add(status)
            return status, None
        assert head["Content-Type"] == "application/json", told
        form = content["application/json"]["schema"]["$ref"].rsplit("/", 1)[1]
        value = json.loads(data)
        for error in self.forms[form].iter_errors(value):
            raise AssertionError(f"{form}: {'/'.join(map(str, error.absolute_path))}: {error.message[:300]}: {told}")
        if status >= 500:
            assert value["error"]["code"] in MEANT.get(status, ()), told
        if form == "Run":
            self.record.validate(value)
        self.seen.setdefault((method, path), set()).add(status)
        return status, value

    def property(self, strategy, check, n):
        settings(max_examples=n, database=None, derandomize=True, deadline=None,
                 suppress_health_check=list(HealthCheck))(given(strategy)(check))()

    def known(self):
        """What there is on this server, where the description can only give the form."""
        ask = lambda path: json.loads(self.server.ask("GET", path)[2])
        return {"/joulet/requests/{id}": [r["id"] for r in ask("/joulet/requests")["requests"]],
                "/joulet/models/{name}": [m["name"] for m in ask("/joulet/models")["models"]],
                "/joulet/runs/{id}/state": [r["id"] for r in ask("/joulet/runs")["runs"]]}

    def path(self, method, path, op):
        n = SLOW.get(path, EXAMPLES)
        json_type = {"Content-Type": "application/json"} if method == "post" else {}

        def fits(asked):
            parts, query, body = asked
            sent = None if method == "get" else json.dumps(body if body is not None else {}).encode()
            status, _ = self.answer(method, path, op, target(path, parts, query), sent, json_type)
            assert status != 400 or "requestBody" in op, f"{path} refuses what its description allows: {asked}"

        self.property(good(path, op, self.doc), fits, n)
        if path not in SLOW:
            self.property(st.tuples(text, text, st.binary(max_size=200)), lambda asked: self.wrong(method, path, op, *asked), n)

    def wrong(self, method, path, op, name, value, body):
        """A part of a path, a query and a body that nobody would send."""
        parts = {p["name"]: value for p in op.get("parameters", []) if p["in"] == "path"}
        sent = None if method == "get" else body
        status, _ = self.answer(method, path, op, target(path, parts, {"x" + name: value}), sent, {"Content-Type": "application/json"})
        assert status in (400, 404), f"{path} takes a query that it does not know"
        if method == "post":
            assert self.answer(method, path, op, target(path, parts, {}), sent, {"Content-Type": "text/plain"})[0] in (404, 415)
        for p in op.get("parameters", []):
            if p["in"] == "query" and p["name"] not in ("model", "upstream", "client", "session", "protocol", "search", "kind", "before", "after", "state"):
                status, _ = self.answer(method, path, op, target(path, parts, {p["name"]: "\u2603" + value}), sent, {})
                assert status in (400, 404, 415), f"{path} takes any {p['name']}"

    def methods(self, path, ops):
        some = target(path, {n: "00000000-x" for n in re.findall(r"{(\w+)}", path)}, {})
        allowed = {m.upper() for m in ops} | {"OPTIONS"} | ({"HEAD"} if "get" in ops else set())
        status, head, data = self.server.ask("OPTIONS", some)
        assert status == 204 and not data and set(head["Allow"].split(", ")) == allowed, f"OPTIONS {some}: {status} {head['Allow']}"
        for method in {"GET", "POST", "PUT", "DELETE", "PATCH"} - allowed:
            status, head, data = self.server.ask(method, some, b"{}", {"Content-Type": "application/json"})
            self.forms["Error"].validate(json.loads(data))
            assert status == 405 and set(head["Allow"].split(", ")) == allowed, f"{method} {some}: {status}"
        if "get" in ops and path not in SLOW:
            status, head, data = self.server.ask("HEAD", some)
            assert status in (200, 404) and not data and int(head["Content-Length"]) > 0, f"HEAD {some}: {status}"

    def strangers(self, path, ops):
        for method in ops:
            some = target(path, {n: "00000000-x" for n in re.findall(r"{(\w+)}", path)}, {})
            for headers in ({"Origin": "http://evil.example"}, {"Origin": "null"}):
                status, _ = self.answer(method, path, ops[method], some, None, headers)
                assert status == 403, f"{method} {some} from {headers}: {status}"

    def streams(self):
        for path, ops in self.doc["paths"].items():
            events = ops.get("get", {}).get("responses", {}).get("200", {}).get("content", {}).get("text/event-stream", {}).get("x-events")
            if events:
                self.stream(path, events)

    def stream(self, path, events):
        forms = {name: jsonschema.Draft202012Validator(schema, resolver=jsonschema.RefResolver("", self.doc)) for name, schema in events.items()}
        c = http.client.HTTPConnection(self.server.address, timeout=60)
        c.request("GET", path, headers={"Accept": "text/event-stream"})
        answer = c.getresponse()
        assert answer.status == 200 and answer.headers["Content-Type"] == "text/event-stream", path
        self.server.ask("POST", "/v1/completions", b'{"prompt":"a b","max_tokens":3}', {"Content-Type": "application/json"})
        told, until = [], time.monotonic() + 120
        while told.count("power") < 2 and "final" not in told:  # what changes twice before it is told is told once
            assert time.monotonic() < until, f"{path} told only {told}"
            line = answer.readline().decode()
            assert line, f"{path} ended"
            if line.startswith("event: "):
                told.append(line[7:].strip())
            if line.startswith("data: "):
                forms[told[-1]].validate(json.loads(line[6:]))
        c.close()


def settle(server):
    """Stops the runs that were begun, so that the end comes soon."""
    _, _, data = server.ask("GET", "/joulet/runs?limit=1000")
    for run in json.loads(data)["runs"]:
        if run["state"] in ("queued", "running"):
            server.ask("POST", f"/joulet/runs/{run['id']}/stop", b"{}", {"Content-Type": "application/json"})


def one_run(checker, doc, server):
    """A run from its start to its record."""
    start, state, record = (doc["paths"][p] for p in ("/joulet/runs", "/joulet/runs/{id}/state", "/joulet/runs/{id}"))
    json_type = {"Content-Type": "application/json"}
    body = json.dumps({"kind": "run", "prompt": "one two three", "max_tokens": 4, "title": "checked"}).encode()
    status, told = checker.answer("post", "/joulet/runs", start["post"], "/joulet/runs", body, json_type)
    assert status == 202, told
    until = time.monotonic() + 120
    while told["state"] in ("queued", "running") and time.monotonic() < until:
        time.sleep(0.1)
        _, told = checker.answer("get", "/joulet/runs/{id}/state", state["get"], f"/joulet/runs/{told['id']}/state")
    assert told["state"] == "done" and told["progress"] == {"done": 1, "total": 1}, told
    status, run = checker.answer("get", "/joulet/runs/{id}", record["get"], f"/joulet/runs/{told['id']}")
    assert status == 200 and run["title"] == "checked" and run["requests"][0]["outcome"] == "ok", run


def stopped_run(checker, doc, server):
    """What is stopped keeps what it measured: each request that had ended is in the record."""
    start, state, stop, record = (doc["paths"][p] for p in ("/joulet/runs", "/joulet/runs/{id}/state", "/joulet/runs/{id}/stop", "/joulet/runs/{id}"))
    json_type = {"Content-Type": "application/json"}
    body = json.dumps({"prompts": "nine", "repeat": 1000, "warmup": 0, "baseline_s": 0, "max_tokens": 4}).encode()
    status, told = checker.answer("post", "/joulet/runs", start["post"], "/joulet/runs", body, json_type)
    assert status == 202, told
    own, until = told["id"], time.monotonic() + 120
    while told["progress"]["done"] < 2 and time.monotonic() < until:
        assert told["state"] in ("queued", "running"), told
        time.sleep(0.1)
        _, told = checker.answer("get", "/joulet/runs/{id}/state", state["get"], f"/joulet/runs/{own}/state")
    done = told["progress"]["done"]
    status, told = checker.answer("post", "/joulet/runs/{id}/stop", stop["post"], f"/joulet/runs/{own}/stop", b"{}", json_type)
    assert status == 202, told
    while told["state"] != "stopped" and time.monotonic() < until:
        time.sleep(0.1)
        _, told = checker.answer("get", "/joulet/runs/{id}/state", state["get"], f"/joulet/runs/{own}/state")
    assert told["state"] == "stopped", told
    status, run = checker.answer("get", "/joulet/runs/{id}", record["get"], f"/joulet/runs/{own}")
    ended = [r for r in run["requests"] if r["outcome"] == "ok"]
    assert status == 200 and done >= 2 and len(ended) >= done and len(run["requests"]) < 9000, (done, len(run["requests"]))


def main():
    faulthandler.dump_traceback_later(500, exit=True)  # where it hung, before its time is up
    joulet, engine, openapi, record = sys.argv[1:]
    with open(openapi, encoding="utf-8") as f:
        doc = json.load(f)
    with open(record, encoding="utf-8") as f:
        record = json.load(f)
    for schema in doc["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)
    with tempfile.TemporaryDirectory() as folder:
        server = Server(joulet, engine, folder)
        try:
            checker = Checker(server, doc, record)
            status, listed = checker.answer("get", "/joulet/", doc["paths"]["/joulet/"]["get"], "/joulet/")
            described = {(m.upper(), p): {x["name"] for x in op.get("parameters", []) if x["in"] == "query"}
                         for p, ops in doc["paths"].items() for m, op in ops.items()}
            answered = {(r["method"], r["path"]): set(r["query"]) for r in listed["paths"]}
            differ = sorted(k for k in described.keys() | answered.keys() if described.get(k) != answered.get(k))
            assert not differ, f"described and answered differ in {differ}"
            assert json.loads(server.ask("GET", "/joulet/openapi.json")[2]) == doc, "the server tells another description"
            one_run(checker, doc, server)
            stopped_run(checker, doc, server)
            for path, ops in doc["paths"].items():
                checker.methods(path, ops)
                checker.strangers(path, ops)
                for method, op in ops.items():
                    began = time.monotonic()
                    checker.path(method, path, op)
                    print(f"{method.upper():5} {path}: {time.monotonic() - began:.1f} s", flush=True)
                settle(server)
            checker.streams()
            for path, names in checker.known().items():
                assert names, path
                for name in names:
                    asked = re.sub("{.*}", urllib.parse.quote(name, safe=""), path)
                    assert checker.answer("get", path, doc["paths"][path]["get"], asked)[0] == 200, asked
            assert checker.answer("get", "/joulet/health", doc["paths"]["/joulet/health"]["get"], "/joulet/health")[1]["status"] == "ok"
        finally:
            code, said = server.stop()
        assert code == 0, f"the server ended with {code}: {said}"
    for key, statuses in sorted(checker.seen.items()):
        print(f"{key[0].upper():5} {key[1]:32} {' '.join(map(str, sorted(statuses)))}")


main()
