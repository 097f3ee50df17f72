import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { error, type Finding, warning } from '../config/finding.js';

const dayMs = 86_400_000;
/** A certificate that ends sooner is worth a word. */
const noticeMs = 30 * dayMs;

/** A PEM file, and the key of the configuration that names it. */
export interface PemFile {
  key: string;
  path: string;
}

export interface PemFiles {
  cert: PemFile;
  key: PemFile;
  ca?: PemFile | undefined;
}

/** Certificates and keys that cannot be read, do not fit each other, or are out of date. */
export function checkPemFiles(files: PemFiles, nowMs: number): Finding[] {
  const findings: Finding[] = [];
  const certificate = attempt(files.cert.key, findings, () => firstCertificate(files.cert.path));
  const key = attempt(files.key.key, findings, () => privateKey(files.key.path));
  if (certificate) findings.push(...checkDates(files.cert.key, certificate, nowMs));
  if (certificate && key && !certificate.checkPrivateKey(key)) {
    findings.push(error(`${files.key.key}: is not the key of the certificate in ${files.cert.path}`));
  }
  return files.ca ? [...findings, ...checkAuthorities(files.ca, nowMs)] : findings;
}

/** The same of a file with the certificates of authorities. */
export function checkAuthorities({ key, path }: PemFile, nowMs: number): Finding[] {
  const findings: Finding[] = [];
  const authorities = attempt(key, findings, () => certificatesIn(path)) ?? [];
  return [...findings, ...authorities.flatMap((authority) => checkDates(key, authority, nowMs))];
}

function checkDates(key: string, certificate: X509Certificate, nowMs: number): Finding[] {
  const { validFrom, validTo } = certificate;
  if (Date.parse(validFrom) > nowMs) return [error(`${key}: is not valid before ${validFrom}`)];
  const restMs = Date.parse(validTo) - nowMs;
  if (restMs <= 0) return [error(`${key}: has expired on ${validTo}`)];
  return restMs < noticeMs ? [warning(`${key}: expires on ${validTo}`)] : [];
}

/** @throws when it cannot be read */
export function firstCertificate(path: string): X509Certificate {
  return new X509Certificate(readFileSync(path));
}

/** All certificates of a PEM file. @throws when one is damaged, or there is none */
function certificatesIn(path: string): X509Certificate[] {
  const blocks = readFileSync(path, 'latin1').match(/-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----/gs);
  if (!blocks) throw new Error('no certificate');
  return blocks.map((block) => new X509Certificate(block));
}

function privateKey(path: string): KeyObject {
  return createPrivateKey(readFileSync(path));
}

/** OpenSSL's words (`error:0480006C:PEM routines::no start line`) tell a person little. */
function attempt<Result>(key: string, findings: Finding[], read: () => Result): Result | undefined {
  try {
    return read();
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    const reason =
      code === 'ENOENT'
        ? 'not found'
        : code !== undefined && /^E[A-Z]+$/.test(code)
          ? message
          : reasonOf(code, message);
    findings.push(error(`${key}: ${reason}`));
    return undefined;
  }
}

function reasonOf(code: string | undefined, message: string): string {
  if (code === 'ERR_MISSING_PASSPHRASE') return 'is encrypted: there is nobody to ask for a passphrase';
  return `is no PEM file of the right kind (${message})`;
}
