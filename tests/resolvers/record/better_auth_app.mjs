// A better-auth server as an app has one: SQLite, e-mail and password, the JWT plugin.

import { betterAuth } from "better-auth";
import { getMigrations } from "better-auth/db/migration";
import { jwt } from "better-auth/plugins";
import Database from "better-sqlite3";

export const SECRET = "test-only-better-auth-secret-0123456789";

/** Gives the server and its database, in memory. */
export async function openBetterAuth(origin) {
  const database = new Database(":memory:");
  const options = {
    baseURL: origin,
    secret: SECRET,
    database,
    emailAndPassword: { enabled: true },
    rateLimit: { enabled: false },
    telemetry: { enabled: false },
    plugins: [jwt()],
  };
  const { runMigrations } = await getMigrations(options);
  await runMigrations();
  return { auth: betterAuth(options), database };
}
