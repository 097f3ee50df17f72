import { readFileSync } from 'node:fs';
import type { ServerAddress } from './connection-string.js';

export interface TlsOptions {
  /** `sql_ca_cert_file`: PEM file of whom the server's certificate is from. With it TLS is always used. */
  caCertFile?: string | undefined;
  /** `sql_enable_identity_verification`: the certificate must also be of the server's name. @default false */
  verifiesIdentity?: boolean | undefined;
}

/** How a server's certificate is looked at. */
export interface TlsTrust {
  ca?: string;
  rejectUnauthorized: boolean;
  verifiesIdentity: boolean;
}

/**
 * The certificate file decides before what the connection string says (docs/protocol/bbs.md §17).
 *
 * @returns undefined: no TLS
 * @throws when the certificate file cannot be read
 */
export function tlsTrust(options: TlsOptions, address: ServerAddress): TlsTrust | undefined {
  const { caCertFile, verifiesIdentity = false } = options;
  if (caCertFile) return { ca: readCa(caCertFile), rejectUnauthorized: true, verifiesIdentity };
  if (address.tls === 'verified') return { rejectUnauthorized: true, verifiesIdentity: true };
  return address.tls === 'unverified' ? { rejectUnauthorized: false, verifiesIdentity: false } : undefined;
}

function readCa(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw new Error(`sql_ca_cert_file: ${(error as Error).message}`, { cause: error });
  }
}
