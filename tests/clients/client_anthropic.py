"""The Python client `anthropic`, as it is, directly and through the proxy."""

import anthropic

from drive import ASKED, CITY, CONFIG, MODEL, refusal, run, together

SAME = {"model": MODEL, "messages": ASKED, "extra_body": {"temperature": 0}}  # not among the words it knows
TOOL = {"name": "get_weather", "description": "The weather", "input_schema": CITY}


def connect(base, _embeddings):
    return anthropic.Anthropic(base_url=base["chat"], api_key="none", max_retries=0, timeout=300)


def energy(o):
    return (getattr(o, "model_extra", None) or {}).get("energy")


def plain(c):
    r = c.messages.create(max_tokens=CONFIG["tokens"], **SAME)
    return [r.content[0].text, r.stop_reason, r.usage.output_tokens], [energy(r)]


def streamed(c):
    kinds, text, last, tokens = [], "", None, None
    for event in c.messages.create(max_tokens=CONFIG["tokens"], stream=True, **SAME):
        if event.type not in kinds:
            kinds.append(event.type)
        if event.type == "content_block_delta":
            text += event.delta.text
        if event.type == "message_delta":
            tokens = event.usage.output_tokens
        last = energy(event) or last
    with c.messages.stream(max_tokens=CONFIG["tokens"], **SAME) as stream:
        final = "".join(stream.text_stream)
        reason = stream.get_final_message().stop_reason
    return [text, final, reason, tokens, kinds], [last]


def tools(c):
    r = c.messages.create(max_tokens=64, tools=[TOOL], **SAME)
    call = [b for b in r.content if b.type == "tool_use"][0]
    with c.messages.stream(max_tokens=64, tools=[TOOL], **SAME) as stream:
        again = [b for b in stream.get_final_message().content if b.type == "tool_use"][0]
    turn = [*ASKED, {"role": "assistant", "content": [{"type": "tool_use", "id": call.id, "name": call.name, "input": call.input}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call.id, "content": "sunny"}]}]
    then = c.messages.create(max_tokens=8, tools=[TOOL], model=MODEL, messages=turn, extra_body={"temperature": 0})
    return [r.stop_reason, call.name, call.input, again.name, again.input, then.content[0].text], [energy(r), energy(then)]


def errors(c):
    ask = c.messages.create
    return [
        refusal(lambda: ask(model="no-such-model", messages=ASKED, max_tokens=1)),
        refusal(lambda: ask(model=MODEL, messages="not a list", max_tokens=1)),
        refusal(lambda: c.get("/no/such/path", cast_to=object)),
    ], []


def abort(c):
    stream = c.messages.create(max_tokens=CONFIG["long"], stream=True, **SAME)
    for n, _ in enumerate(stream):
        if n == 6:
            break
    stream.close()
    return "left after 7 events", []


def parallel(c):
    seen = together(lambda _: plain(c))
    return [[s[0][0] for s in row] for row in seen], [e for row in seen for s in row for e in s[1]]


run(connect, {"plain": plain, "streamed": streamed, "tools": tools, "errors": errors, "parallel": parallel, "abort": abort})
