import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import type { DeaConfig } from '../config.js';
import { error, type Finding, warning } from './finding.js';

const dayMs = 86_400_000;
/** A certificate that ends sooner is worth a word. */
const noticeMs = 30 * dayMs;

interface CertificateFiles {
  key_file: string;
  cert_file: string;
  ca_file?: string | undefined;
}

/** Certificates that cannot be read, do not fit their keys, or are out of date (docs/protocol/dea.md §2, §6). */
export function checkCertificates(config: DeaConfig, nowMs: number): Finding[] {
  const { ssl, hm9000, service_name: name } = config;
  return [
    ...(ssl ? checkFiles('ssl', ssl, nowMs) : []),
    ...(ssl && name !== undefined ? checkName(ssl.cert_file, name) : []),
    ...(hm9000 ? checkFiles('hm9000', hm9000, nowMs) : []),
  ];
}

function checkFiles(section: string, files: CertificateFiles, nowMs: number): Finding[] {
  const findings: Finding[] = [];
  const certificate = attempt(`${section}.cert_file`, findings, () => firstCertificate(files.cert_file));
  const key = attempt(`${section}.key_file`, findings, () => privateKey(files.key_file));
  if (certificate) findings.push(...checkDates(`${section}.cert_file`, certificate, nowMs));
  if (certificate && key && !certificate.checkPrivateKey(key)) {
    findings.push(error(`${section}.key_file: is not the key of the certificate in ${files.cert_file}`));
  }
  const { ca_file: caFile } = files;
  if (caFile === undefined) return findings;
  const authorities = attempt(`${section}.ca_file`, findings, () => certificatesIn(caFile)) ?? [];
  return [...findings, ...authorities.flatMap((authority) => checkDates(`${section}.ca_file`, authority, nowMs))];
}

function checkDates(key: string, certificate: X509Certificate, nowMs: number): Finding[] {
  const { validFrom, validTo } = certificate;
  if (Date.parse(validFrom) > nowMs) return [error(`${key}: is not valid before ${validFrom}`)];
  const restMs = Date.parse(validTo) - nowMs;
  if (restMs <= 0) return [error(`${key}: has expired on ${validTo}`)];
  return restMs < noticeMs ? [warning(`${key}: expires on ${validTo}`)] : [];
}

function checkName(certFile: string, name: string): Finding[] {
  let certificate: X509Certificate;
  try {
    certificate = firstCertificate(certFile);
  } catch {
    // Told of the file itself.
    return [];
  }
  const isFor = isIP(name) ? certificate.checkIP(name) : certificate.checkHost(name);
  return isFor === undefined ? [warning(`service_name: the certificate in ${certFile} is not for ${name}`)] : [];
}

function firstCertificate(path: string): X509Certificate {
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
  if (code === 'ERR_MISSING_PASSPHRASE') return 'is encrypted: the agent has nobody to ask for a passphrase';
  return `is no PEM file of the right kind (${message})`;
}
