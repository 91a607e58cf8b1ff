"""The Python client `ollama`, as it is, directly and through the proxy. Its objects drop members they do not know, and so `energy`."""

import ollama

from drive import ASKED, CONFIG, MODEL, QUESTION, WEATHER, refusal, run, together

SAME = {"temperature": 0, "seed": 1}


def connect(base, _embeddings):
    return ollama.Client(host=base["chat"], timeout=300)


def told(r):
    return [r.done_reason, r.eval_count, r.prompt_eval_count]


def plain(c):
    r = c.chat(model=MODEL, messages=ASKED, options={"num_predict": CONFIG["tokens"], **SAME})
    return [r.message.content, *told(r)], []


def streamed(c):
    text, last = "", None
    for last in c.chat(model=MODEL, messages=ASKED, stream=True, options={"num_predict": CONFIG["tokens"], **SAME}):
        text += last.message.content or ""
    return [text, *told(last)], []


def generate(c):
    r = c.generate(model=MODEL, prompt=QUESTION, options={"num_predict": 12, **SAME})
    pieces = list(c.generate(model=MODEL, prompt=QUESTION, stream=True, options={"num_predict": 12, **SAME}))
    return [r.response, *told(r), "".join(p.response for p in pieces), *told(pieces[-1])], []


def tools(c):
    r = c.chat(model=MODEL, messages=ASKED, tools=[WEATHER], options={"num_predict": 64, **SAME})
    call = r.message.tool_calls[0].function
    pieces = list(c.chat(model=MODEL, messages=ASKED, tools=[WEATHER], stream=True, options={"num_predict": 64, **SAME}))
    again = [t.function.name for p in pieces for t in p.message.tool_calls or []]
    turn = [*ASKED, r.message, {"role": "tool", "content": "sunny", "tool_name": call.name}]
    then = c.chat(model=MODEL, messages=turn, tools=[WEATHER], options={"num_predict": 8, **SAME})
    return [r.done_reason, call.name, dict(call.arguments), again, then.message.content], []


def embeddings(c):
    r = c.embed(model=CONFIG["embeddings"], input=["one two", "three"])
    return [[list(e[:4]) for e in r.embeddings], r.prompt_eval_count], []


def errors(c):
    return [
        refusal(lambda: c.chat(model="no-such-model", messages=ASKED)),
        refusal(lambda: c.chat(model=MODEL, messages=ASKED, format="nonsense")),
        refusal(lambda: list(c.generate(model="no-such-model", prompt="x", stream=True))),
        refusal(lambda: c.show("no-such-model")),
    ], []


def abort(c):
    stream = c.chat(model=MODEL, messages=ASKED, stream=True, options={"num_predict": CONFIG["long"], **SAME})
    for n, _ in enumerate(stream):
        if n == 4:
            break
    stream.close()
    return "left after 5 pieces", []


def parallel(c):
    seen = together(lambda k: streamed(c) if k % 2 else plain(c))
    return [[s[0][0] for s in row] for row in seen], []


def models(c):
    return [sorted(m.model for m in c.list().models), c.show(MODEL).details.quantization_level], []


run(connect, {"models": models, "plain": plain, "streamed": streamed, "generate": generate, "tools": tools, "embeddings": embeddings,
              "errors": errors, "parallel": parallel, "abort": abort})
