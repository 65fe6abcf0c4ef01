// What a browser keeps of `Set-Cookie`, and what a token says about itself.

/** The cookies that responses set and did not delete, as one object. */
export function jar(...responses) {
  const kept = {};
  for (const line of responses.flatMap((response) => response.headers.getSetCookie())) {
    const [pair] = line.split(";");
    const at = pair.indexOf("=");
    const [name, value] = [pair.slice(0, at), pair.slice(at + 1)];
    if (value === "" || /max-age=0(;|$)/i.test(line)) delete kept[name];
    else kept[name] = value;
  }
  return kept;
}

/** A `Cookie` header. */
export function header(cookies) {
  return Object.entries(cookies)
    .map(([name, value]) => `${name}=${value}`)
    .join("; ");
}

/** The header of a compact token. */
export function headerOf(token) {
  return JSON.parse(Buffer.from(token.split(".")[0], "base64url").toString());
}
