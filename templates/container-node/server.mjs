// Serves the tools of tool.mjs by the container contract, with nothing but Node's own modules.
//
// Listens on the unix socket that PEGBOARD_SOCKET names, so that the container needs no network; without it on port PEGBOARD_PORT (8080).

import { createServer } from "node:http";
import { chmodSync } from "node:fs";
import { fileURLToPath } from "node:url";
import * as tools from "./tool.mjs";

const counts = { calls: 0, failures: 0 };

// One call: {"inputs": {"p": {"value": …}}, "context": {…}} to {"success": true, "outputs": {…}}.
export async function execute({ inputs, context }) {
  counts.calls += 1;
  try {
    const tool = Object.hasOwn(tools, context.tool) ? tools[context.tool] : undefined;
    if (!tool) throw new Error(`no tool ${context.tool}`);
    const values = Object.fromEntries(Object.entries(inputs).map(([name, item]) => [name, item.value]));
    return { success: true, outputs: await tool(values, context) };
  } catch (error) {
    counts.failures += 1;
    return { success: false, error: String(error) };
  }
}

async function answer(request) {
  if (request.method === "GET" && request.url === "/health") return [200, { status: "healthy" }];
  if (request.method === "GET" && request.url === "/metrics") return [200, counts];
  if (request.method !== "POST" || request.url !== "/execute") return [404, { success: false, error: "no such path" }];
  const parts = [];
  for await (const part of request) parts.push(part);
  return [200, await execute(JSON.parse(Buffer.concat(parts)))];
}

export function serve() {
  const server = createServer((request, response) => {
    answer(request)
      .catch((error) => [400, { success: false, error: String(error) }])
      .then(([status, document]) => {
        const body = Buffer.from(JSON.stringify(document));
        response.writeHead(status, { "Content-Type": "application/json", "Content-Length": body.length });
        response.end(body);
      });
  });
  // A connection is kept for as long as Pegboard keeps it.
  server.keepAliveTimeout = 0;
  const path = process.env.PEGBOARD_SOCKET;
  const port = Number(process.env.PEGBOARD_PORT ?? 8080);
  server.listen(path ?? port, () => {
    if (path) chmodSync(path, 0o666);
    console.log(`listening on ${path ?? port}`);
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) serve();
