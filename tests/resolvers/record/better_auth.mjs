// Sessions of a real better-auth server: its cookies, its answers about them, its rows, and tokens of its JWT plugin.

import { SECRET, openBetterAuth } from "./better_auth_app.mjs";
import { header, headerOf, jar } from "./cookies.mjs";

const ORIGINS = { http: "http://localhost:3000", https: "https://app.example" };

export async function recordBetterAuth() {
  const cases = {};
  for (const [name, origin] of Object.entries(ORIGINS)) cases[name] = await sessionsOf(origin);
  return { facts: mapped(cases, factsOf), secret: SECRET, cases };
}

/** Two people sign up, one of them signs out again; every session is asked about when all is done. */
async function sessionsOf(origin) {
  const { auth, database } = await openBetterAuth(origin);
  const call = (path, init = {}) =>
    auth.handler(
      new Request(`${origin}/api/auth${path}`, {
        ...init,
        headers: { origin, "content-type": "application/json", ...init.headers },
      }),
    );
  const signUp = async (name) => {
    const body = JSON.stringify({ name, email: `${name}@example.com`, password: "correct horse battery" });
    return jar(await call("/sign-up/email", { method: "POST", body }));
  };
  const signed = { alice: await signUp("alice"), ended: await signUp("bob") };
  const token = await (await call("/token", { headers: { cookie: header(signed.alice) } })).json();
  await call("/sign-out", { method: "POST", headers: { cookie: header(signed.ended) }, body: "{}" });

  const sessions = {};
  for (const [name, cookies] of Object.entries(signed)) {
    const answer = await call("/get-session?disableCookieCache=true&disableRefresh=true", {
      headers: { cookie: header(cookies) },
    });
    sessions[name] = { cookies, status: answer.status, answer: await answer.json() };
  }
  const rows = database.prepare("select token, userId from session").all();
  const users = Object.fromEntries(database.prepare("select name, id from user").all().map((row) => [row.name, row.id]));
  const jwks = await (await call("/jwks")).json();
  database.close();
  return { sessions, rows, users, jwt: token.token, jwks };
}

function factsOf({ sessions, jwt, jwks }) {
  const { kid, ...tokenHeader } = headerOf(jwt);
  const claims = JSON.parse(Buffer.from(jwt.split(".")[1], "base64url").toString());
  return {
    cookies: Object.keys(sessions.alice.cookies),
    answered: mapped(sessions, ({ status, answer }) => ({ status, keys: answer && Object.keys(answer).sort() })),
    session: Object.keys(sessions.alice.answer.session).sort(),
    tokenHeader,
    kidIsKnown: jwks.keys.some((key) => key.kid === kid),
    keys: jwks.keys.map(({ alg, crv, kty }) => ({ alg, crv, kty })),
    claims: Object.keys(claims).sort(),
    issuer: claims.iss,
    audience: claims.aud,
  };
}

function mapped(object, change) {
  return Object.fromEntries(Object.entries(object).map(([name, value]) => [name, change(value)]));
}
