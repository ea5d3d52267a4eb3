// The first generation of the TypeScript SDK (`@modelcontextprotocol/sdk`), over stdio, HTTP or HTTP+SSE.

import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { SSEClientTransport } from "@modelcontextprotocol/sdk/client/sse.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { order, run } from "./steps.mjs";

const transports = {
  stdio: () => new StdioClientTransport({ command: order.command, args: order.args, env: order.env, stderr: "inherit" }),
  http: () => new StreamableHTTPClientTransport(new URL(order.url)),
  sse: () => new SSEClientTransport(new URL(order.url)),
};

let hear;
const heard = new Promise((resolve) => (hear = resolve));
const options = { listChanged: { tools: { autoRefresh: false, debounceMs: 0, onChanged: () => hear() } } };
const client = new Client({ name: "pegboard-tests", version: "1.0.0" }, options);
const transport = transports[order.transport]();
await client.connect(transport);
await run({
  protocol: transport.protocolVersion ?? transport._protocolVersion ?? null,
  list: () => client.listTools(),
  call: (name, args, extra) => client.callTool({ name, arguments: args }, undefined, extra),
  heard,
});
await client.close();
