import type { X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import { type Finding, warning } from '../../config/finding.js';
import { checkPemFiles, firstCertificate } from '../../http/pem-check.js';
import type { DeaConfig } from '../config.js';

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

function checkFiles(section: string, { cert_file, key_file, ca_file }: CertificateFiles, nowMs: number): Finding[] {
  const files = {
    cert: { key: `${section}.cert_file`, path: cert_file },
    key: { key: `${section}.key_file`, path: key_file },
    ...(ca_file !== undefined && { ca: { key: `${section}.ca_file`, path: ca_file } }),
  };
  return checkPemFiles(files, nowMs);
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
