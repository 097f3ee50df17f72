import type { PeerCertificate } from 'node:tls';
import type { AllowedClients } from '../config/allowed-clients.js';

/** What a certificate says of whose it is; names may be there several times. */
export interface Subject {
  commonNames: readonly string[];
  organizationalUnits: readonly string[];
}

/** @param certificate absent, or empty as Node has it, where there is none: then nobody's */
export function subjectOf(certificate: Partial<PeerCertificate> | undefined): Subject {
  const { CN, OU } = (certificate?.subject ?? {}) as Partial<PeerCertificate['subject']>;
  return { commonNames: listOf(CN), organizationalUnits: listOf(OU) };
}

/** Whether one of its names is among those that may ask. */
export function isAllowed({ organizationalUnits, commonNames }: Subject, allowed: AllowedClients): boolean {
  return (
    organizationalUnits.some((unit) => allowed.organizationalUnits.includes(unit)) ||
    commonNames.some((name) => allowed.commonNames.includes(name))
  );
}

/** Of several with one name Node makes a list, which its types leave out. */
function listOf(value: string | readonly string[] | undefined): readonly string[] {
  if (value === undefined) return [];
  return typeof value === 'string' ? [value] : value;
}
