import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import type { Names, Pair } from './issue.js';

/** Where a certificate stands at a moment. */
export interface Expectations {
  /** Its issuer's certificate, as PEM; absent: it signs itself. */
  authority?: string;
  /** What its peers must find in it; absent: nothing. */
  names?: Names;
  now: Date;
  /** It must be good for so long still, in milliseconds. */
  remainingMs: number;
}

/** Why a certificate must be made anew; undefined when it may stay. */
export function faultOf(pair: Pair, { authority, names, now, remainingMs }: Expectations): string | undefined {
  let certificate: X509Certificate;
  let key: KeyObject;
  try {
    certificate = new X509Certificate(pair.cert);
    key = createPrivateKey(pair.key);
  } catch (error) {
    return `cannot be read: ${(error as Error).message}`;
  }
  if (!certificate.checkPrivateKey(key)) return 'the key is not its own';
  const issuer = authority === undefined ? certificate : new X509Certificate(authority);
  if (!certificate.checkIssued(issuer) || !certificate.verify(issuer.publicKey)) return 'is of another authority';
  const expiresInMs = Date.parse(certificate.validTo) - now.getTime();
  if (expiresInMs < 0) return 'has expired';
  if (expiresInMs < remainingMs) return 'expires soon';
  if (Date.parse(certificate.validFrom) > now.getTime()) return 'is not good yet';
  return names && misnaming(certificate, names);
}

function misnaming(certificate: X509Certificate, { commonName, dnsNames, addresses }: Names): string | undefined {
  const present = new Set((certificate.subjectAltName ?? '').split(', '));
  const missing = [
    ...dnsNames.filter((name) => !present.has(`DNS:${name}`)),
    ...addresses.filter((address) => !certificate.checkIP(address)),
  ];
  if (missing.length > 0) return `is not good for ${missing.join(', ')}`;
  return certificate.subject === `CN=${commonName}` ? undefined : 'is of another component';
}
