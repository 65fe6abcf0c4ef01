/**
 * The arguments of a call for the person who is asked about it: every value exactly as the server recorded it. Nothing
 * an agent put into them may pass for something else, so text is only ever text, and what cannot be seen is spelled out.
 */

import { element } from "./dom.js";

const TOKENS = /"(?:[^"\\]|\\.)*"|[{}[\],:]|[^{}[\],:"]+/g;
const CLOSES = { "{": "}", "[": "]" };
/** Beyond that nobody gains from one line for each value, and the page would get slow. */
const LONGEST_IN_LINES = 8_000;

/** Fills a place with JSON that is all ASCII, as `argumentsJson` is. `redacted` has pointers to what is hidden in it. */
export function showArguments(place, json, redacted) {
  const tokens = json.match(TOKENS);
  const isHidden = new Set(redacted);
  const inLines = json.length <= LONGEST_IN_LINES;
  let at = 0;

  /** Gives where a comma goes. */
  function write(into, pointer) {
    const token = tokens[at++];
    if (token in CLOSES) return writeGroup(into, pointer, token);
    if (isHidden.has(pointer)) into.append(element("span", "hidden: a secret", "tag"));
    else into.append(token[0] === '"' ? string(token) : token);
    return into;
  }

  function writeGroup(into, pointer, opens) {
    const closes = CLOSES[opens];
    into.append(opens);
    const isEmpty = tokens[at] === closes;
    if (isEmpty) at += 1;
    for (let index = 0; tokens[at - 1] !== closes; index += 1) writeMember(line(into), pointer, opens, index);
    const end = isEmpty || !inLines ? into : into.appendChild(element("span", "", "json-end"));
    end.append(closes);
    return end;
  }

  function writeMember(into, pointer, opens, index) {
    let name = String(index);
    if (opens === "{") {
      name = JSON.parse(tokens[at]);
      into.append(string(tokens[at]), ": ");
      at += 2;
    }
    const end = write(into, `${pointer}/${name.replaceAll("~", "~0").replaceAll("/", "~1")}`);
    if (tokens[at++] === ",") end.append(inLines ? "," : ", ");
  }

  const line = (into) => (inLines ? into.appendChild(element("span", "", "json-line")) : into);

  /** In a direction of its own, so that one written from right to left turns nothing around it. */
  const string = (token) => (inLines ? element("bdi", readable(token), "json-string") : readable(token));

  place.replaceChildren();
  write(line(place), "");
  place.normalize();
}

const ESCAPES = /\\(?:u[dD][89abAB][\da-fA-F]{2}\\u[dD][c-fC-F][\da-fA-F]{2}|u[\da-fA-F]{4}|.)/g;
const SEEN = /^[\p{L}\p{M}\p{N}\p{P}\p{S}]$/u;
/** Drawn as nothing, though letters, marks or symbols by their kind. */
const BLANK = /[\p{Default_Ignorable_Code_Point}\u2800]/u;

/** A JSON string whose letters are letters. Controls, turning marks, odd spaces and the like stay escapes. */
function readable(token) {
  return token.replace(ESCAPES, (escaped) => {
    if (escaped[1] !== "u") return escaped;
    const character = JSON.parse(`"${escaped}"`);
    return SEEN.test(character) && !BLANK.test(character) ? character : escaped;
  });
}
