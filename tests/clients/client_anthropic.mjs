// The JavaScript client `@anthropic-ai/sdk`, as it is, directly and through the proxy.
import { ASKED, CITY, CONFIG, MODEL, load, refusal, run, together } from "./drive.mjs";

const { Anthropic } = load("@anthropic-ai/sdk");
const SAME = { model: MODEL, messages: ASKED, temperature: 0 };
const TOOL = { name: "get_weather", description: "The weather", input_schema: CITY };

const connect = (base) => new Anthropic({ baseURL: base.chat, apiKey: "none", maxRetries: 0, timeout: 300000 });

async function plain(c) {
    const r = await c.messages.create({ max_tokens: CONFIG.tokens, ...SAME });
    return [[r.content[0].text, r.stop_reason, r.usage.output_tokens], [r.energy]];
}

async function streamed(c) {
    const kinds = new Set();
    let text = "", energy = null;
    for await (const event of await c.messages.create({ max_tokens: CONFIG.tokens, stream: true, ...SAME })) {
        kinds.add(event.type);
        if (event.type === "content_block_delta") text += event.delta.text;
        energy = event.energy ?? energy;
    }
    const final = await c.messages.stream({ max_tokens: CONFIG.tokens, ...SAME }).finalMessage();
    return [[text, final.content[0].text, final.stop_reason, final.usage.output_tokens, [...kinds]], [energy]];
}

async function tools(c) {
    const r = await c.messages.create({ max_tokens: 64, tools: [TOOL], ...SAME });
    const call = r.content.find((b) => b.type === "tool_use");
    const again = (await c.messages.stream({ max_tokens: 64, tools: [TOOL], ...SAME }).finalMessage()).content.find((b) => b.type === "tool_use");
    const messages = [
        ...ASKED,
        { role: "assistant", content: [{ type: "tool_use", id: call.id, name: call.name, input: call.input }] },
        { role: "user", content: [{ type: "tool_result", tool_use_id: call.id, content: "sunny" }] },
    ];
    const then = await c.messages.create({ ...SAME, messages, tools: [TOOL], max_tokens: 8 });
    return [[r.stop_reason, call.name, call.input, again.name, again.input, then.content[0].text], [r.energy, then.energy]];
}

async function errors(c) {
    return [[
        await refusal(() => c.messages.create({ ...SAME, model: "no-such-model", max_tokens: 1 })),
        await refusal(() => c.messages.create({ ...SAME, messages: "not a list", max_tokens: 1 })),
        await refusal(() => c.get("/no/such/path")),
    ], []];
}

async function abort(c) {
    const stream = await c.messages.create({ max_tokens: CONFIG.long, stream: true, ...SAME });
    let n = 0;
    for await (const _ of stream) if (++n === 7) stream.controller.abort();
    return ["left after 7 events", []];
}

async function parallel(c) {
    const seen = await together(() => plain(c));
    return [seen.map((row) => row.map((s) => s[0][0])), seen.flat().flatMap((s) => s[1])];
}

await run(connect, { plain, streamed, tools, errors, parallel, abort });
