import { readFileSync } from 'node:fs';
import type { TlsOptions } from 'node:tls';
import { tlsOfOldPeers } from '../../http/tls.js';
import type { DeaConfig } from '../config.js';

/**
 * TLS of the agent's HTTPS port (docs/protocol/dea.md §6.1): with `ca_file` clients must show a certificate that it
 * signed; without, they are asked for one that nobody checks, as upstream does.
 * @throws when a file cannot be read
 */
export function serverTls({ cert_file, key_file, ca_file }: NonNullable<DeaConfig['ssl']>): TlsOptions {
  return {
    ...tlsOfOldPeers,
    cert: readFileSync(cert_file),
    key: readFileSync(key_file),
    ...(ca_file !== undefined && { ca: readFileSync(ca_file) }),
    requestCert: true,
    rejectUnauthorized: ca_file !== undefined,
  };
}
