// The JavaScript client `ollama`, as it is, directly and through the proxy.
import { ASKED, CONFIG, MODEL, QUESTION, WEATHER, load, refusal, run, together } from "./drive.mjs";

const { Ollama } = load("ollama");
const options = (n) => ({ num_predict: n, temperature: 0, seed: 1 });
const told = (r) => [r.done_reason, r.eval_count, r.prompt_eval_count];

const connect = (base) => new Ollama({ host: base.chat });

async function plain(c) {
    const r = await c.chat({ model: MODEL, messages: ASKED, options: options(CONFIG.tokens) });
    return [[r.message.content, ...told(r)], [r.energy]];
}

async function streamed(c) {
    let text = "", last;
    for await (last of await c.chat({ model: MODEL, messages: ASKED, stream: true, options: options(CONFIG.tokens) })) text += last.message.content;
    return [[text, ...told(last)], [last.energy]];
}

async function generate(c) {
    const r = await c.generate({ model: MODEL, prompt: QUESTION, options: options(12) });
    let text = "", last;
    for await (last of await c.generate({ model: MODEL, prompt: QUESTION, stream: true, options: options(12) })) text += last.response;
    return [[r.response, ...told(r), text, ...told(last)], [r.energy, last.energy]];
}

async function tools(c) {
    const asked = { model: MODEL, messages: ASKED, tools: [WEATHER], options: options(64) };
    const r = await c.chat(asked);
    const call = r.message.tool_calls[0].function;
    const again = [];
    for await (const p of await c.chat({ ...asked, stream: true })) again.push(...(p.message.tool_calls ?? []).map((t) => t.function.name));
    const messages = [...ASKED, r.message, { role: "tool", content: "sunny", tool_name: call.name }];
    const then = await c.chat({ model: MODEL, messages, tools: [WEATHER], options: options(8) });
    return [[r.done_reason, call.name, call.arguments, again, then.message.content], [r.energy, then.energy]];
}

async function embeddings(c) {
    const r = await c.embed({ model: CONFIG.embeddings, input: ["one two", "three"] });
    return [[r.embeddings.map((e) => e.slice(0, 4)), r.prompt_eval_count], [r.energy]];
}

async function errors(c) {
    return [[
        await refusal(() => c.chat({ model: "no-such-model", messages: ASKED })),
        await refusal(() => c.chat({ model: MODEL, messages: ASKED, format: "nonsense" })),
        await refusal(() => c.show({ model: "no-such-model" })),
    ], []];
}

async function abort(c) {
    let n = 0;
    try {
        const stream = await c.chat({ model: MODEL, messages: ASKED, stream: true, options: options(CONFIG.long) });
        for await (const _ of stream) if (++n === 5) stream.abort();
    } catch (e) {
        return [`left: ${e.name}`, []];
    }
    return ["left after 5 pieces", []];
}

async function parallel(c) {
    const seen = await together((k) => (k % 2 ? streamed(c) : plain(c)));
    return [seen.map((row) => row.map((s) => s[0][0])), seen.flat().flatMap((s) => s[1])];
}

const models = async (c) => [[(await c.list()).models.map((m) => m.model).sort(), (await c.show({ model: MODEL })).details.quantization_level], []];

await run(connect, { models, plain, streamed, generate, tools, embeddings, errors, parallel, abort });
