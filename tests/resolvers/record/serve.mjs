// A better-auth server on a free loopback port, which it prints; ends with its standard input.

import { once } from "node:events";
import { createServer } from "node:http";

import { toNodeHandler } from "better-auth/node";

import { openBetterAuth } from "./better_auth_app.mjs";

let handle;
const server = createServer((request, response) => handle(request, response)).listen(0, "127.0.0.1");
await once(server, "listening");
const origin = `http://127.0.0.1:${server.address().port}`;
handle = toNodeHandler((await openBetterAuth(origin)).auth);
console.log(origin);
process.stdin.on("end", () => process.exit(0)).resume();
