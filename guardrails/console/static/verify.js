/*
 * Checks entries of a ledger in the browser, with WebCrypto and nothing else: the hash of an entry's bytes, its way to the root
 * of the tree (RFC 9162, section 2.1.3.2), the checkpoint's signature (C2SP signed-note and tlog-checkpoint, Ed25519), and that the
 * tree contains the one that was seen before (RFC 9162, section 2.1.4.2). Pure: what it is given comes from the server and is not
 * believed; every function returns what it computed, or throws a `Refusal` that says what does not hold.
 */

const HASH_BYTES = 32;
const ED25519 = 1;
const LEAF = 0;
const NODE = 1;
const MAX_SIZE = 2n ** 63n - 1n;
const SIGNED_ENTRY = "guardrails ledger entry v2\n";
const ROTATION = "guardrails ledger key rotation v1\n";

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Something that does not hold, in a sentence for people. */
export class Refusal extends Error {}

/** Decodes base64 and accepts only the form that an encoder writes. */
export function fromBase64(text) {
  let binary;
  try {
    binary = atob(text);
  } catch {
    throw new Refusal("A text is not base64.");
  }
  if (btoa(binary) !== text) throw new Refusal("A text is not base64 in its one form.");
  return Uint8Array.from(binary, (character) => character.charCodeAt(0));
}

export function toBase64(bytes) {
  return btoa(String.fromCharCode(...bytes));
}

