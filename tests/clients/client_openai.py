"""The Python client `openai`, as it is, directly and through the proxy."""

import openai

from drive import ASKED, CONFIG, MODEL, QUESTION, WEATHER, refusal, run, together

SAME = {"model": MODEL, "temperature": 0, "seed": 1}


def connect(base, embeddings):
    base = base["embeddings"] if embeddings else base["chat"]
    return openai.OpenAI(base_url=base + "/v1", api_key="none", max_retries=0, timeout=300)


def energy(o):
    return (o.model_extra or {}).get("energy")


def told(usage):
    return usage and [usage.prompt_tokens, usage.completion_tokens, usage.total_tokens]


def plain(c):
    r = c.chat.completions.create(messages=ASKED, max_tokens=CONFIG["tokens"], **SAME)
    return [r.choices[0].message.content, r.choices[0].finish_reason, told(r.usage)], [energy(r)]


def streamed(c, **more):
    text, finish, usage, seen, names = "", None, None, None, set()
    for chunk in c.chat.completions.create(messages=ASKED, max_tokens=CONFIG["tokens"], stream=True, **SAME, **more):
        for choice in chunk.choices:
            text += choice.delta.content or ""
            finish = choice.finish_reason or finish
        usage = usage or told(chunk.usage)
        seen = energy(chunk) or seen
        names.add(chunk.object)
    return [text, finish, usage, sorted(names)], [seen]


def usage(c):
    return streamed(c, stream_options={"include_usage": True})


def completions(c):
    r = c.completions.create(prompt=QUESTION, max_tokens=12, **SAME)
    text = "".join(x.choices[0].text for x in c.completions.create(prompt=QUESTION, max_tokens=12, stream=True, **SAME) if x.choices)
    return [r.choices[0].text, r.choices[0].finish_reason, told(r.usage), text], [energy(r)]


def responses(c):
    asked = {"model": MODEL, "input": QUESTION, "max_output_tokens": CONFIG["tokens"], "temperature": 0}
    r = c.responses.create(**asked)
    kinds, text, last = [], "", None
    for event in c.responses.create(stream=True, **asked):
        if event.type not in kinds:
            kinds.append(event.type)
        if event.type == "response.output_text.delta":
            text += event.delta
        last = event
    return [r.output_text, r.status, text, kinds], [energy(r), energy(last) or energy(last.response)]


def tools(c):
    r = c.chat.completions.create(messages=ASKED, tools=[WEATHER], max_tokens=64, **SAME)
    call = r.choices[0].message.tool_calls[0]
    parts, finish, last = "", None, None
    for chunk in c.chat.completions.create(messages=ASKED, tools=[WEATHER], max_tokens=64, stream=True, **SAME):
        for choice in chunk.choices:
            parts += "".join((t.function.name or "") + (t.function.arguments or "") for t in choice.delta.tool_calls or [])
            finish = choice.finish_reason or finish
        last = energy(chunk) or last
    answer = {"role": "tool", "tool_call_id": call.id, "content": "sunny"}
    turn = [*ASKED, r.choices[0].message.model_dump(exclude={"energy"}, exclude_none=True), answer]
    then = c.chat.completions.create(messages=turn, tools=[WEATHER], max_tokens=8, **SAME)
    seen = [r.choices[0].finish_reason, call.function.name, call.function.arguments, parts, finish, then.choices[0].message.content]
    return seen, [energy(r), last, energy(then)]


def embeddings(c):
    if not CONFIG["embeddings"]:
        return refusal(lambda: c.embeddings.create(model=MODEL, input="one")), []
    r = c.embeddings.create(model=CONFIG["embeddings"], input=["one two", "three"])
    return [[d.embedding[:4] for d in r.data], len(r.data[0].embedding)], [energy(r)]


def errors(c):
    ask = c.chat.completions.create
    return [
        refusal(lambda: ask(model="no-such-model", messages=ASKED, max_tokens=1)),
        refusal(lambda: ask(model=MODEL, messages="not a list", max_tokens=1)),
        refusal(lambda: ask(model=MODEL, messages=ASKED, max_tokens=1, temperature="warm")),
        refusal(lambda: c.get("/no/such/path", cast_to=object)),
    ], []


def abort(c):
    stream = c.chat.completions.create(messages=ASKED, max_tokens=CONFIG["long"], stream=True, **SAME)
    for n, _ in enumerate(stream):
        if n == 4:
            break
    stream.close()
    return "left after 5 pieces", []


def parallel(c):
    seen = together(lambda k: streamed(c) if k % 2 else plain(c))
    return [[s[0][0] for s in row] for row in seen], [e for row in seen for s in row for e in s[1]]


def models(c):
    return sorted(m.id for m in c.models.list()), []


run(connect, {"models": models, "plain": plain, "streamed": streamed, "usage": usage, "completions": completions, "responses": responses,
              "tools": tools, "embeddings": embeddings, "errors": errors, "parallel": parallel, "abort": abort})
