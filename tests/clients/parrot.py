"""parrot.py: a model that says what a test needs. Each token leads to one next token, whatever came before: attention and feed-forward
add nothing, and the row of the output for the next token is the embedding of this one. So the text is the same alone and in a batch,
from a cache and without one, and a tool call is really made by the engine's own parser.

    parrot.py gguf IN OUT [mean]  from a file of `joulet model make --shape tiny --quant q8_0`; Python alone
    parrot.py folder IN OUT       from a folder of tools/engines/random-model.py
"""

import array
import json
import operator
import os
import random
import struct
import sys

CALL = ["<tool_call>\n", '{"name": "get_weather", ', '"arguments": {"city": "Paris"}}', "\n</tool_call>"]
TRIGGER = "<|call|>"  # ends the prompt where tools are offered and no result of one is there
END = "<|eot_id|>"
TRIES, MARGIN = 20, 1.2

# With tools the call is told as Hermes and Qwen do it, which every engine knows.
TEMPLATE = """{%- if tools %}<|start_header_id|>system<|end_header_id|>
Tools:
<tools>
{%- for tool in tools %}
{{ tool | tojson }}
{%- endfor %}
</tools>
A call is <tool_call>
{"name": NAME, "arguments": ARGUMENTS}
</tool_call><|eot_id|>
{%- endif %}
{%- for message in messages %}
{%- if message.role == "assistant" and message.tool_calls %}<|start_header_id|>assistant<|end_header_id|>
{{ message.content or "" }}
{%- for call in message.tool_calls %}
{%- if call.function is defined %}{% set call = call.function %}{% endif %}
<tool_call>
{"name": "{{ call.name }}", "arguments": {{ call.arguments | tojson }}}
</tool_call>
{%- endfor %}<|eot_id|>
{%- elif message.role == "tool" %}<|start_header_id|>user<|end_header_id|>
<tool_response>
{{ message.content }}
</tool_response><|eot_id|>
{%- else %}<|start_header_id|>{{ message.role }}<|end_header_id|>
{{ message.content }}<|eot_id|>
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>
{%- if tools and messages[-1].role != "tool" %}<|call|>{% else %}
{% endif %}{% endif %}"""


def followers(words, call, trigger, end, others):
    """token -> the next one. Words go round in a circle; the call ends; whatever else leads into the circle."""
    after = dict(zip(words, words[1:] + words[:1]))
    after.update(zip([trigger] + call, call + [end]))
    for k, token in enumerate(others):
        after[token] = words[k % len(words)]  # evenly: a word that many lead to is louder than the one that is meant
    return after


# ---- GGUF -------------------------------------------------------------------------------------------------------------------

SIZES = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
STRING, ARRAY, Q8_0, BLOCK = 8, 9, 8, 34


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def number(self, how):
        (value,) = struct.unpack_from("<" + how, self.data, self.at)
        self.at += struct.calcsize("<" + how)
        return value

    def string(self):
        n = self.number("Q")
        self.at += n
        return self.data[self.at - n : self.at]

    def value(self, kind):
        if kind == STRING:
            return self.string()
        if kind == ARRAY:
            of = self.number("I")
            return of, [self.value(of) for _ in range(self.number("Q"))]
        return self.number(SIZES[kind])


def string(text):
    return struct.pack("<Q", len(text)) + text


def value(kind, v):
    if kind == STRING:
        return string(v)
    if kind == ARRAY:
        return struct.pack("<IQ", v[0], len(v[1])) + b"".join(value(v[0], x) for x in v[1])
    return struct.pack("<" + SIZES[kind], v)


