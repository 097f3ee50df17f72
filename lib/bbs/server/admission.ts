import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import type { AllowedClients } from '../../config/allowed-clients.js';
import { isAllowed, type Subject, subjectOf } from '../../http/certificate-subject.js';

/** Decides once for each connection whether its client may ask (docs/protocol/bbs.md §24). */
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
    const subject = subjectOf('getPeerCertificate' in socket ? (socket as TLSSocket).getPeerCertificate() : undefined);
    const isAdmitted = isAllowed(subject, this.allowed);
    this.#known.set(socket, isAdmitted);
    if (!isAdmitted) this.onRefused(subject, socket);
    return isAdmitted;
  }
}
