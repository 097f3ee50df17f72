import { readFileSync } from 'node:fs';

/**
 * What Cloud Foundry's components speak among themselves: TLS 1.2 and 1.3, for 1.2 only two suites
 * (docs/protocol/edge.md, docs/protocol/bbs.md §1). Both are of RSA, and so must certificates be.
 */
export const tlsAmongComponents = {
  minVersion: 'TLSv1.2',
  maxVersion: 'TLSv1.3',
  ciphers: [
    ...['TLS_AES_128_GCM_SHA256', 'TLS_AES_256_GCM_SHA384', 'TLS_CHACHA20_POLY1305_SHA256'],
    ...['ECDHE-RSA-AES256-GCM-SHA384', 'ECDHE-RSA-AES128-GCM-SHA256'],
  ].join(':'),
} as const;

/** Paths of PEM files. */
export interface IdentityFiles {
  /** Of the authority that the peer's certificate must be of. */
  caFile: string;
  certFile: string;
  keyFile: string;
}

/** Who a component is, and whom it believes. */
export interface Identity {
  ca: Buffer;
  cert: Buffer;
  key: Buffer;
}

/** @throws naming the file that cannot be read */
export function readIdentity({ caFile, certFile, keyFile }: IdentityFiles): Identity {
  return { ca: readFileSync(caFile), cert: readFileSync(certFile), key: readFileSync(keyFile) };
}
