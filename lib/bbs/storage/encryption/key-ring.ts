import {
  createCipheriv,
  createDecipheriv,
  createHash,
  createSecretKey,
  type KeyObject,
  randomFillSync,
} from 'node:crypto';

/** A value of the database that cannot be read. Its text is not in the message. */
export class Undecodable extends Error {
  override readonly name = 'Undecodable';
}

export interface KeyRingOptions {
  /** `active_key_label` */
  activeLabel: string;
  /** `encryption_keys`: passphrases by their labels. */
  passphrases: Readonly<Record<string, string>>;
}

interface Key {
  readonly label: string;
  readonly secret: KeyObject;
}

const algorithm = 'aes-256-gcm';
const prefix = '02';
const nonceBytes = 12;
const tagBytes = 16;
const labelLimit = 127;
/** Random bytes are fetched for so many nonces at a time. */
const noncesPerFetch = 512;
/** Plaintexts of up to so many bytes say that there is nothing: `{}`, `[]`, the envelope of an empty message. */
const emptyBytes = 2;
const keptSealed = 64;

/**
 * Encrypts with the active key, and decrypts with the one whose label stands in the value (docs/protocol/bbs.md §15,
 * Encoded value).
 */
export class KeyRing {
  readonly activeLabel: string;
  readonly #keys: ReadonlyMap<string, Key>;
  readonly #active: Key;
  readonly #header: Buffer;
  readonly #nonces = Buffer.alloc(nonceBytes * noncesPerFetch);
  #nonceAt = this.#nonces.length;
  /** Values that say nothing, by their plaintext: one ciphertext serves them all, and hides as much as many would. */
  readonly #sealedEmpty = new Map<string, string>();
  /** The same the other way. */
  readonly #openedEmpty = new Map<string, Buffer>();

  /** @throws when a label or the active key is not usable, naming the key of the configuration */
  constructor({ activeLabel, passphrases }: KeyRingOptions) {
    this.#keys = new Map(Object.entries(passphrases).map(([label, text]) => [label, makeKey(label, text)]));
    const active = this.#keys.get(activeLabel);
    if (!active) throw new Error(`active_key_label: ${JSON.stringify(activeLabel)} is not among encryption_keys`);
    this.activeLabel = activeLabel;
    this.#active = active;
    const label = Buffer.from(activeLabel);
    this.#header = Buffer.concat([Buffer.of(label.length), label]);
  }

  knows(label: string): boolean {
    return this.#keys.has(label);
  }

  seal(plaintext: Buffer): string {
    if (plaintext.length > emptyBytes) return this.#seal(plaintext);
    const name = plaintext.toString('latin1');
    const known = this.#sealedEmpty.get(name);
    if (known !== undefined) return known;
    const sealed = this.#seal(plaintext);
    this.#sealedEmpty.set(name, sealed);
    return sealed;
  }

  /** @throws Undecodable */
  open(sealed: string): Buffer {
    const known = this.#openedEmpty.get(sealed);
    if (known) return known;
    const plaintext = this.#open(sealed);
    if (plaintext.length <= emptyBytes && this.#openedEmpty.size < keptSealed) this.#openedEmpty.set(sealed, plaintext);
    return plaintext;
  }

  /** Label of the key that the value is encrypted with. @throws Undecodable */
  labelOf(sealed: string): string {
    return splitHeader(bytesOf(sealed)).label;
  }

  #seal(plaintext: Buffer): string {
    const nonce = this.#nextNonce();
    const cipher = createCipheriv(algorithm, this.#active.secret, nonce);
    const parts = [this.#header, nonce, cipher.update(plaintext), cipher.final(), cipher.getAuthTag()];
    return prefix + Buffer.concat(parts).toString('base64');
  }

  #open(sealed: string): Buffer {
    const bytes = bytesOf(sealed);
    const { label, end } = splitHeader(bytes);
    const key = this.#keys.get(label);
    if (!key) throw new Undecodable(`no encryption key has the label ${JSON.stringify(label)}`);
    const textStart = end + nonceBytes;
    const textEnd = bytes.length - tagBytes;
    if (textEnd < textStart) throw new Undecodable('too short for an encrypted value');
    const decipher = createDecipheriv(algorithm, key.secret, bytes.subarray(end, textStart), {
      authTagLength: tagBytes,
    });
    decipher.setAuthTag(bytes.subarray(textEnd));
    try {
      const plaintext = decipher.update(bytes.subarray(textStart, textEnd));
      // Nothing comes out of it but the verdict.
      decipher.final();
      return plaintext;
    } catch (error) {
      const problem = `the encryption key ${JSON.stringify(label)} does not open it`;
      throw new Undecodable(problem, { cause: error });
    }
  }

  #nextNonce(): Buffer {
    if (this.#nonceAt === this.#nonces.length) {
      randomFillSync(this.#nonces);
      this.#nonceAt = 0;
    }
    const start = this.#nonceAt;
    this.#nonceAt += nonceBytes;
    return this.#nonces.subarray(start, this.#nonceAt);
  }
}

function makeKey(label: string, passphrase: string): Key {
  const length = Buffer.byteLength(label);
  if (length < 1 || length > labelLimit) {
    throw new Error(`encryption_keys: the label ${JSON.stringify(label)} has not 1 to ${labelLimit} bytes`);
  }
  return { label, secret: createSecretKey(createHash('sha256').update(passphrase).digest()) };
}

function bytesOf(sealed: string): Buffer {
  if (!sealed.startsWith(prefix)) throw new Undecodable(`an encrypted value begins with ${prefix}`);
  return Buffer.from(sealed.slice(prefix.length), 'base64');
}

function splitHeader(bytes: Buffer): { label: string; end: number } {
  const length = bytes[0] ?? 0;
  if (length < 1 || length > labelLimit || bytes.length < 1 + length) {
    throw new Undecodable('no label of an encryption key at its beginning');
  }
  return { label: bytes.toString('utf8', 1, 1 + length), end: 1 + length };
}