def read_gguf(path):
    with open(path, "rb") as f:
        r = Reader(f.read())
    assert r.data[:4] == b"GGUF", path
    r.at = 8
    n_tensors, n_keys = r.number("Q"), r.number("Q")
    keys = {}
    for _ in range(n_keys):
        name, kind = r.string(), r.number("I")
        keys[name] = (kind, r.value(kind))
    heads = []
    for _ in range(n_tensors):
        name = r.string()
        dims = [r.number("Q") for _ in range(r.number("I"))]
        heads.append((name, dims, r.number("I"), r.number("Q")))
    start = -(-r.at // 32) * 32
    sizes = [rows_bytes(dims, kind) for _, dims, kind, _ in heads]
    return keys, [[n, d, k, r.data[start + at : start + at + size]] for (n, d, k, at), size in zip(heads, sizes)]


def rows_bytes(dims, kind):
    n = dims[0] * (dims[1] if len(dims) > 1 else 1)
    return n // 32 * BLOCK if kind == Q8_0 else n * 4


def write_gguf(path, keys, tensors):
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(keys))
    head += b"".join(string(k) + struct.pack("<I", kind) + value(kind, v) for k, (kind, v) in keys.items())
    body = b""
    for name, dims, kind, data in tensors:
        head += string(name) + struct.pack("<I", len(dims)) + b"".join(struct.pack("<Q", d) for d in dims)
        head += struct.pack("<IQ", kind, len(body))
        body += data + bytes(-len(data) % 32)
    with open(path, "wb") as f:
        f.write(head + bytes(-len(head) % 32) + body)


def bpe(text):
    """Text as vocabularies of GPT-2's kind write it: other bytes than printable ones are letters further up."""
    plain = [b for b in range(256) if 33 <= b <= 126 or 161 <= b <= 172 or 174 <= b <= 255]
    letters = {b: chr(b) for b in plain}
    letters.update((b, chr(256 + n)) for n, b in enumerate(b for b in range(256) if b not in plain))
    return "".join(letters[b] for b in text.encode()).encode()


def row(numbers):
    return b"".join(struct.pack("<e32b", 0.02, *numbers[i : i + 32]) for i in range(0, len(numbers), 32))


def gguf(source, target, pooling=None):
    keys, tensors = read_gguf(source)
    _, (_, tokens) = keys[b"tokenizer.ggml.tokens"]
    _, (_, kinds) = keys[b"tokenizer.ggml.token_type"]
    control = [i for i, kind in enumerate(kinds) if kind == 3]
    words = [i for i, t in enumerate(tokens) if t.startswith("Ġ".encode()) and len(t) > 4 and kinds[i] == 1]
    *words, trigger = words
    words, call = words[: -len(CALL)], words[-len(CALL) :]
    for i, text in zip(call, CALL):
        tokens[i] = bpe(text)
    tokens[trigger], kinds[trigger] = TRIGGER.encode(), 3
    end = tokens.index(END.encode())
    others = [i for i in range(len(tokens)) if i not in {*words, *call, trigger, end}]
    assert end in control
    after = followers(words, call, trigger, end, others)
    width = keys[b"llama.embedding_length"][1]
    dice = random.Random(1)
    embeddings = [[dice.randint(-127, 127) for _ in range(width)] for _ in tokens]
    output = [[0] * width for _ in tokens]
    for token, follower in after.items():
        output[follower] = [max(-127, min(127, a + b)) for a, b in zip(output[follower], embeddings[token])]
    for t in tensors:
        if t[0] == b"token_embd.weight":
            t[3] = b"".join(map(row, embeddings))
        elif t[0].endswith((b"attn_output.weight", b"ffn_down.weight")):
            t[3] = bytes(len(t[3]))
    tensors.append([b"output.weight", [width, len(tokens)], Q8_0, b"".join(map(row, output))])
    keys[b"tokenizer.chat_template"] = (STRING, TEMPLATE.encode())
    keys[b"general.name"] = (STRING, b"parrot")
    if pooling:  # a model for embeddings: the mean of its tokens
        keys[b"llama.pooling_type"] = (4, 1)
    write_gguf(target, keys, tensors)


# ---- a folder of the transformers' kind -------------------------------------------------------------------------------------


