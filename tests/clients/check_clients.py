"""check_clients.py ENGINE JOULET: the clients that people use, unchanged, against a real engine: every case directly and through
`joulet serve`. What they see must be the same, answers must carry energy, and the accounts must sum up. Prints a row for each
client; with JOULET_CLIENTS_TABLE=FILE the rows are added to it.

Skipped (77) where the engine or all clients are not there: tools/check-engines gets both. With JOULET_CLIENTS_WANTED=1 a client that is
not there is a failure. Nothing here depends on how fast the machine is."""

import json
import math
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

from engines import CACHE, ENGINES, HERE, Process, fetch_json, free_port

PYTHON, PACKAGES = CACHE + "/clients/py/bin/python", CACHE + "/clients/js"
CASES = {
    "openai": ("models", "plain", "streamed", "usage", "completions", "responses", "tools", "embeddings", "errors", "parallel", "abort"),
    "anthropic": ("plain", "streamed", "tools", "errors", "parallel", "abort"),
    "ollama": ("models", "plain", "streamed", "generate", "tools", "embeddings", "errors", "parallel", "abort"),
    "curl": ("still", "plain", "streamed", "tools", "embeddings", "errors", "other_forms", "parallel", "abort"),
}
# Whole answers and streams of these show it in the client's own objects; ollama for Python drops what it does not know.
SHOWS_ENERGY = ("plain", "streamed", "usage", "completions", "responses", "tools", "generate", "parallel", "embeddings")
MEMBERS = {"net_j", "gross_j", "provenance", "method", "provisional", "flags"}


def here(language):
    if language == "Python":
        return os.access(PYTHON, os.X_OK)
    if language == "JavaScript":
        return shutil.which("node") is not None and os.path.isdir(PACKAGES + "/node_modules")
    return shutil.which("curl") is not None


def script_of(client, language):
    if language == "JavaScript":
        return [shutil.which("node"), f"{HERE}/client_{client}.mjs"]
    return [PYTHON if language == "Python" else sys.executable, f"{HERE}/client_{client}.py"]


class Proxy:
    """joulet serve in front of the engine, with whatever measures here."""

    def __init__(self, joulet, engine, folder, *more):
        home = tempfile.mkdtemp(dir=folder)
        env = {k: v for k, v in os.environ.items() if not k.startswith("JOULET_")}
        env.update({f"JOULET_{k}_DIR": home for k in ("DATA", "CONFIG", "CACHE")})
        self.url = f"http://127.0.0.1:{free_port()}"
        upstreams = [w for u in engine.upstreams for w in ("--upstream", u)]
        self.p = Process([joulet, "serve", "--listen", self.url[7:], *upstreams, *more], env, folder, home + "/serve.log")
        self.p.until(lambda: "measures " in self.p.words())

    def requests(self):
        return fetch_json(self.url + "/joulet/requests?limit=4096")

    def settled(self):
        """Requests and accounts once all is final."""
        def final():
            found = self.requests()
            return found["final"] + found["unmetered"] == found["seen"] and all(q["state"] != "running" for q in found["requests"]) and found
        return self.p.until(final), fetch_json(self.url + "/joulet/energy")


def plain_words(seen):
    """Ids that engines draw anew for each request."""
    return re.sub(r"req_[0-9a-f]+|chatcmpl-\w+|[0-9a-f]{32}", "ID", json.dumps(seen, sort_keys=True))


def close(a, b):
    """Sums of the same joules, each told with nine digits: half of the last one is up to 5e-9 of it, on either side."""
    return math.isclose(a, b, rel_tol=1e-8, abs_tol=1e-8)


