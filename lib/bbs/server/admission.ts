import type { Socket } from 'node:net';
import type { PeerCertificate, TLSSocket } from 'node:tls';

/** Who may ask, of all who have a certificate of the authority: by one name of the subject or another. */
export interface AllowedClients {
  organizationalUnits: readonly string[];
  commonNames: readonly string[];
}

/** What a certificate says of whose it is; names may be there several times. */
export interface Subject {
  commonNames: readonly string[];
  organizationalUnits: readonly string[];
}

/** Decides once for each connection (docs/protocol/bbs.md §24). */
export class Admission {
  readonly #known = new WeakMap<Socket, boolean>();

  /** @param onRefused of each connection that may not ask */
  constructor(
    private readonly allowed: AllowedClients,
    private readonly onRefused: (subject: Subject, socket: Socket) => void,
  ) {}

  admits(socket: Socket): boolean {
    const known = this.#known.get(socket);
    if (known !== undefined) return known;
    const subject = subjectOf(socket);
    const isAllowed = this.#isAllowed(subject);
    this.#known.set(socket, isAllowed);
    if (!isAllowed) this.onRefused(subject, socket);
    return isAllowed;
  }

  #isAllowed({ organizationalUnits, commonNames }: Subject): boolean {
    const { allowed } = this;
    return (
      organizationalUnits.some((unit) => allowed.organizationalUnits.includes(unit)) ||
      commonNames.some((name) => allowed.commonNames.includes(name))
    );
  }
}

/** Nothing, for who has no certificate. */
function subjectOf(socket: Socket): Subject {
  // Absent where there is no TLS; empty where there is no certificate.
  const subject: Partial<PeerCertificate['subject']> | undefined =
    'getPeerCertificate' in socket ? (socket as TLSSocket).getPeerCertificate().subject : undefined;
  return { commonNames: listOf(subject?.CN), organizationalUnits: listOf(subject?.OU) };
}

/** Of several with one name Node makes a list, which its types leave out. */
function listOf(value: string | readonly string[] | undefined): readonly string[] {
  if (value === undefined) return [];
  return typeof value === 'string' ? [value] : value;
}
