/** One NATS server, its credentials decoded. */
export interface ServerAddress {
  /** `host:port`; may be logged. */
  address: string;
  user?: string;
  password?: string;
}

const defaultPort = '4222';

/**
 * Reads `nats://user:password@host:port`; scheme, credentials and port may be missing.
 *
 * @throws TypeError when that is no address; the text does not repeat it, because it may hold a password
 */
export function parseServerAddress(uri: string): ServerAddress {
  try {
    const { hostname, port, username, password } = new URL(uri.includes('://') ? uri : `nats://${uri}`);
    if (hostname === '') throw new TypeError('no host');
    return {
      address: `${hostname}:${port || defaultPort}`,
      ...(username !== '' && { user: decodeURIComponent(username), password: decodeURIComponent(password) }),
    };
  } catch {
    throw new TypeError('<<uri parse error>>');
  }
}

/** What a log may say of a server's URI. */
export function describeServer(uri: string): string {
  try {
    return parseServerAddress(uri).address;
  } catch (error) {
    return (error as TypeError).message;
  }
}