class Check:
    def __init__(self, engine, joulet, folder):
        self.engine, self.faults, self.rows, self.shown = engine, [], [], 0
        self.proxy = Proxy(joulet, engine, folder)
        forms = {"no-inject": Proxy(joulet, engine, folder, "--no-inject"), "usage": Proxy(joulet, engine, folder, "--inject", "usage")}
        self.forms = forms
        through = {"chat": self.proxy.url, "embeddings": self.proxy.url, **{name: p.url for name, p in forms.items()}}
        self.config = {"direct": engine.base(), "proxy": through, "model": "parrot", "embeddings": engine.embeddings, "long": engine.long, "tokens": engine.tokens,
                       "packages": PACKAGES, "still": engine.still}

    def fault(self, *words):
        self.faults.append(" ".join(map(str, words)))

    def ask(self, client, language, cases, ways=("direct", "proxy")):
        """case -> via -> what the script said."""
        config = json.dumps({**self.config, "cases": cases, "ways": ways})
        p = subprocess.run([*script_of(client, language), config], capture_output=True, text=True, check=False)
        found = {}
        for line in p.stdout.splitlines():
            o = json.loads(line)
            found.setdefault(o["case"], {})[o["via"]] = o
        if p.returncode != 0:
            self.fault(client, language, "ends with", p.returncode, p.stderr[-2000:])
        return found

    def compare(self, what, case, both):
        if {"direct", "proxy"} - both.keys() or any("failed" in o for o in both.values()):
            return self.fault(what, case, "failed:", {via: o.get("failed") for via, o in both.items()})
        direct, proxy = both["direct"], both["proxy"]
        if plain_words(direct["seen"]) != plain_words(proxy["seen"]):
            self.fault(what, case, "differs:\n  directly", json.dumps(direct["seen"])[:3000], "\n  through ", json.dumps(proxy["seen"])[:3000])
        if any(e is not None for e in direct["energies"]):
            self.fault(what, case, "shows an energy that the engine did not tell")
        for e in proxy["energies"]:
            if not isinstance(e, dict) or not MEMBERS <= e.keys():
                self.fault(what, case, "shows no energy:", e)
        self.shown += len(proxy["energies"])
        return None

    def left(self, record):
        """In the middle of its answer; or behind the end, where the machine stood still for so long: clients of the engine itself come
        seconds late, too."""
        made = record["tokens"].get("generated") or 0
        return 0 < made < self.engine.long if record["state"] == "client gone" else record["state"] == "done" and made == self.engine.long

    def aborted(self, what):
        """The record says that the client left."""
        end = time.monotonic() + 60
        last = {"state": "none", "tokens": {}}
        while not self.left(last) and time.monotonic() < end:  # what passed a moment ago may not have been looked at
            time.sleep(0.05)
            last = self.proxy.settled()[0]["requests"][0]
        if not self.left(last):
            self.fault(what, "abort: the record says", json.dumps(last))

    def abort(self, what, client, language, case):
        """Left in the middle of a long answer, directly and through the proxy, told apart. An engine may itself miss once that its client
        left (vLLM did, on a busy machine): it is a fault where the engine stops for its own client each time and never for the proxy's."""
        seen, made = {}, {"direct": [], "proxy": []}
        while len(made["proxy"]) < 3 and not any(n < self.engine.long for n in made["proxy"]):
            for via, many in made.items():
                self.made()
                for told in self.ask(client, language, [case], [via]).values():
                    seen.update(told)
                if via == "proxy":
                    self.aborted(what)
                many.append(self.made())
        if min(made["proxy"]) >= self.engine.long:
            print(f"{what} abort: the engine went on to {made} tokens")
            if max(made["direct"]) < self.engine.long:
                self.fault(what, "abort: the engine goes on, for clients of the proxy alone")
        return {case: seen}

    def made(self):
        """What the engine made since it was asked last, once nothing is under way; infinite where that does not come."""
        end = time.monotonic() + 600
        made = self.engine.made()
        while made is None and time.monotonic() < end:
            time.sleep(0.05)
            made = self.engine.made()
        return math.inf if made is None else made

    def client(self, client, language):
        what = f"{client} ({language})" if language else client
        cases = [c for c in CASES[client] if not (c == "embeddings" and client == "ollama" and not self.engine.embeddings)]
        before = len(self.faults)
        seen = self.ask(client, language, cases[:-1])
        seen.update(self.abort(what, client, language, cases[-1]))
        for case in cases:
            self.compare(what, case, seen.get(case, {}))
        self.rows.append((what, "FAILED" if len(self.faults) > before else "ran", ", ".join(cases)))

    def accounts(self):
        """What the requests had is what the accounts say, and what the accounts say is what was measured."""
        found, energy = self.proxy.settled()
        total = energy["total"]
        gross = sum(q["energy"]["gross_j"] or 0 for q in found["requests"] if q["energy"])
        if found["seen"] != len(found["requests"]) or found["unmetered"]:
            self.fault("requests", found["seen"], "seen,", len(found["requests"]), "told,", found["unmetered"], "unmetered")
        if not close(gross, total["requests_j"] + total["idle_shares_j"]):
            self.fault("the requests sum to", gross, "and their accounts to", total["requests_j"] + total["idle_shares_j"])
        parts = sum(total[k] for k in ("requests_j", "idle_shares_j", "vacant_j", "other_j", "residual_j"))
        if not close(total["measured_j"], parts):
            self.fault("measured", total["measured_j"], "and parts", parts)
        missing = [q["id"] for q in found["requests"] if q["state"] == "done" and q["status"] == 200 and q["energy"]["gross_j"] is None]
        if missing:
            self.fault("no figure for", missing)
        print(f"{found['seen']} requests through the proxy, {self.shown} energies in objects of clients, {gross:.6g} J in all"
              f" ({total['provenance']}), as the accounts say")

    def end(self):
        for p in (self.proxy, *self.forms.values()):
            code, words = p.p.stop(), p.p.words()
            strange = [w for w in words.splitlines() if not re.match(r"http://\S+ -> |measures ", w)]
            if code != 0 or strange:
                self.fault("joulet serve ends with", code, "and said", "\n".join(strange))
        for p in self.engine.processes:
            p.stop()