export function toHex(bytes) {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function joined(...parts) {
  const all = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let place = 0;
  for (const part of parts) {
    all.set(part, place);
    place += part.length;
  }
  return all;
}

function same(left, right) {
  return left.length === right.length && left.every((byte, place) => byte === right[place]);
}

async function sha256(bytes) {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
}

/** The hash of a leaf: SHA-256(0x00 || its bytes). */
export function leafHash(bytes) {
  return sha256(joined([LEAF], bytes));
}

function nodeHash(left, right) {
  return sha256(joined([NODE], left, right));
}

function checkedHashes(hashes) {
  if (!Array.isArray(hashes)) throw new Refusal("There is no proof.");
  if (hashes.some((hash) => hash.length !== HASH_BYTES)) throw new Refusal("A hash of the proof does not have 32 bytes.");
  return hashes;
}

/** The root that a leaf's hash and its proof lead to. Sizes and indexes are BigInt. */
export async function rootFromInclusion(hash, index, size, proof) {
  if (index < 0n || index >= size) throw new Refusal("The checkpoint does not cover this entry.");
  let node = index;
  let last = size - 1n;
  let computed = hash;
  for (const sibling of checkedHashes(proof)) {
    if (last === 0n) throw new Refusal("The proof is too long.");
    if (node & 1n || node === last) {
      computed = await nodeHash(sibling, computed);
      while (node && !(node & 1n)) {
        node >>= 1n;
        last >>= 1n;
      }
    } else {
      computed = await nodeHash(computed, sibling);
    }
    node >>= 1n;
    last >>= 1n;
  }
  if (last !== 0n) throw new Refusal("The proof is too short.");
  return computed;
}

/** Throws unless the tree with the old root is a prefix of the one with the new root. */
export async function checkConsistency(oldSize, newSize, oldRoot, newRoot, proof) {
  checkedHashes(proof);
  if (oldSize > newSize) throw new Refusal("The log has fewer entries than it had before.");
  if (oldSize === 0n) return;
  if (oldSize === newSize) {
    if (proof.length) throw new Refusal("The proof is too long.");
    if (!same(oldRoot, newRoot)) throw new Refusal("The log has another root than it had at the same size.");
    return;
  }
  // An old tree that is complete is itself the first node of the path, and is left out of the proof.
  const path = oldSize & (oldSize - 1n) ? [...proof] : [oldRoot, ...proof];
  if (!proof.length) throw new Refusal("The proof is empty.");
  let node = oldSize - 1n;
  let last = newSize - 1n;
  while (node & 1n) {
    node >>= 1n;
    last >>= 1n;
  }
  let before = path[0];
  let after = path[0];
  for (const sibling of path.slice(1)) {
    if (last === 0n) throw new Refusal("The proof is too long.");
    if (node & 1n || node === last) {
      before = await nodeHash(sibling, before);
      after = await nodeHash(sibling, after);
      while (node && !(node & 1n)) {
        node >>= 1n;
        last >>= 1n;
      }
    } else {
      after = await nodeHash(after, sibling);
    }
    node >>= 1n;
    last >>= 1n;
  }
  if (last !== 0n) throw new Refusal("The proof is too short.");
  if (!same(before, oldRoot)) throw new Refusal("The log does not contain what it contained before.");
  if (!same(after, newRoot)) throw new Refusal("The proof leads to another root.");
}

function checkName(name) {
  if (!name || /[\s+\u0000-\u001f]/u.test(name)) throw new Refusal("A key's name holds a space, a plus, or nothing.");
}

/** Reads a verifier key, `name+hash+base64(type || public key)`, and checks that its parts fit together. */
export async function parseVerifier(text) {
  const [name, id, ...rest] = text.split("+");
  const encoded = rest.join("+");
  checkName(name);
  const data = fromBase64(encoded);
  if (data[0] !== ED25519 || data.length !== 1 + 32) throw new Refusal("The key is not an Ed25519 key of a log.");
  const computed = (await sha256(joined(encoder.encode(`${name}\n`), data))).slice(0, 4);
  if (toHex(computed) !== id) throw new Refusal("The key's parts do not fit together.");
  return { text, name, id: computed, publicKey: data.slice(1) };
}

/** Whether `signature` is the Ed25519 signature of `message` by the key. */
export async function hasSigned(publicKey, signature, message) {
  const key = await crypto.subtle.importKey("raw", publicKey, "Ed25519", false, ["verify"]);
  return crypto.subtle.verify("Ed25519", key, signature, message);
}

/** Splits a signed note into its text and its signature lines, nothing about them checked. */
export function parseNote(note) {
  const end = note.lastIndexOf("\n\n");
  if (end < 0 || !note.endsWith("\n")) throw new Refusal("The checkpoint is not a signed note.");
  const lines = note
    .slice(end + 2, -1)
    .split("\n")
    .map((line) => {
      const parts = /^\u2014 (\S+) (\S+)$/u.exec(line);
      if (!parts) throw new Refusal("A line under the checkpoint is not a signature.");
      const data = fromBase64(parts[2]);
      return { name: parts[1], id: data.slice(0, 4), signature: data.slice(4) };
    });
  return { text: note.slice(0, end + 1), lines };
}

/** Reads the text of a checkpoint: origin, size (BigInt), root. */
export function parseCheckpoint(text) {
  const lines = text.split("\n");
  if (lines.length < 4 || lines.pop() !== "") throw new Refusal("The checkpoint does not have three lines.");
  const [origin, size, root] = lines;
  checkName(origin);
  if (!/^(0|[1-9][0-9]{0,18})$/.test(size) || BigInt(size) > MAX_SIZE) throw new Refusal("The checkpoint's size is no number.");
  const bytes = fromBase64(root);
  if (bytes.length !== HASH_BYTES) throw new Refusal("The checkpoint's root does not have 32 bytes.");
  return { origin, size: BigInt(size), root: bytes };
}

/** Returns the checkpoint in a note that this key signed and that is of this key's log. */
export async function openCheckpoint(note, verifier) {
  const { text, lines } = parseNote(note);
  const own = lines.filter((line) => line.name === verifier.name && same(line.id, verifier.id));
  if (own.length !== 1) throw new Refusal("The checkpoint is not signed by the key that you know.");
  if (!(await hasSigned(verifier.publicKey, own[0].signature, encoder.encode(text)))) {
    throw new Refusal("The checkpoint's signature does not hold.");
  }
  const checkpoint = parseCheckpoint(text);
  if (checkpoint.origin !== verifier.name) throw new Refusal("The checkpoint is of another log.");
  return { ...checkpoint, note, cosignatures: lines.length - 1 };
}

/** Follows changes of the log's key from one that is known, each endorsed by the key before and by the new one. */
export async function followRotations(verifier, leaves) {
  let current = verifier;
  for (const leaf of leaves) {
    const entry = parseEntry(leaf);
    if (entry.type !== "key.rotate" || entry.old !== current.text) continue;
    const next = await parseVerifier(String(entry.new));
    const text = encoder.encode(`${ROTATION}${current.name}\n${current.text}\n${next.text}\n`);
    const endorsed = [
      await hasSigned(current.publicKey, fromBase64(String(entry.endorsements?.old)), text),
      await hasSigned(next.publicKey, fromBase64(String(entry.endorsements?.new)), text),
    ];
    if (next.name !== current.name || !endorsed.every(Boolean)) throw new Refusal("A change of the log's key is not endorsed.");
    current = next;
  }
  return current;
}

/** Returns the entry that bytes say, as JSON. */
export function parseEntry(leaf) {
  try {
    const entry = JSON.parse(decoder.decode(leaf));
    if (entry && typeof entry === "object" && !Array.isArray(entry)) return entry;
  } catch {
    // Said below.
  }
  throw new Refusal("The entry is not JSON.");
}

/** Writes JSON as the ledger does (RFC 8785): keys sorted, nothing between. */
export function canonical(value) {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (value && typeof value === "object") {
    const keys = Object.keys(value).sort();
    return `{${keys.map((key) => `${JSON.stringify(key)}:${canonical(value[key])}`).join(",")}}`;
  }
  return JSON.stringify(value);
}

/** Returns the public key that a `key.bind` entry introduces. */
export function boundKey(leaf) {
  const entry = parseEntry(leaf);
  if (entry.type !== "key.bind" || entry.key?.algorithm !== "ed25519") throw new Refusal("The session's first entry binds no key.");
  return fromBase64(String(entry.key.public));
}

/** Throws unless the entry is signed by one of the keys; returns the public key that did. */
export async function checkEntrySignature(leaf, publicKeys) {
  const { sig, ...rest } = parseEntry(leaf);
  if (!sig || typeof sig.ed25519 !== "string") throw new Refusal("The entry is not signed.");
  if (canonical({ ...rest, sig }) !== decoder.decode(leaf)) throw new Refusal("The entry is not in its one form.");
  for (const key of publicKeys) {
    if (toHex(await sha256(key)).slice(0, 16) !== sig.key) continue;
    const message = encoder.encode(SIGNED_ENTRY + canonical(rest));
    if (await hasSigned(key, fromBase64(sig.ed25519), message)) return key;
    throw new Refusal("The entry's signature does not hold.");
  }
  throw new Refusal("The entry is signed by a key that has no say in its session.");
}

/** Throws unless these bytes are the entry at this place of the checkpoint's tree. */
export async function checkInclusion(leaf, index, checkpoint, proof) {
  if (!leaf) throw new Refusal("The entry is not in the ledger any more.");
  if (!proof) throw new Refusal("The ledger cannot prove the entry: parts of its tree are missing.");
  const root = await rootFromInclusion(await leafHash(leaf), BigInt(index), checkpoint.size, proof);
  if (!same(root, checkpoint.root)) throw new Refusal("The entry is not the one that was signed: its hash does not lead to the root.");
}
