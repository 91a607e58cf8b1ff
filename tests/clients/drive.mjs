// What the scripts of JavaScript clients share: see drive.py, which does the same in Python.
import { createRequire } from "node:module";

export const CONFIG = JSON.parse(process.argv[2]);
export const MODEL = CONFIG.model;
export const CITY = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
export const WEATHER = { type: "function", function: { name: "get_weather", description: "The weather", parameters: CITY } };
export const QUESTION = "How is the weather?";
export const ASKED = [{ role: "user", content: QUESTION }];
// Packages come from the folder that the test was given.
export const load = (name) => createRequire(CONFIG.packages + "/")(name);

export async function together(ask) {
    const said = [];
    for (let n = 1; n <= 8; n++) said.push(await Promise.all(Array.from({ length: n }, (_, k) => ask(k))));
    return said;
}

export async function refusal(ask) {
    try {
        await ask();
        return "no error";
    } catch (e) {
        return { class: e.constructor.name, status: e.status ?? e.status_code ?? null, message: String(e.message) };
    }
}

export async function run(connect, cases) {
    for (const [name, ask] of Object.entries(cases)) {
        if (!CONFIG.cases.includes(name)) continue;
        for (const via of CONFIG.ways) {
            let line;
            try {
                const [seen, energies] = await ask(connect(CONFIG[via], name === "embeddings"));
                line = { case: name, via, seen, energies };
            } catch (e) {
                line = { case: name, via, failed: `${e.constructor.name}: ${e.message}` };
            }
            console.log(JSON.stringify(line));
        }
    }
    process.exit(0);
}
