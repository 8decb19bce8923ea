/*
 * Puts what `verify.js` finds into the page: a mark at each entry, a verdict above. The key of the log and the last checkpoint seen
 * are kept in this browser; from the second visit on, another key, an older log or a rewritten one is noticed.
 */
import * as verify from "./verify.js";

const PIN = "guardrails.log";
const AT_ONCE = 100;

class Unsupported extends Error {}

const readPin = () => {
  try {
    return JSON.parse(localStorage.getItem(PIN) ?? "null");
  } catch {
    return null;
  }
};
const writePin = (pin) => localStorage.setItem(PIN, JSON.stringify(pin));

async function fetched(address) {
  const response = await fetch(address, { headers: { Accept: "application/json" }, credentials: "same-origin" });
  if (!response.ok) throw new verify.Refusal(`The server gave no evidence (status ${response.status}).`);
  return response.json();
}

const fromHex = (text) => Uint8Array.from(text.match(/../g) ?? [], (pair) => parseInt(pair, 16));

async function requireSupport() {
  if (!crypto.subtle) throw new Unsupported("This browser gives a page without HTTPS no means to compute hashes.");
  try {
    const point = new Uint8Array(32);
    point[0] = 1;
    await crypto.subtle.importKey("raw", point, "Ed25519", false, ["verify"]);
  } catch (error) {
    if (error.name === "NotSupportedError") throw new Unsupported("This browser does not know Ed25519 signatures.");
  }
}

async function requirePrefix(before, checkpoint) {
  if (before.origin !== checkpoint.origin) throw new verify.Refusal(`This is the log ${checkpoint.origin}, not ${before.origin}.`);
  if (before.size > checkpoint.size) throw new verify.Refusal("The log has fewer entries than it had before.");
  let proof = [];
  if (before.size !== checkpoint.size && before.size !== 0n) {
    const answer = await fetched(`/ledger/consistency?from=${before.size}&to=${checkpoint.size}`);
    proof = answer.proof?.map(fromHex);
  }
  await verify.checkConsistency(before.size, checkpoint.size, before.root, checkpoint.root, proof);
}

/* The evidence for some entries, all under one checkpoint or a later one that contains it. */
async function evidenceFor(indexes) {
  const found = [];
  for (let start = 0; start < Math.max(1, indexes.length); start += AT_ONCE) {
    const query = new URLSearchParams(indexes.slice(start, start + AT_ONCE).map((index) => ["index", index]));
    found.push(await fetched(`/ledger/proofs?${query}`));
  }
  return found;
}

const opened = (entry) => ({
  index: entry.index,
  isArchived: entry.archived && entry.leaf === null,
  leaf: entry.leaf === null ? null : verify.fromBase64(entry.leaf),
  proof: entry.proof === null ? null : entry.proof.map(verify.fromBase64),
});

class Panel {
  constructor(element) {
    this.element = element;
    this.steps = element.querySelector("[data-steps]");
    this.verdict = element.querySelector("[data-verdict]");
    this.also = element.dataset.also;
  }

  step(state, text) {
    const item = document.createElement("li");
    item.dataset.state = state;
    item.textContent = text;
    this.steps.append(item);
  }

  conclude(state, text) {
    this.verdict.dataset.state = state;
    this.verdict.textContent = text;
    this.element.dataset.state = state;
  }

  clear() {
    this.steps.replaceChildren();
  }
}

const entryElements = () => [...document.querySelectorAll("[data-entry]")];

function mark(index, state, text) {
  for (const element of document.querySelectorAll(`[data-mark="${index}"]`)) {
    element.dataset.state = state;
    element.querySelector(".mark-text").textContent = text;
  }
  if (state !== "bad") return;
  for (const element of document.querySelectorAll(`[data-entry="${index}"]`)) element.classList.add("is-tampered");
}

/* What the page shows of an entry has to be what the bytes say. */
function requireShown(index, leaf) {
  const entry = verify.parseEntry(leaf);
  for (const element of entryElements().filter((found) => found.dataset.entry === String(index))) {
    for (const part of element.querySelectorAll("[data-signed]")) {
      if (part.closest("[data-entry]") !== element) continue;
      const signed = part.dataset.signed.split(".").reduce((value, name) => value?.[name], entry);
      if (!isShownAs(String(signed ?? ""), part)) throw new verify.Refusal(`The page shows another ${part.dataset.signed} than was signed.`);
    }
    for (const leafElement of element.querySelectorAll("[data-leaf]")) leafElement.textContent = JSON.stringify(entry, null, 2);
  }
}

