// Tokens as Clerk's own signer makes them and its verifier accepts them; webhooks that Svix signs and Clerk accepts.

import { verifyToken } from "@clerk/backend";
import { signJwt } from "@clerk/backend/jwt";
import { verifyWebhook } from "@clerk/backend/webhooks";
import { Webhook } from "svix";

import { headerOf } from "./cookies.mjs";

const ISSUER = "https://clerk.app.example";
const PARTY = "https://app.example";
const SIGNING_SECRET = `whsec_${Buffer.from("test-only-webhook-secret-0123456").toString("base64")}`;
const ALGORITHM = { name: "RSASSA-PKCS1-v1_5", modulusLength: 2048, publicExponent: new Uint8Array([1, 0, 1]), hash: "SHA-256" };

export async function recordClerk() {
  const pair = await crypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]);
  const [secretKey, publicKey] = await Promise.all(
    [pair.privateKey, pair.publicKey].map((key) => crypto.subtle.exportKey("jwk", key)),
  );
  const { kty, n, e } = publicKey;
  const jwks = { keys: [{ use: "sig", alg: "RS256", kid: "ins_test", kty, n, e }] };
  const token = await sessionToken(secretKey);
  const claims = await verifyToken(token, { jwtKey: await pem(pair.publicKey), authorizedParties: [PARTY] });
  const webhooks = { created: await webhook("user.created"), deleted: await webhook("user.deleted") };
  return {
    facts: {
      header: headerOf(token),
      claims: Object.keys(claims).sort(),
      accepted: claims.sub,
      webhookHeaders: Object.keys(webhooks.created.headers).sort(),
      webhookAccepted: (await verifyWebhook(asRequest(webhooks.created), { signingSecret: SIGNING_SECRET })).type,
    },
    issuer: ISSUER,
    party: PARTY,
    signingSecret: SIGNING_SECRET,
    jwks,
    token,
    webhooks,
  };
}

/** The claims of version 2 of Clerk's session tokens, with the header Clerk sends. */
async function sessionToken(key) {
  const now = Math.floor(Date.now() / 1000);
  const claims = {
    azp: PARTY, exp: now + 60, fva: [0, -1], iat: now, iss: ISSUER, jti: "0123456789abcdef0123", nbf: now - 10,
    sid: "sess_test", sts: "active", sub: "user_alice", v: 2,
  };
  return signJwt(claims, key, { algorithm: "RS256", header: { cat: "cl_B7d4PD111AAA", kid: "ins_test", typ: "JWT" } });
}

async function webhook(type) {
  const body = JSON.stringify({ data: { id: "user_alice", object: "user" }, object: "event", type });
  const [id, sent] = [`msg_${type}`, new Date()];
  const headers = {
    "svix-id": id,
    "svix-timestamp": String(Math.floor(sent.getTime() / 1000)),
    "svix-signature": new Webhook(SIGNING_SECRET).sign(id, sent, body),
  };
  return { headers, body };
}

function asRequest({ headers, body }) {
  return new Request("https://app.example/webhooks/clerk", { method: "POST", headers, body });
}

async function pem(key) {
  const der = Buffer.from(await crypto.subtle.exportKey("spki", key)).toString("base64");
  return `-----BEGIN PUBLIC KEY-----\n${der.match(/.{1,64}/g).join("\n")}\n-----END PUBLIC KEY-----`;
}