def token_of(text, number, special):
    return {"id": number, "content": text, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": special}


def write_safetensors(path, weights):
    """weights: name -> (shape, bytes of float32)."""
    head, at = {"__metadata__": {"format": "pt"}}, 0
    for name, (shape, data) in weights.items():
        head[name] = {"dtype": "F32", "shape": shape, "data_offsets": [at, at + len(data)]}
        at += len(data)
    text = json.dumps(head).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(data for _, data in weights.values()))


def leads(embeddings, output, width, token, follower):
    """The token is followed by that one by a wide margin, so that no processor's rounding makes it another."""
    told = embeddings[token * width : (token + 1) * width]
    loud = [sum(map(operator.mul, told, output[at : at + width])) for at in range(0, len(output), width)]
    return loud.pop(follower) > MARGIN * max(loud)


def folder(source, target):
    os.makedirs(target)
    read = {}
    for name in ("tokenizer.json", "tokenizer_config.json", "config.json"):
        with open(f"{source}/{name}", encoding="utf-8") as f:
            read[name] = json.load(f)
    tokens = dict(read["tokenizer.json"]["model"]["vocab"])
    words = sorted(i for t, i in tokens.items() if t[0] == "Ġ" and len(t) > 3 and t[1:].isalpha() and t[1:].isascii())
    for text in (TRIGGER, END, "<|start_header_id|>", "<|end_header_id|>", *CALL):
        tokens[text] = len(tokens)
        read["tokenizer.json"]["added_tokens"].append(token_of(text, tokens[text], text not in CALL))
    call, trigger, end, size = [tokens[t] for t in CALL], tokens[TRIGGER], tokens[END], len(tokens)
    others = [i for i in range(size) if i not in {*words, *call, trigger, end}]
    shape = read["config.json"]
    width, inner = shape["hidden_size"], shape["intermediate_size"]
    dice = random.Random(1)

    def some(rows, columns, scale=1.0):
        return [rows, columns], array.array("f", (dice.gauss(0, scale) for _ in range(rows * columns)))

    after = followers(words, call, trigger, end, others)
    for _ in range(TRIES):
        embeddings = some(size, width)
        output = array.array("f", bytes(4 * size * width))
        for token, follower in after.items():
            for k in range(width):
                output[follower * width + k] += embeddings[1][token * width + k]
        if all(leads(embeddings[1], output, width, token, after[token]) for token in (trigger, *call)):
            break
    else:
        sys.exit(f"parrot.py: no call of a tool came of {TRIES} models")
    ones = ([width], array.array("f", [1.0] * width))
    weights = {"model.embed_tokens.weight": embeddings, "lm_head.weight": ([size, width], output), "model.norm.weight": ones}
    for k in range(shape["num_hidden_layers"]):
        at = f"model.layers.{k}."
        for part in "qkv":
            weights[f"{at}self_attn.{part}_proj.weight"] = some(width, width, 0.05)
        weights[at + "self_attn.o_proj.weight"] = ([width, width], array.array("f", bytes(4 * width * width)))
        weights[at + "mlp.gate_proj.weight"] = weights[at + "mlp.up_proj.weight"] = some(inner, width, 0.05)
        weights[at + "mlp.down_proj.weight"] = ([width, inner], array.array("f", bytes(4 * width * inner)))
        weights[at + "input_layernorm.weight"] = weights[at + "post_attention_layernorm.weight"] = ones
    write_safetensors(target + "/model.safetensors", {n: (s, a.tobytes()) for n, (s, a) in weights.items()})
    shape.update(vocab_size=size, eos_token_id=end, tie_word_embeddings=False, max_position_embeddings=16384)
    read["tokenizer_config.json"]["eos_token"] = END
    for name, o in read.items():
        with open(f"{target}/{name}", "w", encoding="utf-8") as f:
            json.dump(o, f)
    with open(target + "/chat_template.jinja", "w", encoding="utf-8") as f:
        f.write(TEMPLATE)


if __name__ == "__main__":
    {"gguf": gguf, "folder": folder}[sys.argv[1]](*sys.argv[2:])