function isShownAs(signed, part) {
  // Space around signs is the page's to choose, as it makes statements readable; between words it counts.
  const plain = (text) => text.replace(/\s+/gu, " ").replace(/ ?([^\w ]) ?/gu, "$1").trim();
  const shown = plain(part.textContent);
  if (/[^\x20-\x7e]/u.test(signed)) return true; // Characters that do not show are written as escapes, so it may look different.
  if ("cut" in part.dataset && shown.endsWith("…")) return plain(signed).startsWith(shown.slice(0, -1));
  return plain(signed) === shown;
}

/* Returns the checkpoint that everything is held against; throws where the log's head does not hold. */
async function checkHead(panel, evidence, pin) {
  const known = await verify.parseVerifier(pin?.key ?? evidence.key);
  const key = await verify.followRotations(known, evidence.rotations.map(verify.fromBase64));
  if (!pin) panel.step("new", `This browser knew no key of this log yet and goes by the one that the server names: ${key.text}. Compare it with one that you have from elsewhere.`);
  else panel.step("good", pin.isTyped ? "The key is the one that you entered." : "The key is the one that this browser saw first.");
  if (key.text !== known.text) panel.step("good", "The log's key changed since; the key that you know endorsed the new one.");
  const checkpoint = await verify.openCheckpoint(evidence.note, key);
  panel.step("good", `The checkpoint of ${checkpoint.origin} over ${checkpoint.size} entries is signed by this key.`);
  if (pin?.note) {
    const before = verify.parseCheckpoint(verify.parseNote(pin.note).text);
    await requirePrefix(before, checkpoint);
    panel.step("good", `It contains the checkpoint over ${before.size} entries that this browser saw before.`);
  }
  writePin({ key: key.text, isTyped: pin?.isTyped ?? false, since: pin?.since ?? new Date().toISOString(), note: evidence.note });
  return { checkpoint, key };
}

async function checkEntries(found, checkpoint) {
  let held = 0;
  for (const entry of found) {
    if (entry.isArchived) {
      mark(entry.index, "new", "in an archive");
      continue;
    }
    try {
      await verify.checkInclusion(entry.leaf, entry.index, checkpoint, entry.proof);
      requireShown(entry.index, entry.leaf);
      mark(entry.index, "good", "holds");
      held += 1;
    } catch (error) {
      if (!(error instanceof verify.Refusal)) throw error;
      mark(entry.index, "bad", "does not hold");
      entry.refusal = error;
    }
  }
  return held;
}

/* Who wrote it: the session's key, which its first entry introduces, or the key of the log. */
async function checkWriter(panel, entry, first, key) {
  if (!entry.leaf || verify.parseEntry(entry.leaf).v === 1) return;
  const keys = [key.publicKey];
  if (first?.leaf && verify.parseEntry(first.leaf).type === "key.bind") keys.unshift(verify.boundKey(first.leaf));
  const signer = await verify.checkEntrySignature(entry.leaf, keys);
  panel.step("good", signer === key.publicKey ? "The entry is signed by the log's key." : "The entry is signed by its session's key, which the session's first entry introduces.");
}

