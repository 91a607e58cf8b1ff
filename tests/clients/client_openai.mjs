// The JavaScript client `openai`, as it is, directly and through the proxy.
import { ASKED, CONFIG, MODEL, QUESTION, WEATHER, load, refusal, run, together } from "./drive.mjs";

const OpenAI = load("openai").OpenAI;
const SAME = { model: MODEL, temperature: 0, seed: 1 };
const told = (u) => (u ? [u.prompt_tokens, u.completion_tokens, u.total_tokens] : null);

const connect = (base, embeddings) =>
    new OpenAI({ baseURL: (embeddings ? base.embeddings : base.chat) + "/v1", apiKey: "none", maxRetries: 0, timeout: 300000 });

async function plain(c) {
    const r = await c.chat.completions.create({ messages: ASKED, max_tokens: CONFIG.tokens, ...SAME });
    return [[r.choices[0].message.content, r.choices[0].finish_reason, told(r.usage)], [r.energy]];
}

async function streamed(c, more = {}) {
    let text = "", finish = null, usage = null, energy = null;
    for await (const chunk of await c.chat.completions.create({ messages: ASKED, max_tokens: CONFIG.tokens, stream: true, ...SAME, ...more })) {
        for (const choice of chunk.choices) {
            text += choice.delta.content ?? "";
            finish = choice.finish_reason ?? finish;
        }
        usage ??= told(chunk.usage);
        energy = chunk.energy ?? energy;
    }
    return [[text, finish, usage], [energy]];
}

const usage = (c) => streamed(c, { stream_options: { include_usage: true } });

async function completions(c) {
    const r = await c.completions.create({ prompt: QUESTION, max_tokens: 12, ...SAME });
    return [[r.choices[0].text, r.choices[0].finish_reason, told(r.usage)], [r.energy]];
}

async function responses(c) {
    const asked = { model: MODEL, input: QUESTION, max_output_tokens: CONFIG.tokens, temperature: 0 };
    const r = await c.responses.create(asked);
    const kinds = new Set();
    let text = "", last;
    for await (const event of await c.responses.create({ ...asked, stream: true })) {
        kinds.add(event.type);
        if (event.type === "response.output_text.delta") text += event.delta;
        last = event;
    }
    return [[r.output_text, r.status, text, [...kinds]], [r.energy, last.energy ?? last.response.energy]];
}

async function tools(c) {
    const asked = { messages: ASKED, tools: [WEATHER], max_tokens: 64, ...SAME };
    const r = await c.chat.completions.create(asked);
    const call = r.choices[0].message.tool_calls[0];
    const stream = c.chat.completions.stream(asked);
    const again = (await stream.finalChatCompletion()).choices[0].message.tool_calls[0];
    const messages = [...ASKED, r.choices[0].message, { role: "tool", tool_call_id: call.id, content: "sunny" }];
    const then = await c.chat.completions.create({ messages, tools: [WEATHER], max_tokens: 8, ...SAME });
    return [[r.choices[0].finish_reason, call.function, again.function.name, again.function.arguments, then.choices[0].message.content], [r.energy, then.energy]];
}

async function embeddings(c) {
    if (!CONFIG.embeddings) return [await refusal(() => c.embeddings.create({ model: MODEL, input: "one" })), []];
    const r = await c.embeddings.create({ model: CONFIG.embeddings, input: ["one two", "three"], encoding_format: "float" });
    const packed = await c.embeddings.create({ model: CONFIG.embeddings, input: "one" });
    return [[r.data.map((d) => d.embedding.slice(0, 4)), packed.data[0].embedding.slice(0, 4)], [r.energy, packed.energy]];
}

async function errors(c) {
    const ask = (more) => c.chat.completions.create({ messages: ASKED, max_tokens: 1, ...SAME, ...more });
    return [[
        await refusal(() => ask({ model: "no-such-model" })),
        await refusal(() => ask({ messages: "not a list" })),
        await refusal(() => ask({ temperature: "warm" })),
        await refusal(() => c.get("/no/such/path")),
    ], []];
}

async function abort(c) {
    const control = new AbortController();
    let n = 0;
    try {
        const asked = { messages: ASKED, max_tokens: CONFIG.long, stream: true, ...SAME };
        for await (const _ of await c.chat.completions.create(asked, { signal: control.signal })) if (++n === 5) control.abort();
    } catch (e) {
        return [`left: ${e.constructor.name}`, []];
    }
    return ["left after 5 pieces", []];
}

async function parallel(c) {
    const seen = await together((k) => (k % 2 ? streamed(c) : plain(c)));
    return [seen.map((row) => row.map((s) => s[0][0])), seen.flat().flatMap((s) => s[1])];
}

const models = async (c) => {
    const names = [];
    for await (const m of c.models.list()) names.push(m.id);
    return [names.sort(), []];
};

await run(connect, { models, plain, streamed, usage, completions, responses, tools, embeddings, errors, parallel, abort });
