// Tests of the tools and of the contract, without a container: node --test

import assert from "node:assert/strict";
import { test } from "node:test";
import { execute } from "./server.mjs";
import { count_words } from "./tool.mjs";

test("counts", () => {
  assert.deepEqual(count_words({ text: "two words" }), { words: 2, lines: 1, characters: 9 });
});

test("the contract", async () => {
  const call = { inputs: { text: { value: "a b c", args: {} } }, context: { tool: "count_words" } };
  assert.equal((await execute(call)).outputs.words, 3);
  assert.equal((await execute({ inputs: {}, context: { tool: "none" } })).success, false);
});
