"""curl, directly and through the proxy. One address it asks answers byte for byte, --no-inject and --inject usage are looked at too."""

import json
import subprocess

from drive import ASKED, CONFIG, MODEL, WEATHER, run, together

BODY = {"model": MODEL, "messages": ASKED, "max_tokens": CONFIG["tokens"], "temperature": 0, "seed": 1}
CURL = ["curl", "-sS", "--noproxy", "*", "--max-time", "600"]


def curl(*words, body=None):
    data = ["-H", "Content-Type: application/json", "--data-binary", "@-"] if body is not None else []
    given = body if isinstance(body, str) else json.dumps(body)
    p = subprocess.run([*CURL, *data, *words], input=given if data else None, capture_output=True, text=True, check=False)
    return p.stdout if p.returncode == 0 else f"curl ends with {p.returncode}: {p.stderr}"


def events(text):
    """Of a stream: all objects, and how it ends."""
    lines = [line[6:] for line in text.splitlines() if line.startswith("data: ")]
    return [json.loads(line) for line in lines if line != "[DONE]"], lines[-1]


def text_of(chunks):
    return "".join(choice["delta"].get("content") or "" for c in chunks for choice in c["choices"])


def energy_of(chunks):
    return [c["energy"] for c in chunks if "energy" in c]


def plain(base):
    r = json.loads(curl(base["chat"] + "/v1/chat/completions", body=BODY))
    return [r["choices"][0]["message"]["content"], r["usage"]["total_tokens"]], energy_of([r])


def streamed(base):
    chunks, end = events(curl("-N", base["chat"] + "/v1/chat/completions", body={**BODY, "stream": True}))
    return [text_of(chunks), end], energy_of(chunks)


def tools(base):
    r = json.loads(curl(base["chat"] + "/v1/chat/completions", body={**BODY, "max_tokens": 64, "tools": [WEATHER]}))
    return r["choices"][0]["message"]["tool_calls"][0]["function"], energy_of([r])


def embeddings(base):
    if not CONFIG["embeddings"]:
        return json.loads(curl(base["embeddings"] + "/v1/embeddings", body={"model": MODEL, "input": "one"})), []
    r = json.loads(curl(base["embeddings"] + "/v1/embeddings", body={"model": CONFIG["embeddings"], "input": "one"}))
    return r["data"][0]["embedding"][:4], energy_of([r])


def errors(base):
    told = ("-w", "\n%{http_code} %{content_type}")
    return [
        curl(*told, base["chat"] + "/v1/chat/completions", body="{"),
        curl(*told, base["chat"] + "/v1/chat/completions", body={**BODY, "messages": 1}),
        curl(*told, base["chat"] + "/no/such/path"),
        curl(*told, "-X", "DELETE", base["chat"] + "/v1/chat/completions"),
    ], []


def still(base):
    """What does not change between two requests comes byte for byte, with its headers."""
    head, _, body = curl("-i", base["chat"] + CONFIG["still"]).partition("\n\n")
    lines = [":".join([name.lower(), value.strip()]) for name, _, value in (h.partition(":") for h in head.splitlines())]
    kept = sorted(h for h in lines if not h.startswith(("date:", "x-joulet-", "connection:", "keep-alive:")))
    return [kept, body, curl("-I", "-o", "/dev/null", "-w", "%{http_code}", base["chat"] + CONFIG["still"])], []


def abort(base):
    body = json.dumps({**BODY, "max_tokens": CONFIG["long"], "stream": True})
    words = [*CURL, "-N", "-H", "Content-Type: application/json", "-d", body, base["chat"] + "/v1/chat/completions"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as p:
        for _ in range(8):
            p.stdout.readline()
        p.kill()
    return "killed after 8 lines", []


def parallel(base):
    seen = together(lambda k: streamed(base) if k % 2 else plain(base))
    return [[s[0][0] for s in row] for row in seen], [e for row in seen for s in row for e in s[1]]


def other_forms(base):
    """--no-inject and --inject usage: the same text, no energy, or inside usage."""
    seen, energies = [], []
    for form in ("no-inject", "usage"):
        r = json.loads(curl(base.get(form, base["chat"]) + "/v1/chat/completions", body=BODY))
        body = {**BODY, "stream": True, "stream_options": {"include_usage": True}}
        chunks, _ = events(curl("-N", base.get(form, base["chat"]) + "/v1/chat/completions", body=body))
        whole, last = r["usage"], [c["usage"] for c in chunks if c.get("usage")][-1]
        if form in base:
            assert "energy" not in r and not energy_of(chunks), form
            assert all(("energy" in u) == (form == "usage") for u in (whole, last)), (form, whole, last)
            energies += [u["energy"] for u in (whole, last) if "energy" in u]
        seen.append([r["choices"][0]["message"]["content"], text_of(chunks)])
    return seen, energies


run(lambda base, _embeddings: base, {"still": still, "plain": plain, "streamed": streamed, "tools": tools, "embeddings": embeddings,
                                     "errors": errors, "other_forms": other_forms, "parallel": parallel, "abort": abort})
