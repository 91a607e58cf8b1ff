#!/usr/bin/env python3
"""check_keys.py JOULET FIXTURES - services in the cloud by their names, and their keys from the environment, against a stand-in with
TLS behind a proxy: each key goes to its own host and nowhere else, no output, record, log or file holds one, and the energy of what
runs elsewhere is estimated and says so.

Skipped (77) where there is no openssl to make a certificate.
"""
import http.server
import json
import os
import shutil
import ssl
import socketserver
import subprocess
import sys
import tempfile
import threading

JOULET, FIXTURES = sys.argv[1:3]
SERVICES = {
    "openai-api": ("api.openai.com", "OPENAI_API_KEY", "/v1"),
    "groq": ("api.groq.com", "GROQ_API_KEY", "/openai/v1"),
    "anthropic": ("api.anthropic.com", "ANTHROPIC_API_KEY", "/v1"),
    "mistral": ("api.mistral.ai", "MISTRAL_API_KEY", "/v1"),
    "deepseek": ("api.deepseek.com", "DEEPSEEK_API_KEY", "/v1"),
    "openrouter": ("openrouter.ai", "OPENROUTER_API_KEY", "/api/v1"),
    "together": ("api.together.xyz", "TOGETHER_API_KEY", "/v1"),
}
KEYS = {name: "sk-%s-0123456789abcdef" % name for name in SERVICES}
GENERAL = "sk-general-0123456789abcdef"
seen = []  # (host, method, path, key)


def fixture(name):
    with open(os.path.join(FIXTURES, "composed", name + ".response.http"), "rb") as f:
        head, body = f.read().split(b"\r\n\r\n", 1)
    lines = head.decode().split("\r\n")
    return int(lines[0].split()[1]), dict(line.split(": ", 1) for line in lines[1:]), body


class Service(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, headers, body):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def handle_any(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        host = self.headers.get("Host", "").split(":")[0]
        key = self.headers.get("x-api-key") or self.headers.get("Authorization", "").removeprefix("Bearer ")
        seen.append((host, self.command, self.path, key))
        if key.endswith("expired"):
            body = json.dumps({"error": {"message": "Incorrect API key provided: " + key, "type": "invalid_request_error"}})
            self.answer(401, {"Content-Type": "application/json"}, body.encode())
        elif self.path.endswith("/models"):
            self.answer(*fixture("openai-models"))
        else:
            self.answer(*fixture({"api.groq.com": "groq-stream", "api.anthropic.com": "anthropic-stream"}.get(host, "openai-stream")))

    do_GET = do_POST = handle_any

    def log_message(self, *_):
        pass


class Proxy(socketserver.StreamRequestHandler):
    """CONNECT to any host of 443 leads to the stand-in."""

    def handle(self):
        line = self.rfile.readline().split()
        while self.rfile.readline().strip():
            pass
        if line[0] != b"CONNECT":
            return
        self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        try:
            Service(self.server.context.wrap_socket(self.connection, server_side=True), self.client_address, self.server)
        except (OSError, ssl.SSLError):
            pass


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = allow_reuse_address = True


def make_certificate(folder):
    names = ",".join("DNS:" + host for host, _, _ in SERVICES.values())
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                    "-subj", "/CN=stand-in", "-addext", "subjectAltName=" + names, "-keyout", folder + "/key.pem",
                    "-out", folder + "/cert.pem"], check=True, capture_output=True)


def main():
    if not shutil.which("openssl"):
        print("skipped: openssl is not installed")
        return 77
    with tempfile.TemporaryDirectory() as folder:
        make_certificate(folder)
        server = Server(("127.0.0.1", 0), Proxy)
        server.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.context.load_cert_chain(folder + "/cert.pem", folder + "/key.pem")
        threading.Thread(target=server.serve_forever, daemon=True).start()
        home = folder + "/home"
        env = {k: v for k, v in os.environ.items() if not k.startswith("JOULET_") or k == "JOULET_MODULE_DIR"}
        env.update({"HOME": home, "JOULET_DATA_DIR": home, "JOULET_CONFIG_DIR": home, "JOULET_CACHE_DIR": home, "JOULET_TRACE": "all",
                    "https_proxy": "http://127.0.0.1:%d" % server.server_address[1], "no_proxy": "",
                    "JOULET_ENGINE_CA": folder + "/cert.pem", "JOULET_ENGINE_KEY": GENERAL})
        env.update({variable: KEYS[name] for name, (_, variable, _) in SERVICES.items()})
        said = check(env)
        for top, _, files in os.walk(home):
            for name in files:
                with open(os.path.join(top, name), "rb") as f:
                    said.append(f.read())
        server.shutdown()
    for text in said:
        for key in [*KEYS.values(), GENERAL, "sk-has-expired"]:
            assert key.encode() not in text, "a key is in what joulet wrote: " + text.decode(errors="replace")[-2000:]
    print("%d requests to %d services" % (len(seen), len(SERVICES)))
    return 0


def run(env, code, *args):
    done = subprocess.run([JOULET, *args], env=env, capture_output=True, timeout=120)
    assert done.returncode == code, (args, done.returncode, done.stdout[-1500:], done.stderr[-1500:])
    return done


def check(env):
    said = []
    for name, (host, _, base) in SERVICES.items():
        seen.clear()
        done = run(env, 0, "model", "list", "--engine", name)
        said += [done.stdout, done.stderr]
        assert seen and all(s == (host, "GET", base + "/models", KEYS[name]) for s in seen), (name, seen)
    for name, protocol in ("openai-api", "openai"), ("groq", "openai"), ("anthropic", "anthropic"):
        host, _, base = SERVICES[name]
        seen.clear()
        done = run(env, 0, "run", "--engine", "https://" + host, "-m", "m", "--sim", "250", "--json", "hi")
        said += [done.stdout, done.stderr]
        record = json.loads(done.stdout)
        engine, energy = record["engine"], record["energy"]["total"]
        assert engine["service"] == name and engine["protocol"] == protocol and engine["local"] is False, engine
        assert energy["provenance"] == "estimated" and 0 < energy["min_j"] < energy["gross_j"] < energy["max_j"], energy
        parts = [record["requests"][0]["energy"]["total"]] + [w["energy"]["total"] for w in record["requests"][0]["windows"].values()]
        assert all(e["gross_j"] is None or e["provenance"] == "estimated" for e in parts), parts
        assert any("estimated" in note for note in record["notes"]), record["notes"]
        assert seen[-1][1] == "POST" and all(s[0] == host and s[3] == KEYS[name] for s in seen), seen
        text = run(env, 0, "runs", "show", "last")
        said += [text.stdout, text.stderr]
        assert b"estimated" in text.stdout
    done = run({**env, "GROQ_API_KEY": "sk-has-expired"}, 4, "run", "--engine", "groq", "-m", "m", "--sim", "250", "hi")
    said += [done.stdout, done.stderr]
    assert b"wants another key" in done.stderr, done.stderr
    del env["GROQ_API_KEY"]  # then the one for any engine
    seen.clear()
    run(env, 0, "model", "list", "--engine", "groq")
    assert seen[0][3] == GENERAL, seen
    return said


sys.exit(main())
