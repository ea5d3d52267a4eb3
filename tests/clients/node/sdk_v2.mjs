// The second generation of the TypeScript SDK (`@modelcontextprotocol/client`), mode `legacy` (initialize) or `auto` (2026-07-28).

import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";
import { order, run } from "./steps.mjs";

let hear;
const heard = new Promise((resolve) => (hear = resolve));
const client = new Client(
  { name: "pegboard-tests", version: "1.0.0" },
  {
    versionNegotiation: { mode: order.mode },
    listChanged: { tools: { autoRefresh: false, debounceMs: 0, onChanged: () => hear() } },
  },
);
const transport =
  order.transport === "stdio"
    ? new StdioClientTransport({ command: order.command, args: order.args, env: order.env, stderr: "inherit" })
    : new StreamableHTTPClientTransport(new URL(order.url));
await client.connect(transport);
await run({
  protocol: client.getNegotiatedProtocolVersion() ?? null,
  list: () => client.listTools(),
  call: (name, args, extra) => client.callTool({ name, arguments: args }, extra),
  heard,
});
await client.close();
