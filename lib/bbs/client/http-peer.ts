import { isIP } from 'node:net';
import { createSecureContext, type SecureContext } from 'node:tls';
import { tlsAmongComponents } from '../../http/internal-tls.js';
import { parseHttpUrl, stripUserinfo } from '../../http/url.js';

/** Own certificate and what is thought of the peer's (docs/protocol/bbs.md §1: mutual TLS). */
export interface PeerTls {
  /** PEM; of the authority that signed the peer's certificate. @default the system's authorities */
  ca?: string | Buffer;
  /** PEM; shown to the peer. */
  cert: string | Buffer;
  /** PEM; of `cert`. */
  key: string | Buffer;
  /** Takes any certificate of any host. @default false */
  skipCertVerify?: boolean;
}

/** An HTTP server at the other end, with what is needed to connect to it. */
export interface HttpPeer {
  readonly isSecure: boolean;
  readonly host: string;
  readonly port: number;
  /** Comes before every path; empty or without a slash at its end. */
  readonly basePath: string;
  /** Value of the header `Host`. */
  readonly authority: string;
  /** How the peer is called in errors. */
  readonly url: string;
  /** For `tls.connect` and `https.request`. */
  readonly tls: PeerTlsOptions;
}

interface PeerTlsOptions {
  secureContext?: SecureContext;
  rejectUnauthorized?: boolean;
  servername?: string;
}

/** @throws naming what is wrong: the URL, or a certificate or key that is none */
export function parsePeer(url: string, tls?: PeerTls): HttpPeer {
  const { protocol, hostname, port, pathname, host } = parseHttpUrl(url);
  const isSecure = protocol === 'https:';
  const bareHost = hostname.replace(/^\[(.*)\]$/, '$1');
  return {
    isSecure,
    host: bareHost,
    port: Number(port || (isSecure ? 443 : 80)),
    basePath: pathname.replace(/\/+$/, ''),
    authority: host,
    url: stripUserinfo(url),
    tls: isSecure ? tlsOptions(bareHost, tls) : {},
  };
}

/** Options of `net.connect` and of requests. */
export function addressOf({ host, port }: HttpPeer): { host: string; port: number } {
  return { host, port };
}

function tlsOptions(host: string, tls: PeerTls | undefined): PeerTlsOptions {
  return {
    secureContext: secureContextOf(tls),
    rejectUnauthorized: tls?.skipCertVerify !== true,
    // An address is no server name.
    ...(isIP(host) === 0 && { servername: host }),
  };
}

function secureContextOf(tls: PeerTls | undefined): SecureContext {
  try {
    const { ca, cert, key } = tls ?? {};
    return createSecureContext({
      ...tlsAmongComponents,
      ...(ca && { ca }),
      ...(cert && { cert }),
      ...(key && { key }),
    });
  } catch (cause) {
    throw new Error(`tls: the certificates or the key cannot be used: ${(cause as Error).message}`, { cause });
  }
}
