import { checkServerIdentity as checkAlternativeNames, DEFAULT_CIPHERS, type PeerCertificate } from 'node:tls';

/**
 * What peers of before 2016 can speak: TLS from 1.0, and certificates with small keys or SHA-1 signatures. Newer peers
 * still agree on the best that both know.
 */
export const tlsOfOldPeers = { minVersion: 'TLSv1', ciphers: `${DEFAULT_CIPHERS}:@SECLEVEL=0` } as const;

/**
 * As Node's own check, and for a certificate without alternative names its common name counts also for an address:
 * such certificates were usual in the internal networks of old deployments.
 * @returns what is wrong, undefined when host and certificate fit
 */
export function checkServerIdentity(host: string, certificate: PeerCertificate): Error | undefined {
  const { subject, subjectaltname: alternativeNames } = certificate;
  if (!alternativeNames && subject?.CN === host) return undefined;
  return checkAlternativeNames(host, certificate);
}