async function check(panel) {
  panel.clear();
  const shown = [...new Set(entryElements().map((element) => Number(element.dataset.entry)))].sort((a, b) => a - b);
  const also = panel.also === undefined || panel.also === "" ? null : Number(panel.also);
  const asked = also === null || shown.includes(also) ? shown : [...shown, also];
  const pin = readPin();
  try {
    await requireSupport();
    const pages = await evidenceFor(asked);
    const heads = [];
    for (const evidence of pages) heads.push(await checkHead(panel, evidence, heads.length ? readPin() : pin));
    let held = 0;
    const found = [];
    for (const [place, evidence] of pages.entries()) {
      const entries = evidence.entries.map(opened);
      found.push(...entries);
      held += await checkEntries(entries, heads[place].checkpoint);
    }
    const missing = asked.filter((index) => !found.some((entry) => entry.index === index));
    for (const index of missing) mark(index, "bad", "is missing");
    for (const entry of found.filter((one) => one.refusal).slice(0, 5)) panel.step("bad", `Entry ${entry.index}: ${entry.refusal.message}`);
    if (held === asked.length && document.querySelector("[data-full]")) {
      const first = also === null ? null : found.find((entry) => entry.index === also);
      await checkWriter(panel, found.find((entry) => entry.index === shown[0]), first, heads[0].key);
    }
    const { checkpoint } = heads[heads.length - 1];
    const archived = found.filter((entry) => entry.isArchived).length;
    if (archived) panel.step("new", `${archived} entries were moved to an archive: their bytes are not here to be checked.`);
    if (held + archived < asked.length) panel.conclude("bad", `${asked.length - held - archived} of ${asked.length} entries do not hold: what is stored is not what was signed.`);
    else if (!pin || archived) panel.conclude("new", `${held} of ${asked.length} entries lead to the signed checkpoint over ${checkpoint.size}, ${pin ? "by the key that you know" : "by a key that is new to this browser"}.`);
    else panel.conclude("good", `${held} of ${asked.length} entries lead to the signed checkpoint over ${checkpoint.size} entries.`);
  } catch (error) {
    if (error instanceof Unsupported) {
      panel.conclude("new", `Nothing was checked. ${error.message}`);
      return;
    }
    const text = error instanceof verify.Refusal ? error.message : `The evidence is not in the form that it should have (${error.name}).`;
    for (const index of shown) mark(index, "bad", "does not hold");
    panel.step("bad", text);
    panel.conclude("bad", text);
  } finally {
    showPin(panel.element);
  }
}

function showPin(element) {
  const pin = readPin();
  const set = (name, text) => {
    element.querySelector(`[data-pinned-${name}]`).textContent = text;
  };
  set("key", pin?.key ?? "none yet");
  set("how", pin ? (pin.isTyped ? "entered by you" : `seen here first on ${pin.since.slice(0, 10)}`) : "");
  set("head", pin?.note ? `${verify.parseCheckpoint(verify.parseNote(pin.note).text).size} entries` : "none yet");
}

function listen(panel) {
  const pinForm = panel.element.querySelector("[data-pin-form]");
  pinForm.addEventListener("submit", async (event) => {
    event.preventDefault();
    const error = pinForm.querySelector("[data-pin-error]");
    error.textContent = "";
    try {
      const key = (await verify.parseVerifier(pinForm.elements.key.value.trim())).text;
      const before = readPin();
      const note = before && verify.parseNote(before.note ?? "").text.startsWith(`${key.split("+")[0]}\n`) ? before.note : undefined;
      writePin({ key, isTyped: true, since: new Date().toISOString(), note });
      await check(panel);
    } catch (problem) {
      error.textContent = problem instanceof verify.Refusal ? problem.message : "This is no key of a log.";
    }
  });
  panel.element.querySelector("[data-forget]").addEventListener("click", () => {
    localStorage.removeItem(PIN);
    showPin(panel.element);
    panel.conclude("waiting", "This browser forgot the key and the checkpoint; load the page again to check it.");
  });
  const compareForm = panel.element.querySelector("[data-compare-form]");
  compareForm.addEventListener("submit", async (event) => {
    event.preventDefault();
    const verdict = compareForm.querySelector("[data-compare-verdict]");
    try {
      const [evidence] = await evidenceFor([]);
      const pin = readPin();
      const known = await verify.parseVerifier(pin?.key ?? evidence.key);
      const key = await verify.followRotations(known, evidence.rotations.map(verify.fromBase64));
      const checkpoint = await verify.openCheckpoint(evidence.note, key);
      const given = compareForm.elements.note.value.replace(/\r\n/g, "\n").replace(/\n*$/, "\n");
      const other = await verify.openCheckpoint(given, known).catch(() => verify.openCheckpoint(given, key));
      if (other.size > checkpoint.size) throw new verify.Refusal(`It is over ${other.size} entries; this log has ${checkpoint.size}.`);
      await requirePrefix(other, checkpoint);
      verdict.dataset.state = "good";
      verdict.textContent = `This log contains it: its ${other.size} entries are the first ones here.`;
    } catch (problem) {
      verdict.dataset.state = "bad";
      verdict.textContent = problem instanceof verify.Refusal ? problem.message : "This is no checkpoint.";
    }
  });
}

for (const element of document.querySelectorAll("[data-verify]")) {
  const panel = new Panel(element);
  listen(panel);
  showPin(element);
  check(panel);
}
