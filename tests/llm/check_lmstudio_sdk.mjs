// LM Studio's own JavaScript client, unchanged, against the stand-in of LM Studio. It checks every message it gets against a
// description of its own and warns of what differs: a warning fails this test.
//
// The stand-in is named by the arguments: a program, or one and its words.
//
// Skipped (77) where the client is not installed; JOULET_LMSTUDIO_SDK_JS may name the folder whose node_modules has it.
import { spawn } from "node:child_process";
import { strict as assert } from "node:assert";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

let sdk;
try {
    const from = process.env.JOULET_LMSTUDIO_SDK_JS;
    sdk = from ? createRequire(from + "/")("@lmstudio/sdk") : await import("@lmstudio/sdk");
} catch {
    console.log("skipped: the package @lmstudio/sdk is not installed");
    process.exit(77);
}

async function ask(fault, text) {
    const [program, ...words] = process.argv.slice(2);
    const mock = spawn(program, fault ? [...words, fault] : words, { stdio: ["pipe", "pipe", "inherit"] });
    const [url] = await new Promise((done) => createInterface(mock.stdout).once("line", (line) => done([line])));
    const warnings = [], progress = [];
    const logger = { debug() {}, info() {}, warn: (...w) => warnings.push(w.join(" ")), error: (...w) => warnings.push(w.join(" ")) };
    const client = new sdk.LMStudioClient({ baseUrl: url.replace("http://", "ws://"), logger });
    assert.deepEqual((await client.system.listDownloadedModels()).map((m) => m.modelKey), ["mock-model"]);
    assert.deepEqual((await client.llm.listLoaded()).map((m) => m.identifier), ["mock-model"]);
    const model = await client.llm.model("mock-model", { verbose: false });
    if (fault === "error") {
        await assert.rejects(async () => await model.respond("hi"), /The model has crashed/);
        mock.stdin.end();
        return;
    }
    const answer = await model.respond("hi", { onPromptProcessingProgress: (p) => progress.push(p) });
    assert.equal(answer.content, text);
    assert.equal(answer.stats.promptTokensCount, 9);
    assert.equal(answer.stats.predictedTokensCount, 3);
    assert.equal(answer.stats.stopReason, "eosFound");
    assert.equal(answer.stats.numGpuLayers, 12);
    assert.deepEqual(progress, [0.5, 1]);
    assert.deepEqual(warnings, []);
    mock.stdin.end();
}

await ask("", "Hello");
await ask("load", "Hello");
await ask("error", "");
await ask("thinking", "<think>So</think>Hello");
console.log("@lmstudio/sdk speaks with the stand-in");
process.exit(0);
