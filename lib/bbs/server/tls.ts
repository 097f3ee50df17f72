import { constants } from 'node:crypto';
import type { TlsOptions } from 'node:tls';
import { type Identity, tlsAmongComponents } from '../../http/internal-tls.js';

/**
 * Mutual TLS as upstream's servers have it (docs/protocol/bbs.md §1): whoever has a certificate of the authority gets a
 * connection; whether it may ask, `Admission` says.
 */
export function serverTls(identity: Identity): TlsOptions {
  return {
    ...tlsAmongComponents,
    ...identity,
    requestCert: true,
    rejectUnauthorized: true,
    honorCipherOrder: true,
    secureOptions: constants.SSL_OP_NO_RENEGOTIATION,
    ALPNProtocols: ['http/1.1'],
  };
}