def main(name, joulet):
    kind = ENGINES[name]
    pairs = [(c, lang) for c in kind.clients for lang in ((None,) if c == "curl" else ("Python", "JavaScript"))]
    table, wanted = os.environ.get("JOULET_CLIENTS_TABLE"), os.environ.get("JOULET_CLIENTS_WANTED")
    rows = [(f"{c} ({lang})" if lang else c, "skipped", "not installed here") for c, lang in pairs if not here(lang)]
    status = 77
    if not kind.here():
        rows = [("all", "skipped", f"no {kind.name} here, {kind.missing_hint}")]
    elif name == "vllm" and not table:
        rows = [("all", "skipped", "it takes minutes: only in `make check-engines`")]
    elif len(rows) < len(pairs):
        with tempfile.TemporaryDirectory() as folder:
            check = None
            engine = kind(joulet, folder)
            try:
                check = Check(engine, joulet, folder)
                for client, language in pairs:
                    if here(language):
                        check.client(client, language)
                check.accounts()
            finally:
                if check:
                    check.end()
                for p in engine.processes:
                    p.stop()
            rows += check.rows
            status = 1 if check.faults else 0
            for fault in check.faults:
                print("FAULT:", fault)
            rows = [(client, what, cases, f"{kind.name} {engine.version}") for client, what, cases in rows]
    if wanted and kind.here() and any(r[1] == "skipped" for r in rows):
        print("FAULT: these should have run here")
        status = 1
    lines = ["| %s | %s | %s | %s |" % (r[0], r[3] if len(r) > 3 else kind.name, r[1], r[2]) for r in rows]
    print("\n".join(lines))
    if table:
        with open(table, "a", encoding="utf-8") as f:
            f.write("\n".join(lines) + "\n")
    return status


sys.exit(main(*sys.argv[1:]))
