// Writes what the real packages make, as JSON: `node record.mjs <directory>`.
//
// Each file has `facts`, which are the same whenever they are recorded with the same packages, and samples, which are
// not. All secrets are made up here.

import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { recordAuthjs } from "./authjs.mjs";
import { recordBetterAuth } from "./better_auth.mjs";
import { recordClerk } from "./clerk.mjs";

const directory = process.argv[2];
const { dependencies } = JSON.parse(await readFile(new URL("package.json", import.meta.url), "utf8"));
await mkdir(directory, { recursive: true });

async function save(name, packages, { facts, ...samples }) {
  const versions = Object.fromEntries(packages.map((each) => [each, dependencies[each]]));
  const recorded = { facts: { versions, ...facts }, at: Math.floor(Date.now() / 1000), ...samples };
  await writeFile(join(directory, `${name}.json`), JSON.stringify(recorded, null, 2) + "\n");
}

await save("authjs", ["@auth/core", "next-auth"], await recordAuthjs());
await save("better_auth", ["better-auth", "better-sqlite3"], await recordBetterAuth());
await save("clerk", ["@clerk/backend", "svix"], await recordClerk());
