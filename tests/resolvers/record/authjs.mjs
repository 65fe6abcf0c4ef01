// Session cookies of Auth.js by its own sign-in with credentials, and of next-auth 4 by its own encoder.

import { Auth } from "@auth/core";
import Credentials from "@auth/core/providers/credentials";
import nextAuthJwt from "next-auth/jwt";

import { header, headerOf, jar } from "./cookies.mjs";

const SECRET = "test-only-auth-secret-newest-0123456789";
const OLDER_SECRET = "test-only-auth-secret-older-0123456789";
const SESSION = /authjs\.session-token(\.\d+)?$/;

export async function recordAuthjs() {
  const cases = {
    http: await signIn({ origin: "http://localhost:3000", secret: SECRET }),
    https: await signIn({ origin: "https://app.example", secret: SECRET }),
    chunked: await signIn({ origin: "https://app.example", secret: SECRET, ballast: 8000 }),
    older: await signIn({ origin: "https://app.example", secret: OLDER_SECRET }),
    another: await signIn({ origin: "https://app.example", secret: SECRET, user: "user_mallory" }),
    nextAuth4: await nextAuth4(),
  };
  const facts = Object.fromEntries(Object.entries(cases).map(([name, cookies]) => [name, factsOf(cookies)]));
  return { facts, secret: SECRET, olderSecret: OLDER_SECRET, cases };
}

/** Signs somebody in as a browser would, and gives the session's cookies. */
async function signIn({ origin, secret, ballast = 0, user = "user_alice" }) {
  const config = {
    secret,
    trustHost: true,
    basePath: "/auth",
    logger: { error: console.error, warn() {}, debug() {} },
    providers: [Credentials({ authorize: () => ({ id: user, name: "Somebody" }) })],
    callbacks: { jwt: ({ token }) => (ballast ? { ...token, ballast: "x".repeat(ballast) } : token) },
  };
  const form = await Auth(new Request(`${origin}/auth/csrf`), config);
  const { csrfToken } = await form.json();
  const done = await Auth(
    new Request(`${origin}/auth/callback/credentials`, {
      method: "POST",
      headers: { "content-type": "application/x-www-form-urlencoded", cookie: header(jar(form)) },
      body: new URLSearchParams({ csrfToken, callbackUrl: origin }),
    }),
    config,
  );
  return Object.fromEntries(Object.entries(jar(done)).filter(([name]) => SESSION.test(name)));
}

async function nextAuth4() {
  const token = { sub: "user_alice", name: "Somebody" };
  return { "__Secure-next-auth.session-token": await nextAuthJwt.encode({ token, secret: SECRET }) };
}

function factsOf(cookies) {
  return { names: Object.keys(cookies), header: headerOf(Object.values(cookies)[0]) };
}
