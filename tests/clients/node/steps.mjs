// The steps that every TypeScript client takes, and the report of what it saw. Nothing is judged here: `tests/src/bin/clients.rs`
// knows what a right answer is. The two generations of the SDK differ in how a call is made; that comes in as `call`.

import { createHash } from "node:crypto";
import { cpSync, renameSync } from "node:fs";
import { basename, dirname, join } from "node:path";

export const TEXT = "Pegboard hangs tools on a wall. Every tool has its place. Take one down and use it.";
export const order = JSON.parse(process.argv[2]);

// Moved in whole: a watcher must not need to see it half copied.
function grow() {
  const staging = join(dirname(dirname(order.grow_to)), basename(order.grow_to) + ".staging");
  cpSync(order.grow_from, staging, { recursive: true });
  renameSync(staging, order.grow_to);
}

function told(result) {
  const texts = result.content.filter((block) => block.type === "text").map((block) => block.text);
  return { is_error: result.isError ?? false, structured: result.structuredContent ?? null, text: texts.join("\n") };
}

function picture(block) {
  const raw = Buffer.from(block.data, "base64");
  return {
    mime: block.mimeType,
    bytes: raw.length,
    sha256: createHash("sha256").update(raw).digest("hex"),
    png: raw.subarray(0, 6).toString("latin1") === "\x89PNG\r\n",
  };
}

// Gives up a long call; a plugin that takes one call at a time must then be free for the next one.
async function cancel(call) {
  const controller = new AbortController();
  setTimeout(() => controller.abort("the caller gave up"), 1500);
  let gaveUp = false;
  try {
    await call("slow__wait", { seconds: 40 }, { signal: controller.signal });
  } catch {
    gaveUp = controller.signal.aborted;
  }
  const began = performance.now();
  const result = await call("slow__ready", {}, { timeout: 30000 });
  return { gave_up: gaveUp, next: told(result), next_seconds: (performance.now() - began) / 1000 };
}

async function progress(call) {
  const seen = [];
  const onprogress = (update) => seen.push([update.progress, update.total ?? null, update.message ?? null]);
  const result = await call("probe__count", { steps: 3 }, { onprogress });
  return { seen, result: told(result) };
}

function within(seconds, promise, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: nothing in ${seconds} s`)), seconds * 1000);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

// `heard` resolves when the client is told that the list changed.
export async function run({ protocol, list, call, heard }) {
  const report = { protocol };
  const step = async (name, act) => {
    try {
      report[name] = await act();
    } catch (error) {
      report[name] = { exception: error.constructor.name, message: String(error.message), code: error.code ?? null };
    }
  };
  await step("tools", async () => (await list()).tools.map((tool) => tool.name));
  await step("statistics", async () => told(await call("text_analysis__text_statistics", { text: TEXT })));
  await step("echo", async () => told(await call("probe__echo", { text: "peg", times: 2 })));
  await step("unknown_tool", async () => told(await call("probe__no_such_tool", {})));
  await step("bad_argument", async () => told(await call("probe__echo", { text: 5 })));
  await step("failure", async () => told(await call("probe__fail", { message: "the shelf is empty" })));
  await step("image", async () => {
    const result = await call("probe__picture", {});
    const images = result.content.filter((block) => block.type === "image").map(picture);
    return { images, is_error: result.isError ?? false };
  });
  await step("progress", () => progress(call));
  await step("cancel", () => cancel(call));
  if (order.grow_from) {
    await step("list_changed", async () => {
      grow();
      await within(30, heard, "list_changed");
      return { tools: (await list()).tools.map((tool) => tool.name) };
    });
  }
  await new Promise((done) => process.stdout.write(JSON.stringify(report) + "\n", done));
}
